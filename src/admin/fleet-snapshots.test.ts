import assert from 'node:assert/strict';
import { FakeSchedulerView } from '../../test/support/scheduler-view.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { fleetJson } from './fleet-json.ts';
import { FleetSnapshots, MAX_LISTED } from './fleet-snapshots.ts';

const NOW = 100_000;
const WALL_OFFSET = 1_700_000_000_000;
const ALL = { limit: MAX_LISTED, hasNodes: true };

/** Tells when a snapshot is made. */
class CountedView extends FakeSchedulerView<string> {
  readonly #onRead: () => void;

  constructor(onRead: () => void) {
    super();
    this.#onRead = onRead;
  }

  override drains() {
    this.#onRead();
    return super.drains();
  }
}

describe('FleetSnapshots', () => {
  let view: FakeSchedulerView<string>;
  let nowMs: number;
  let costMs: number;
  let made: number;
  let snapshots: FleetSnapshots<string>;

  beforeEach(() => {
    nowMs = NOW;
    costMs = 0;
    made = 0;
    view = new CountedView(() => {
      made++;
      nowMs += costMs;
    });
    snapshots = new FleetSnapshots({
      view,
      nowMs: () => nowMs,
      wallMs: (ms) => ms + WALL_OFFSET,
      title: (work) => `builds ${work}`,
    });
  });

  it('shows an empty fleet', () => {
    const { counts, totals, unixSeconds, ...lists } = snapshots.get(ALL);
    assert.deepEqual(new Set(Object.values(counts ?? {})), new Set([0]));
    assert.deepEqual(new Set(Object.values(totals ?? {})), new Set([0]));
    assert.equal(unixSeconds, (NOW + WALL_OFFSET) / 1000);
    for (const list of Object.values(lists)) assert.deepEqual(list, []);
  });

  it('shows pools, the largest first', () => {
    const small = view.addPool({ name: 'mac', alternatives: [{ OSFamily: 'macos' }], offer: { sizeClass: 2 } });
    const large = view.addPool({ prefix: 'main', alternatives: [{ OSFamily: 'linux' }] });
    view.addSlot({ pool: small, isDrained: true });
    view.addSlot({ pool: large, isPolling: true });
    view.addSlot({ pool: large, task: view.addTask() });
    assert.deepEqual(snapshots.get(ALL).pools, [
      {
        ...{ id: large, name: '', instanceNamePrefix: 'main', platform: 'OSFamily=linux', sizeClass: 0 },
        ...{ slots: 2, busySlots: 1, waitingSlots: 1, drainedSlots: 0, nodes: 2 },
      },
      {
        ...{ id: small, name: 'mac', instanceNamePrefix: '', platform: 'OSFamily=macos', sizeClass: 2 },
        ...{ slots: 1, busySlots: 0, waitingSlots: 0, drainedSlots: 1, nodes: 1 },
      },
    ]);
  });

  it('shows what is queued, the longest wait first, and what for', () => {
    const mac = { properties: { OSFamily: 'macos' } };
    view.addTask({ ...mac, instance: 'main', queuedAtMs: NOW - 5_000, expectedMs: 2_000 });
    view.addTask({ ...mac, instance: 'main', queuedAtMs: NOW - 9_000, expectedMs: 3_000, sizeClass: 0 });
    view.addTask({ properties: { OSFamily: 'linux' }, queuedAtMs: NOW - 60_000 });
    const [first, second] = snapshots.get(ALL).demands;
    assert.deepEqual([first?.platform, first?.oldestSeconds], ['OSFamily=linux', 60]);
    assert.deepEqual(second, {
      ...{ instanceName: 'main', platform: 'OSFamily=macos', sizeClass: 0, queued: 2 },
      ...{ queuedWorkSeconds: 5, oldestSeconds: 9, pools: [], blocked: 'no worker fits' },
    });
  });

  it('says what a demand waits for', () => {
    const blocked = () => {
      snapshots.forget();
      return snapshots.get(ALL).demands[0]?.blocked;
    };
    view.addTask();
    assert.equal(blocked(), 'no worker fits');
    const pool = view.addPool({});
    assert.equal(blocked(), 'no worker now');
    view.addPool({ name: 'big' });
    assert.equal(blocked(), 'pool "big" has no worker now');
    const drained = view.addSlot({ pool, isDrained: true });
    assert.equal(blocked(), 'all 1 slots drained');
    view.addSlot({ pool, task: view.addTask() });
    assert.equal(blocked(), 'all 1 slots busy, 1 drained');
    view.removeSlot(drained.name);
    assert.equal(blocked(), 'all 1 slots busy');
    view.addSlot({ pool, isPolling: true });
    assert.equal(blocked(), 'slots are free: it waits for room on their nodes, or its turn');
  });

  it('shows what runs, the longest first, and where', () => {
    const pool = view.addPool({});
    const attempts = [{ attempt: 1, slot: 'host=a a', node: 'a', startedAtMs: NOW - 8_000 }];
    const task = view.addTask({
      ...{ instance: 'main', work: '//a:b', operations: ['one', 'two'], shares: ['alice', 'build'], expectedMs: 4_000 },
      ...{ queuedAtMs: NOW - 90_000, attempts: attempts.map((attempt) => ({ ...attempt, slot: `host=a ${pool}` })) },
    });
    const slot = view.addSlot({ pool, node: 'a', labels: { host: 'a' }, task });
    view.addSlot({ pool, node: 'b', task: view.addTask({ operations: [], queuedAtMs: NOW - 1_000 }) });
    const [first, second] = snapshots.get(ALL).running;
    assert.deepEqual(first, {
      action: {
        ...{ instanceName: 'main', digestFunction: 'sha256', hash: task.key.action.hash },
        sizeBytes: BigInt(task.key.action.sizeBytes),
      },
      ...{ operation: 'one', operations: 2, runningSeconds: 8, expectedSeconds: 4, pool, node: 'a', slot: slot.name },
      ...{ attempt: 1, title: 'builds //a:b', shares: ['alice', 'build'] },
    });
    // Work of a former server: nobody knows what it is.
    assert.deepEqual([second?.operation, second?.title, second?.runningSeconds], ['', '', 1]);
  });

  it('shows nodes by name with the states of their slots, if they are wanted', () => {
    const pool = view.addPool({});
    view.addSlot({ pool, node: 'b', labels: { host: 'b' }, isPolling: true, lastHeardMs: NOW - 3_000 });
    view.addSlot({ pool, node: 'a', labels: { host: 'a', thread: '1' }, task: view.addTask() });
    view.addSlot({ pool, node: 'a', labels: { host: 'a', thread: '2' }, isTerminating: true, isDrained: true });
    view.addIsolated({ node: 'a', reason: 'it fails', sinceMs: NOW - 1_000 });
    const snapshot = snapshots.get(ALL);
    assert.deepEqual(
      snapshot.nodes.map(({ name, isIsolated, slots }) => [name, isIsolated, slots.map(({ state }) => state)]),
      [
        ['a', true, ['busy', 'idle']],
        ['b', false, ['waiting']],
      ],
    );
    assert.deepEqual(snapshot.nodes[1]?.slots[0], {
      ...{ name: `host=b ${pool}`, labels: { host: 'b' }, pool, state: 'waiting' },
      ...{ isDrained: false, isTerminating: false, prefersIdle: false, silentSeconds: 3, action: undefined },
    });
    assert.deepEqual(snapshot.isolated, [{ node: 'a', reason: 'it fails', ageSeconds: 1 }]);
    assert.deepEqual(snapshots.get({ limit: 10, hasNodes: false }).nodes, []);
  });

  it('shows shares, outer ones first, and those that run most before others', () => {
    const pool = view.addPool({});
    view.addTask({ shares: ['alice', 'build 1'] });
    view.addSlot({ pool, task: view.addTask({ shares: ['bob', 'build 2'] }) });
    assert.deepEqual(snapshots.get(ALL).shares, [
      { path: ['bob'], weight: 1, running: 1, queued: 0 },
      { path: ['alice'], weight: 1, running: 0, queued: 1 },
      { path: ['bob', 'build 2'], weight: 1, running: 1, queued: 0 },
      { path: ['alice', 'build 1'], weight: 1, running: 0, queued: 1 },
    ]);
  });

  it('shows drains and the quarantine', () => {
    view.addDrain({ pattern: { host: 'a' }, reason: 'kernel', isTermination: true, sinceMs: NOW - 2_000 });
    const action = { function: 'sha256', hash: 'a'.repeat(64), sizeBytes: 5 } as const;
    const key = { instance: parseInstanceName('main'), action };
    view.addQuarantined({ key, reason: 'it kills', untilMs: NOW + 60_000 });
    const { drains, quarantined } = snapshots.get(ALL);
    assert.deepEqual(drains, [{ labels: { host: 'a' }, reason: 'kernel', isTermination: true, ageSeconds: 2 }]);
    assert.deepEqual([quarantined[0]?.reason, quarantined[0]?.leftSeconds], ['it kills', 60]);
  });

  it('cuts lists, and says how long they were', () => {
    const pool = view.addPool({});
    for (let index = 0; index < 5; index++) {
      view.addSlot({ pool, task: view.addTask({ shares: [`user ${index}`] }) });
      view.addTask({ properties: { number: `${index}` } });
    }
    const { totals, ...lists } = snapshots.get({ limit: 2, hasNodes: true });
    assert.deepEqual(
      [lists.running, lists.demands, lists.shares, lists.nodes].map((list) => list.length),
      [2, 2, 2, 2],
    );
    assert.deepEqual([totals?.running, totals?.demands, totals?.shares, totals?.nodes], [5, 5, 5, 5]);
  });

  it('is made at most twice a second, for however many', () => {
    for (const [atMs, count] of [
      [0, 1],
      [499, 1],
      [500, 2],
      [999, 2],
      [1_000, 3],
    ] as const) {
      nowMs = NOW + atMs;
      snapshots.get(ALL);
      snapshots.get({ limit: 1, hasNodes: false });
      assert.equal(made, count);
    }
  });

  it('is kept for longer if it takes long to make', () => {
    costMs = 100;
    snapshots.get(ALL);
    nowMs = NOW + 2_099;
    snapshots.get(ALL);
    assert.equal(made, 1);
    nowMs = NOW + 2_100;
    snapshots.get(ALL);
    assert.equal(made, 2);
  });

  it('is made anew after a change', () => {
    snapshots.get(ALL);
    view.addPool({});
    assert.equal(snapshots.get(ALL).pools.length, 0);
    snapshots.forget();
    assert.equal(snapshots.get(ALL).pools.length, 1);
  });

  it('can be written as JSON', () => {
    const pool = view.addPool({});
    view.addSlot({ pool, task: view.addTask() });
    const { running } = JSON.parse(fleetJson(snapshots.get(ALL)));
    assert.equal(typeof running[0].action.sizeBytes, 'number');
    assert.equal('expectedSeconds' in running[0], false);
  });
});
