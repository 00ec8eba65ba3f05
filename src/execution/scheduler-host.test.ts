import assert from 'node:assert/strict';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { digestOf } from '../digest/hasher.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { ReapiError } from '../errors.ts';
import { ExecuteResponse } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ExecutionReport, ExecutionWork } from './execution-work.ts';
import type { Effect, LeaseOrder, Outcome, Scheduler, SchedulerEvent } from './scheduler/events.ts';
import { SchedulerHost } from './scheduler-host.ts';

type Event = SchedulerEvent<ExecutionWork, ExecutionReport>;
type HostEffect = Effect<ExecutionWork, ExecutionReport>;

const instance = parseInstanceName('');
const key = { instance, action: digestOf('sha256', Buffer.from('action')) };
const work: ExecutionWork = {
  key,
  action: {
    commandDigest: undefined,
    inputRootDigest: undefined,
    timeout: undefined,
    doNotCache: false,
    salt: new Uint8Array(),
    platform: undefined,
  },
  timeoutMs: 1,
  requestMetadata: undefined,
};
const order: LeaseOrder<ExecutionWork> = { lease: 'lease-1', key, attempt: 1, queuedAtMs: 0, work };
const report: ExecutionReport = { response: ExecuteResponse.fromPartial({}), isRecordedByWorker: false };
const sync = {
  type: 'sync',
  slot: 'slot-1',
  node: 'node-1',
  offer: { alternatives: [{ properties: [] }], digestFunctions: ['sha256'], legacyOutputs: true },
  instancePrefix: instance,
  prefersIdle: false,
} as const;
const never = new AbortController().signal;

/** Plays back effects: what it answers to each type of event is set by the test. */
class ScriptedScheduler implements Scheduler<ExecutionWork, ExecutionReport> {
  readonly events: { readonly event: Event; readonly nowMs: number }[] = [];
  readonly answers = new Map<Event['type'], readonly HostEffect[]>();

  apply(event: Event, nowMs: number): readonly HostEffect[] {
    this.events.push({ event, nowMs });
    return this.answers.get(event.type) ?? [];
  }

  get types(): string[] {
    return this.events.map(({ event }) => event.type);
  }
}

function setUp() {
  const clock = new FakeClock(1_000);
  const scheduler = new ScriptedScheduler();
  const seen: string[] = [];
  const recording: { resolve: () => void; reject: (error: ReapiError) => void }[] = [];
  const effects = {
    record: () =>
      new Promise<void>((resolve, reject) => {
        recording.push({ resolve, reject });
      }),
    stage: (operation: string, stage: string, message: string) => seen.push(`${operation} ${stage} ${message}`),
    finish: (operation: string, outcome: Outcome<ExecutionReport>) => seen.push(`${operation} ${outcome.type}`),
    broken: (error: unknown) => seen.push(`broken ${String(error)}`),
  };
  return { clock, scheduler, seen, recording, host: new SchedulerHost(scheduler, effects, clock) };
}

const waiting: HostEffect = { type: 'orders', slot: 'slot-1', waits: true };
const working: HostEffect = { type: 'orders', slot: 'slot-1', hold: order, waits: false };

describe('SchedulerHost', () => {
  it('answers a slot at once with what it should hold', async () => {
    const { scheduler, host } = setUp();
    scheduler.answers.set('sync', [working]);
    assert.equal(await host.synchronize(sync, 60_000, never), order);
    assert.equal(host.pollingSlots, 0);
  });

  it('keeps the call of a slot without work open until orders come for it (R-BB-02)', async () => {
    const { scheduler, host, clock } = setUp();
    scheduler.answers.set('sync', [waiting]);
    const answer = host.synchronize(sync, 60_000, never);
    assert.equal(host.pollingSlots, 1);
    scheduler.answers.set('tick', [working]);
    host.apply({ type: 'tick' });
    assert.equal(await answer, order);
    assert.equal(clock.armed, 0);
  });

  it('ends the wait after the poll time and tells the scheduler, which may hand it nothing until it is back', async () => {
    const { scheduler, host, clock } = setUp();
    scheduler.answers.set('sync', [waiting]);
    const answer = host.synchronize(sync, 60_000, never);
    clock.advance(60_000);
    assert.equal(await answer, undefined);
    assert.deepEqual(scheduler.types, ['sync', 'answered']);
  });

  it('does not wait for a slot that must not be kept (R-BB-05), and says so to the scheduler', async () => {
    const { scheduler, host } = setUp();
    scheduler.answers.set('sync', [waiting]);
    assert.equal(await host.synchronize(sync, 0, never), undefined);
    assert.deepEqual(scheduler.types, ['sync', 'answered']);
  });

  it('lets a newer call of the same slot end the older one (R-BB-18)', async () => {
    const { scheduler, host } = setUp();
    scheduler.answers.set('sync', [waiting]);
    const older = host.synchronize(sync, 60_000, never);
    const newer = host.synchronize(sync, 60_000, never);
    assert.equal(await older, undefined);
    assert.equal(host.pollingSlots, 1);
    scheduler.answers.set('tick', [working]);
    host.apply({ type: 'tick' });
    assert.equal(await newer, order);
  });

  it('tells the scheduler when the connection of a waiting slot ends', async () => {
    const { scheduler, host, clock } = setUp();
    scheduler.answers.set('sync', [waiting]);
    const abort = new AbortController();
    const answer = host.synchronize(sync, 60_000, abort.signal);
    abort.abort();
    assert.equal(await answer, undefined);
    assert.deepEqual(scheduler.types, ['sync', 'leave']);
    assert.equal(clock.armed, 0);
  });

  it('arms one timer for the time the scheduler asks for, and sends a tick then', () => {
    const { scheduler, host, clock } = setUp();
    scheduler.answers.set('drain', [{ type: 'wake', atMs: 5_000 }]);
    host.apply({ type: 'drain', node: 'n', on: true });
    host.apply({ type: 'drain', node: 'n', on: false });
    assert.equal(clock.armed, 1);
    clock.advance(4_000);
    assert.deepEqual(scheduler.events.at(-1), { event: { type: 'tick' }, nowMs: 5_000 });
  });

  it('passes stages and outcomes on to the operations', () => {
    const { scheduler, host, seen } = setUp();
    scheduler.answers.set('tick', [
      { type: 'stage', operation: 'op', stage: 'queued', message: 'no worker yet' },
      { type: 'finish', operation: 'op', outcome: { type: 'result', result: report } },
    ]);
    host.apply({ type: 'tick' });
    assert.deepEqual(seen, ['op queued no worker yet', 'op result']);
  });

  it('says `recorded` when a result is kept, and with the cause when it could not be', async () => {
    const { scheduler, host, recording } = setUp();
    scheduler.answers.set('tick', [{ type: 'record', lease: 'lease-1', key, work, result: report }]);
    host.apply({ type: 'tick' });
    host.apply({ type: 'tick' });
    const failed = new ReapiError('unavailable', 'disk');
    recording[0]?.resolve();
    recording[1]?.reject(failed);
    await new Promise(setImmediate);
    assert.deepEqual(
      scheduler.events.slice(-2).map(({ event }) => event),
      [
        { type: 'recorded', lease: 'lease-1' },
        { type: 'recorded', lease: 'lease-1', failed },
      ],
    );
  });

  it('reports a broken law of the scheduler and gives it no further event', () => {
    const { scheduler, host, seen } = setUp();
    scheduler.apply = () => {
      throw new Error('two leases on one slot');
    };
    assert.throws(() => host.apply({ type: 'tick' }), /two leases/);
    assert.deepEqual(seen, ['broken Error: two leases on one slot']);
    host.apply({ type: 'tick' });
    assert.equal(seen.length, 1);
  });

  for (const [what, happen] of [
    ['a tick that is due', (clock: FakeClock) => clock.advance(1_000)],
    ['a poll that ends', (clock: FakeClock) => clock.advance(500)],
    ['a connection that breaks', (_clock: FakeClock, abort: AbortController) => abort.abort()],
  ] as const) {
    it(`reports a law broken by ${what} without throwing where nobody could catch it`, async () => {
      const { scheduler, host, seen, clock } = setUp();
      const abort = new AbortController();
      scheduler.answers.set('sync', [waiting, { type: 'wake', atMs: 2_000 }]);
      const pollMs = what === 'a poll that ends' ? 500 : 60_000;
      const answer = host.synchronize(sync, pollMs, abort.signal);
      scheduler.apply = () => {
        throw new Error('two leases on one slot');
      };
      happen(clock, abort);
      assert.deepEqual(seen, ['broken Error: two leases on one slot']);
      await host.stop();
      assert.equal(await answer, undefined);
    });
  }

  it('answers waiting slots when it stops, and waits for results being kept', async () => {
    const { scheduler, host, recording, clock } = setUp();
    scheduler.answers.set('sync', [waiting]);
    scheduler.answers.set('tick', [{ type: 'record', lease: 'lease-1', key, work, result: report }]);
    const answer = host.synchronize(sync, 60_000, never);
    host.apply({ type: 'tick' });
    let hasStopped = false;
    const stopped = host.stop().then(() => {
      hasStopped = true;
    });
    assert.equal(await answer, undefined);
    await new Promise(setImmediate);
    assert.equal(hasStopped, false);
    recording[0]?.resolve();
    await stopped;
    assert.equal(clock.armed, 0);
  });
});
