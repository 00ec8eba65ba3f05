import assert from 'node:assert/strict';
import fc from 'fast-check';
import { FleetSnapshot } from '../../gen/gantry/v1/fleet.ts';
import { textWidth } from './text-width.ts';
import { topLines } from './top-text.ts';

const UNIX_SECONDS = Date.UTC(2026, 10, 21, 12) / 1000;
const ROOM = { columns: 120, rows: Number.POSITIVE_INFINITY, server: 'build:8980' };
const UUID = '3f0c4a12-0000-4000-8000-000000000000';

function pool(id: string, slots: number, busySlots: number) {
  return { id, platform: `OSFamily=${id}`, slots, busySlots, waitingSlots: slots - busySlots, nodes: 2 };
}

function demand(number: number) {
  return {
    ...{ instanceName: 'main', platform: `OSFamily=macos n=${number}`, queued: 3, queuedWorkSeconds: 200 },
    ...{ oldestSeconds: 61, blocked: 'no worker fits' },
  };
}

function running(number: number) {
  return {
    action: { hash: `${number}`.repeat(64), sizeBytes: 140n },
    ...{ operations: 1, runningSeconds: 300, expectedSeconds: 20, pool: 'linux', node: 'node-1', attempt: 2 },
    ...{ title: '//app:server (CppCompile)', shares: ['alice', UUID] },
  };
}

const FLEET = FleetSnapshot.fromPartial({
  unixSeconds: UNIX_SECONDS,
  counts: {
    ...{ operations: 1_204, queuedTasks: 980, executingTasks: 220, recordingTasks: 4 },
    ...{ slots: 240, busySlots: 220, waitingSlots: 18, drainedSlots: 2 },
  },
  pools: [pool('linux', 200, 190), pool('windows', 40, 0)],
  demands: [demand(1)],
  running: [running(1), { ...running(2), operations: 0, title: '', expectedSeconds: undefined, shares: [] }],
  shares: [
    { path: ['alice'], weight: 2, running: 190, queued: 900 },
    { path: ['alice', UUID], weight: 1, running: 190, queued: 900 },
  ],
  drains: [{ labels: { host: 'a' }, reason: 'new kernel', isTermination: true }],
  isolated: [{ node: 'node-3', reason: '5 faults in a row' }],
  quarantined: [{ action: { hash: 'c'.repeat(64) }, reason: 'it took down 3 workers' }],
  totals: { pools: 2, demands: 41, running: 220, shares: 2, nodes: 60, drains: 1, isolated: 1, quarantined: 1 },
});

const ALL = `\
gantry top  build:8980  2026-11-21 12:00:00 UTC
1,204 operations: 980 queued, 220 running, 4 recording
240 slots on 60 nodes: 220 busy, 18 waiting, 2 drained
drains 1: host=a terminating (new kernel)
isolated 1: node-3 (5 faults in a row)
quarantine 1: cccccccccccc (it took down 3 workers)

POOL              SLOTS  BUSY  WAITING  DRAINED  NODES  IN USE
OSFamily=linux      200   190       10        0      2  [##########]
OSFamily=windows     40     0       40        0      2  [..........]

WAITING FOR               QUEUED        WORK     OLDEST  WHY
main: OSFamily=macos n=1       3  3 min 20 s  1 min 1 s  no worker fits
… 40 more demands

RUNNING                                       FOR  EXPECTED  TRY  NODE    POOL            FOR WHOM
111111111111 //app:server (CppCompile)  5 min 0 s      20 s    2  node-1  OSFamily=linux  alice › 3f0c4a12…
222222222222                            5 min 0 s         –    2  node-1  OSFamily=linux  (of a former server)
… 218 more running ones

SHARE              WEIGHT  RUNNING  QUEUED
alice                   2      190     900
alice › 3f0c4a12…       1      190     900`;

const textOf = (fleet: FleetSnapshot, room: Partial<typeof ROOM> = {}) =>
  topLines(fleet, { ...ROOM, ...room })
    .map(({ text }) => text)
    .join('\n');

describe('topLines', () => {
  it('shows everything where there is room', () => assert.equal(textOf(FLEET), ALL));

  it('marks titles', () => {
    const titles = topLines(FLEET, ROOM).filter(({ isTitle }) => isTitle);
    assert.deepEqual(
      titles.map(({ text }) => text.split(' ')[0]),
      ['gantry', 'POOL', 'WAITING', 'RUNNING', 'SHARE'],
    );
  });

  it('shows an empty fleet in few lines', () => {
    assert.equal(
      textOf(FleetSnapshot.fromPartial({ unixSeconds: UNIX_SECONDS })),
      `\
gantry top  build:8980  2026-11-21 12:00:00 UTC
0 operations: 0 queued, 0 running, 0 recording
0 slots on 0 nodes: 0 busy, 0 waiting, 0 drained`,
    );
  });

  it('tells the parts of a configured pool apart', () => {
    const [linux, large, other] = [pool('linux', 4, 1), pool('large', 2, 0), pool('other', 0, 0)];
    const named = { name: 'mixed' };
    const fleet = {
      pools: [
        { ...linux, ...named },
        { ...large, ...named, sizeClass: 8 },
        { ...other, name: 'mac' },
      ],
    };
    assert.match(
      textOf(FleetSnapshot.fromPartial(fleet)),
      /^mixed: OSFamily=linux +4 .*\nmixed: OSFamily=large \(size class 8\) +2 .*\nmac +0 /m,
    );
  });

  it('says what is wrong with the connection', () => {
    const lines = topLines(FLEET, { ...ROOM, problem: 'no answer\x07' });
    assert.equal(lines[6]?.text, 'no answer\\x07');
  });

  it('shares few lines out, and says how much has no room', () => {
    const fleet = FleetSnapshot.fromPartial({
      unixSeconds: UNIX_SECONDS,
      pools: [pool('linux', 200, 190)],
      running: Array.from({ length: 9 }, (_, index) => running(index)),
      totals: { pools: 1, running: 9 },
    });
    assert.equal(
      textOf(fleet, { rows: 12, columns: 60 }),
      `\
gantry top  build:8980  2026-11-21 12:00:00 UTC
0 operations: 0 queued, 0 running, 0 recording
0 slots on 0 nodes: 0 busy, 0 waiting, 0 drained

POOL      SLOTS  BUSY  WAITING  DRAINED  NODES  IN USE
OSFamil…    200   190       10        0      2  [##########]

RUNNING         FOR  EXPECTED  TRY  NODE    POOL      FOR W…
0000000…  5 min 0 s      20 s    2  node-1  OSFamil…  alice…
1111111…  5 min 0 s      20 s    2  node-1  OSFamil…  alice…
2222222…  5 min 0 s      20 s    2  node-1  OSFamil…  alice…
… 6 more running ones`,
    );
  });

  it('leaves out whole tables where there is no room for all', () => {
    const { pools, demands, running: leases, shares } = FLEET;
    const fleet = FleetSnapshot.fromPartial({ pools, demands, running: leases, shares });
    const titles = (rows: number) =>
      topLines(fleet, { ...ROOM, rows }).flatMap(({ text, isTitle }) => (isTitle ? [text.split(' ')[0]] : []));
    assert.deepEqual(titles(5), ['gantry']);
    assert.deepEqual(titles(6), ['gantry', 'POOL']);
    assert.deepEqual(titles(11), ['gantry', 'POOL', 'WAITING']);
  });

  it('law: keeps to its room and shows no control characters, whatever the names are', () => {
    const name = fc.string({ unit: 'binary', maxLength: 30 });
    const some = <T>(each: fc.Arbitrary<T>) => fc.array(each, { maxLength: 4 });
    const fleets = fc.record({
      pools: some(fc.record({ id: name, name, platform: name, slots: fc.nat(1e6), busySlots: fc.nat(1e3) })),
      demands: some(fc.record({ instanceName: name, platform: name, blocked: name })),
      running: some(fc.record({ title: name, node: name, pool: name, shares: some(name), operations: fc.nat(2) })),
      shares: some(fc.record({ path: some(name) })),
      drains: some(fc.record({ labels: fc.dictionary(name, name, { maxKeys: 3 }), reason: name })),
      isolated: some(fc.record({ node: name, reason: name })),
    });
    const room = fc.record({ columns: fc.integer({ min: 1, max: 200 }), rows: fc.integer({ min: 1, max: 60 }) });
    fc.assert(
      fc.property(fleets, room, name, (fleet, { columns, rows }, server) => {
        const lines = topLines(FleetSnapshot.fromPartial(fleet), { columns, rows, server });
        assert.ok(lines.length <= rows);
        for (const { text } of lines) {
          assert.ok(textWidth(text) <= columns, text);
          assert.doesNotMatch(text, /\p{Cc}|\p{Bidi_Control}/u);
        }
      }),
    );
  });
});
