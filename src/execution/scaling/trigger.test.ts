import assert from 'node:assert/strict';
import { isKind } from '../../errors.ts';
import { parseTrigger } from './trigger.ts';
import type { PoolPlan } from './wanted-workers.ts';

function plan(name: string, properties: string): PoolPlan {
  const group = {
    ...{ name, properties, isConfigured: true, sizeClass: 0, ids: [], capacity: [], slots: 0, nodes: 0 },
    ...{ slotsPerWorker: 1, minWorkers: 0, maxWorkers: 1, drainMs: 1, scaleDownMs: 0 },
  };
  return { group, neededWorkers: 0, wantedWorkers: 0, queuedWorkMs: 0, busySlots: 0, idleDrainedSlots: 0 };
}

const PLANS = [
  plan('linux', 'ISA=x86-64,OSFamily=linux'),
  plan('mac', 'OSFamily=macos'),
  plan('mac-main', 'OSFamily=macos'),
  plan('image=docker%3A%2F%2Fa', 'image=docker%3A%2F%2Fa'),
];

function parse(metadata: Readonly<Record<string, string>>, plans = PLANS) {
  return parseTrigger(new Map(Object.entries(metadata)), plans);
}

describe('parseTrigger', () => {
  it('takes a pool by its name, with defaults, and leaves keys that are not ours alone', () => {
    const metadata = { pool: 'linux', scalerAddress: 'gantry:8980', tlsCertFile: 'x' };
    assert.deepEqual(parse(metadata), { pool: 'linux', drainMs: undefined, workersPerReplica: 1 });
  });

  it('reads the pace and the workers of a replica', () => {
    const trigger = parse({ pool: 'linux', drainSeconds: '120', targetSize: '4' });
    assert.deepEqual(trigger, { pool: 'linux', drainMs: 120_000, workersPerReplica: 4 });
  });

  for (const [asked, pool] of [
    ['OSFamily=linux,ISA=x86-64', 'linux'],
    [' ISA = x86-64 , OSFamily=linux', 'linux'],
    ['image=docker://a', 'image=docker%3A%2F%2Fa'],
    ['image=docker%3A%2F%2Fa', 'image=docker%3A%2F%2Fa'],
  ] as const) {
    it(`takes a pool by its properties: ${asked}`, () => assert.equal(parse({ pool: asked }).pool, pool));
  }

  for (const [metadata, message] of [
    [{}, /pool is required: .* there are: "linux", "mac", "mac-main", /],
    [{ pool: '' }, /pool is required/],
    [{ pool: 'windows' }, /pool is "windows", which is not one of them; there are: "linux"/],
    [{ pool: 'Linux' }, /pool is "Linux", which is not/],
    [{ pool: 'OSFamily=macos' }, /which is not one of them/],
    [{ pool: 'OSFamily=linux' }, /which is not one of them/],
    [{ pool: 'a=%' }, /pool is "a=%"/],
    [{ pool: 'x'.repeat(500) }, /pool is "x{200}…"/],
    [{ pool: 'linux', drainSeconds: '0' }, /drainSeconds is "0", not a whole number from 1 to 86400/],
    [{ pool: 'linux', drainSeconds: '86401' }, /drainSeconds/],
    [{ pool: 'linux', drainSeconds: '1m' }, /drainSeconds is "1m"/],
    [{ pool: 'linux', drainSeconds: '' }, /drainSeconds is ""/],
    [{ pool: 'linux', targetSize: '-1' }, /targetSize is "-1", not a whole number from 1 to 1000000/],
    [{ pool: 'linux', targetSize: '1.5' }, /targetSize/],
  ] as const) {
    it(`refuses ${JSON.stringify(metadata).slice(0, 60)}, saying what there is`, () => {
      assert.throws(
        () => parse(metadata),
        (error) => isKind(error, 'invalid-argument') && message.test(error.message),
      );
    });
  }

  it('names twenty pools at most, and says if there are none', () => {
    const many = Array.from({ length: 25 }, (_, at) => plan(`p${at}`, 'a=b'));
    assert.throws(() => parse({ pool: 'x' }, many), /"p19" and 5 more$/);
    assert.throws(() => parse({ pool: 'x' }, []), /no pools: none is configured, and no worker is connected/);
  });
});
