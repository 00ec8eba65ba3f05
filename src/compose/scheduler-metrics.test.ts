import assert from 'node:assert/strict';
import { FakeSchedulerView } from '../../test/support/scheduler-view.ts';
import { ReapiError } from '../errors.ts';
import { FleetPlan } from '../execution/scaling/fleet-plan.ts';
import type { AttemptEnd, AttemptRecord, Effect, LeaseOrder, SchedulerEvent } from '../execution/scheduler/events.ts';
import { Metrics } from '../system/metrics.ts';
import { createSchedulerEvents, publishSchedulerMetrics } from './scheduler-metrics.ts';

/** The samples of a registry without buckets: what stands before the value, and the value. */
async function samplesOf(metrics: Metrics): Promise<Record<string, number>> {
  const lines = (await metrics.text()).split('\n').filter((line) => line !== '' && !/^#|_bucket/.test(line));
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );
}

describe('publishSchedulerMetrics', () => {
  /** A configured pool `linux` of one slot a worker, half a minute after the start. */
  function world() {
    const view = new FakeSchedulerView();
    const time = { nowMs: 0 };
    const linux = view.addPool({ name: 'linux', alternatives: [{ os: 'linux' }] });
    const source = { view, nowMs: () => time.nowMs };
    const offer = {
      ...{ alternatives: [{ properties: [{ name: 'os', values: ['linux'] }] }] },
      ...{ digestFunctions: ['sha256' as const], legacyOutputs: false },
    };
    const limits = { slotsPerWorker: 1, minWorkers: 0, maxWorkers: 9, drainMs: 60_000, scaleDownMs: 0 };
    const pools = [{ name: 'linux', offer, ...limits }];
    const plan = new FleetPlan(source, { pools, settleMs: 60_000, refreshMs: 1 });
    const metrics = new Metrics();
    publishSchedulerMetrics(metrics, { view, plan, nowMs: () => time.nowMs });
    time.nowMs = 30_000;
    return { view, time, linux, metrics };
  }

  it('shows an empty queue, and does not say what is wanted before it can know', async () => {
    const { metrics } = world();
    assert.deepEqual(await samplesOf(metrics), {
      gantry_queued_tasks: 0,
      gantry_executing_tasks: 0,
      gantry_recording_tasks: 0,
      'gantry_pool_slots{pool="linux",state="busy"}': 0,
      'gantry_pool_slots{pool="linux",state="idle"}': 0,
      'gantry_pool_slots{pool="linux",state="drained"}': 0,
      'gantry_queued_work_seconds{pool="linux"}': 0,
      'gantry_queued_work_seconds{pool="(none)"}': 0,
      gantry_oldest_queued_seconds: 0,
      gantry_isolated_nodes: 0,
      gantry_quarantined_actions: 0,
    });
  });

  it('shows pools, what is wanted of them, and what waits for them', async () => {
    const { metrics, view, linux, time } = world();
    view.addSlot({ pool: linux, task: view.addTask() });
    view.addSlot({ pool: linux });
    view.addSlot({ pool: linux, isDrained: true });
    view.addTask({ isRecording: true });
    view.addIsolated({ node: 'n', reason: 'r', sinceMs: 0 });
    for (let i = 0; i < 3; i++) {
      view.addTask({ properties: { os: 'linux' }, expectedMs: 60_000, queuedAtMs: 40_000 - i });
    }
    view.addTask({ properties: { os: 'plan9' }, expectedMs: 5_000, queuedAtMs: 50_000 });
    time.nowMs = 100_000;
    const samples = await samplesOf(metrics);
    assert.equal(samples['gantry_queued_tasks'], 4);
    assert.equal(samples['gantry_executing_tasks'], 1);
    assert.equal(samples['gantry_recording_tasks'], 1);
    assert.equal(samples['gantry_pool_slots{pool="linux",state="busy"}'], 1);
    assert.equal(samples['gantry_pool_slots{pool="linux",state="idle"}'], 1);
    assert.equal(samples['gantry_pool_slots{pool="linux",state="drained"}'], 1);
    assert.equal(samples['gantry_wanted_workers{pool="linux"}'], 5);
    assert.equal(samples['gantry_queued_work_seconds{pool="linux"}'], 180);
    assert.equal(samples['gantry_queued_work_seconds{pool="(none)"}'], 5);
    assert.equal(samples['gantry_oldest_queued_seconds'], 60.002);
    assert.equal(samples['gantry_isolated_nodes'], 1);
  });

  it('adds up what workers brought by themselves, so that they make no series of their own', async () => {
    const { metrics, view, time } = world();
    for (let i = 0; i < 20; i++) view.addSlot({ pool: view.addPool({ alternatives: [{ os: `os-${i}` }] }) });
    time.nowMs = 100_000;
    const samples = await samplesOf(metrics);
    assert.equal(samples['gantry_pool_slots{pool="(other)",state="idle"}'], 20);
    assert.equal(samples['gantry_wanted_workers{pool="(other)"}'], 20);
    assert.equal(Object.keys(samples).filter((name) => name.startsWith('gantry_wanted_workers')).length, 2);
  });
});

describe('createSchedulerEvents', () => {
  const { key } = new FakeSchedulerView().addTask();
  const TICK = { type: 'tick' } as const;
  const failed = { type: 'failed', error: new ReapiError('cancelled', 'x') } as const;

  function world() {
    const metrics = new Metrics();
    return { metrics, observe: createSchedulerEvents(metrics, { maxSlots: 2 }) };
  }

  function submit(operation: string): SchedulerEvent<unknown, unknown> {
    const needs = { properties: [], digestFunction: 'sha256', legacyOutputs: false } as const;
    return { type: 'submit', operation, key, needs, priority: 0, merge: 'any', work: {} };
  }

  function orders(slot: string, lease: string, hold: Partial<LeaseOrder<unknown>> = {}): Effect<unknown, unknown> {
    const order = { lease, key, attempt: 1, queuedAtMs: 1_000, work: {}, ...hold };
    return { type: 'orders', slot, waits: false, hold: order };
  }

  function attempt(number: number, startedAtMs: number, end?: AttemptEnd): AttemptRecord {
    return { attempt: number, slot: 's', node: 'n', startedAtMs, ...(end === undefined ? {} : { end }) };
  }

  function finish(operation: string, attempts: readonly AttemptRecord[]): Effect<unknown, unknown> {
    return { type: 'finish', operation, outcome: failed, attempts };
  }

  it('starts every series at zero', async () => {
    const samples = await samplesOf(world().metrics);
    assert.ok(Object.values(samples).every((value) => value === 0));
    assert.equal(Object.keys(samples).filter((name) => name.startsWith('gantry_attempts_finished')).length, 7);
    assert.equal(Object.keys(samples).filter((name) => name.startsWith('gantry_retries')).length, 4);
    assert.equal(Object.keys(samples).filter((name) => name.startsWith('gantry_scheduler_notices')).length, 6);
  });

  it('measures from queueing to the first slot, once for each action', async () => {
    const { metrics, observe } = world();
    observe(TICK, [orders('s1', 'l1')], 3_500);
    observe(TICK, [orders('s1', 'l1')], 9_000);
    observe(TICK, [orders('s1', 'l2', { attempt: 2 })], 10_000);
    observe(TICK, [orders('s2', 'l3', { work: undefined })], 10_000);
    observe(TICK, [{ type: 'orders', slot: 's1', waits: true }], 10_000);
    observe(TICK, [orders('s1', 'l4', { queuedAtMs: 9_000 })], 10_000);
    const samples = await samplesOf(metrics);
    assert.equal(samples['gantry_dispatch_seconds_count'], 2);
    assert.equal(samples['gantry_dispatch_seconds_sum'], 3.5);
  });

  it('remembers only so many slots as there may be', async () => {
    const { metrics, observe } = world();
    for (const slot of ['s1', 's2', 's3', 's2', 's3']) observe(TICK, [orders(slot, `lease of ${slot}`)], 2_000);
    assert.equal((await samplesOf(metrics))['gantry_dispatch_seconds_count'], 3);
    observe({ type: 'leave', slot: 's3' }, [], 2_000);
    observe(TICK, [orders('s1', 'lease of s1')], 2_000);
    observe(TICK, [orders('s2', 'lease of s2')], 2_000);
    assert.equal((await samplesOf(metrics))['gantry_dispatch_seconds_count'], 4);
  });

  it('measures how long clients wait for their first execution', async () => {
    const { metrics, observe } = world();
    const executing = (operation: string): Effect<unknown, unknown> => ({
      type: 'stage',
      operation,
      stage: 'executing',
    });
    observe(submit('a'), [{ type: 'stage', operation: 'a', stage: 'queued' }], 1_000);
    observe(TICK, [executing('a')], 4_000);
    observe(TICK, [executing('a')], 9_000);
    observe(submit('joins'), [executing('joins')], 9_000);
    observe(submit('refused'), [finish('refused', [])], 9_000);
    observe(TICK, [executing('refused')], 20_000);
    const samples = await samplesOf(metrics);
    assert.equal(samples['gantry_queue_wait_seconds_count'], 2);
    assert.equal(samples['gantry_queue_wait_seconds_sum'], 3);
  });

  it('counts attempts and retries once, however many operations tell of them', async () => {
    const { metrics, observe } = world();
    const lost: AttemptEnd = { atMs: 5, how: 'worker-lost', cause: '' };
    const faulty: AttemptEnd = { atMs: 7, how: 'worker-fault', cause: '' };
    const good: AttemptEnd = { atMs: 9, how: 'success', cause: '' };
    // One leaves early, while the second attempt runs.
    observe(TICK, [finish('a', [attempt(1, 1, lost), attempt(2, 5)])], 6);
    const all = () => [attempt(1, 1, lost), attempt(2, 5, faulty), attempt(3, 7, good)];
    observe(TICK, [finish('b', all()), finish('c', all())], 9);
    const samples = await samplesOf(metrics);
    assert.equal(samples['gantry_attempts_finished_total{how="worker-lost"}'], 1);
    assert.equal(samples['gantry_attempts_finished_total{how="worker-fault"}'], 1);
    assert.equal(samples['gantry_attempts_finished_total{how="success"}'], 1);
    assert.equal(samples['gantry_retries_total{cause="worker-lost"}'], 1);
    assert.equal(samples['gantry_retries_total{cause="worker-fault"}'], 1);
  });

  it('takes neither a last failure nor a hedge for a retry', async () => {
    const { metrics, observe } = world();
    const failure: AttemptEnd = { atMs: 5, how: 'failure', cause: '' };
    observe(TICK, [finish('a', [attempt(1, 5, failure)])], 6);
    const slow: AttemptEnd = { atMs: 50, how: 'superseded', cause: '' };
    const quick: AttemptEnd = { atMs: 50, how: 'success', cause: '' };
    observe(TICK, [finish('b', [attempt(1, 10, slow), attempt(2, 40, quick)])], 50);
    const samples = await samplesOf(metrics);
    assert.equal(samples['gantry_attempts_finished_total{how="superseded"}'], 1);
    const retries = Object.entries(samples).filter(([name]) => name.startsWith('gantry_retries'));
    assert.ok(retries.every(([, value]) => value === 0));
  });

  it('counts notices by kind', async () => {
    const { metrics, observe } = world();
    const notice = { kind: 'node-isolated', node: 'n', text: 't' } as const;
    observe(
      TICK,
      [
        { type: 'notice', notice },
        { type: 'wake', atMs: 5 },
      ],
      1,
    );
    const samples = await samplesOf(metrics);
    assert.equal(samples['gantry_scheduler_notices_total{kind="node-isolated"}'], 1);
    assert.equal(samples['gantry_scheduler_notices_total{kind="adopted"}'], 0);
  });
});
