import assert from 'node:assert/strict';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeSchedulerView } from '../../test/support/scheduler-view.ts';
import { digestOf } from '../digest/hasher.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { isKind, ReapiError } from '../errors.ts';
import { ExecuteResponse } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ExecutionReport, ExecutionWork } from './execution-work.ts';
import type {
  AttemptRecord,
  Completion,
  Effect,
  LeaseOrder,
  Notice,
  Outcome,
  SchedulerEvent,
} from './scheduler/events.ts';
import type { ViewedScheduler } from './scheduler/scheduler.ts';
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
/** Timers that are armed while nothing is awaited: the beat of steady time. */
const BEAT = 1;

/** Plays back effects: what it answers to each type of event is set by the test. */
class ScriptedScheduler implements ViewedScheduler<ExecutionWork, ExecutionReport> {
  readonly view = new FakeSchedulerView<ExecutionWork>();
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
    stage: (operation: string, stage: string, message: string, slot?: string) =>
      seen.push(`${operation} ${stage} ${message}${slot ?? ''}`),
    finish: (operation: string, outcome: Outcome<ExecutionReport>, attempts: readonly AttemptRecord[]) =>
      seen.push(`${operation} ${outcome.type} after ${attempts.length}`),
    learn: (about: ExecutionWork, { verdict }: Completion<ExecutionReport>, sizeClass: number) =>
      seen.push(`${about.key.action.hash === key.action.hash} ${verdict} in ${sizeClass}`),
    notice: ({ kind }: Notice) => seen.push(kind),
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
    assert.deepEqual(await host.synchronize(sync, 60_000, never), { hold: order });
    assert.equal(host.pollingSlots, 0);
  });

  it('keeps the call of a slot without work open until orders come for it (R-BB-02)', async () => {
    const { scheduler, host, clock } = setUp();
    scheduler.answers.set('sync', [waiting]);
    const answer = host.synchronize(sync, 60_000, never);
    assert.equal(host.pollingSlots, 1);
    scheduler.answers.set('tick', [working]);
    host.apply({ type: 'tick' });
    assert.deepEqual(await answer, { hold: order });
    assert.equal(clock.armed, BEAT);
  });

  it('ends the wait after the poll time and tells the scheduler, which may hand it nothing until it is back', async () => {
    const { scheduler, host, clock } = setUp();
    scheduler.answers.set('sync', [waiting]);
    const answer = host.synchronize(sync, 60_000, never);
    clock.advance(60_000);
    assert.deepEqual(await answer, {});
    assert.deepEqual(scheduler.types, ['sync', 'answered']);
  });

  it('does not wait for a slot that must not be kept (R-BB-05), and says so to the scheduler', async () => {
    const { scheduler, host } = setUp();
    scheduler.answers.set('sync', [waiting]);
    assert.deepEqual(await host.synchronize(sync, 0, never), {});
    assert.deepEqual(scheduler.types, ['sync', 'answered']);
  });

  it('lets a newer call of the same slot end the older one (R-BB-18)', async () => {
    const { scheduler, host } = setUp();
    scheduler.answers.set('sync', [waiting]);
    const older = host.synchronize(sync, 60_000, never);
    const newer = host.synchronize(sync, 60_000, never);
    assert.deepEqual(await older, {});
    assert.equal(host.pollingSlots, 1);
    scheduler.answers.set('tick', [working]);
    host.apply({ type: 'tick' });
    assert.deepEqual(await newer, { hold: order });
  });

  it('tells the scheduler when the connection of a waiting slot ends', async () => {
    const { scheduler, host, clock } = setUp();
    scheduler.answers.set('sync', [waiting]);
    const abort = new AbortController();
    const answer = host.synchronize(sync, 60_000, abort.signal);
    abort.abort();
    assert.deepEqual(await answer, {});
    assert.deepEqual(scheduler.types, ['sync', 'leave']);
    assert.equal(clock.armed, BEAT);
  });

  it('arms one timer for the time the scheduler asks for, and sends a tick then', () => {
    const { scheduler, host, clock } = setUp();
    scheduler.answers.set('drain', [{ type: 'wake', atMs: 5_000 }]);
    host.apply({ type: 'drain', pattern: { node: 'n' }, on: true });
    host.apply({ type: 'drain', pattern: { node: 'n' }, on: false });
    assert.equal(clock.armed, BEAT + 1);
    clock.advance(4_000);
    assert.deepEqual(scheduler.events.at(-1), { event: { type: 'tick' }, nowMs: 5_000 });
  });

  it('passes stages and outcomes on to the operations', () => {
    const { scheduler, host, seen } = setUp();
    scheduler.answers.set('tick', [
      { type: 'stage', operation: 'op', stage: 'queued', message: 'no worker yet' },
      { type: 'stage', operation: 'op', stage: 'executing', slot: 'slot-1' },
      { type: 'finish', operation: 'op', outcome: { type: 'result', result: report }, attempts: [] },
    ]);
    host.apply({ type: 'tick' });
    assert.deepEqual(seen, ['op queued no worker yet', 'op executing slot-1', 'op result after 0']);
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

  describe('the answer to a report of a result', () => {
    /** The answer, and whether it is there after a turn of the event loop. */
    async function complete(ranMs: number) {
      const world = setUp();
      const { scheduler, host } = world;
      const record: HostEffect = { type: 'record', lease: 'lease-1', key, work, result: report };
      scheduler.answers.set('sync', [record, { type: 'orders', slot: 'slot-1', waits: false }]);
      let isAnswered = false;
      const completed = { result: report, verdict: 'success' as const, ranMs };
      const answer = host.synchronize({ ...sync, holding: { action: key.action, completed } }, 0, never).then(() => {
        isAnswered = true;
      });
      await new Promise(setImmediate);
      return { ...world, answer, isAnswered: () => isAnswered };
    }

    it('waits until the result of a long command is stored: until then its worker has it', async () => {
      const { recording, answer, isAnswered, clock } = await complete(10_000);
      assert.equal(isAnswered(), false);
      recording[0]?.resolve();
      await answer;
      assert.equal(clock.armed, BEAT);
    });

    it('does not wait for that of a short one, nor for ever', async () => {
      assert.equal((await complete(9_999)).isAnswered(), true);
      const { clock, answer } = await complete(60_000);
      clock.advance(10_000);
      await answer;
    });
  });

  it('passes notices on', () => {
    const { scheduler, host, seen } = setUp();
    scheduler.answers.set('tick', [{ type: 'notice', notice: { kind: 'node-isolated', node: 'n', text: 'broken' } }]);
    host.apply({ type: 'tick' });
    assert.deepEqual(seen, ['node-isolated']);
  });

  it('answers with what to fetch ahead, and whether to exit', async () => {
    const { scheduler, host } = setUp();
    scheduler.answers.set('sync', [{ ...working, next: { key, work } }]);
    assert.deepEqual(await host.synchronize(sync, 0, never), { hold: order, next: { key, work } });
    scheduler.answers.set('sync', [{ type: 'orders', slot: 'slot-1', waits: false, exits: true }]);
    assert.deepEqual(await host.synchronize(sync, 60_000, never), { exits: true });
  });

  it('ends the wait of a slot that is to exit', async () => {
    const { scheduler, host } = setUp();
    scheduler.answers.set('sync', [waiting]);
    const answer = host.synchronize(sync, 60_000, never);
    scheduler.answers.set('drain', [
      { type: 'orders', slot: 'slot-2', waits: false, exits: true },
      { type: 'orders', slot: 'slot-1', waits: false, exits: true },
    ]);
    host.apply({ type: 'drain', pattern: {}, on: true, isTermination: true });
    assert.deepEqual(await answer, { exits: true });
  });

  it('tells observers of every event, with its effects and time, after it has performed them', () => {
    const { scheduler, host, seen, clock } = setUp();
    scheduler.answers.set('tick', [{ type: 'stage', operation: 'op', stage: 'queued' }]);
    const told: unknown[] = [];
    for (const name of ['first', 'second']) {
      host.observe((event, effects, nowMs) => told.push(name, event.type, effects.length, nowMs, seen.length));
    }
    clock.advance(5);
    host.apply({ type: 'tick' });
    assert.deepEqual(told, ['first', 'tick', 1, 1_005, 1, 'second', 'tick', 1, 1_005, 1]);
  });

  it('knows the wall time of a time of the scheduler, also when the wall clock was moved', () => {
    const { host, clock } = setUp();
    clock.advance(500);
    clock.jump(3_600_000);
    assert.equal(host.nowMs(), 1_500);
    assert.equal(host.wallMs(1_200), 3_601_200);
  });

  describe('answers a report of a result', () => {
    const completed = { result: report, verdict: 'success' as const };

    /** A slot reports a result whose command ran so long. */
    function reporting(ranMs: number) {
      const parts = setUp();
      const record = { type: 'record', lease: 'lease-1', key, work, result: report } as const;
      parts.scheduler.answers.set('sync', [record, { type: 'orders', slot: 'slot-1', waits: false }]);
      const holding = { action: key.action, completed: { ...completed, ranMs } };
      const state = { isAnswered: false };
      const answer = parts.host.synchronize({ ...sync, holding }, 0, never).then(() => {
        state.isAnswered = true;
      });
      return { ...parts, state, answer };
    }

    it('that took long only when it is kept, as the worker drops it then', async () => {
      const { state, recording, answer, clock } = reporting(10_000);
      await new Promise(setImmediate);
      assert.equal(state.isAnswered, false);
      recording[0]?.resolve();
      await answer;
      assert.equal(clock.armed, BEAT);
    });

    it('that took long also when it could not be kept', async () => {
      const { recording, answer } = reporting(10_000);
      recording[0]?.reject(new ReapiError('unavailable', 'disk'));
      await answer;
    });

    it('that took long after 10 s at the latest', async () => {
      const { state, answer, clock } = reporting(10_000);
      clock.advance(9_999);
      await new Promise(setImmediate);
      assert.equal(state.isAnswered, false);
      clock.advance(1);
      await answer;
    });

    it('that did not take long at once', async () => {
      await reporting(9_999).answer;
    });
  });

  it('lets no time pass for the scheduler while the process stands still', () => {
    const { scheduler, host, clock } = setUp();
    host.apply({ type: 'tick' });
    clock.pause(600_000);
    host.apply({ type: 'tick' });
    const [before = 0, after = 0] = scheduler.events.map(({ nowMs }) => nowMs);
    assert.ok(after - before < 10_000, 'or every worker would have fallen silent at once');
    assert.equal(host.wallMs(host.nowMs()), clock.nowMs());
  });

  describe('learns from an attempt that is over', () => {
    const completion = { result: report, verdict: 'failure' as const };
    const offer = { ...sync.offer, sizeClass: 4 };

    function holding(held: ExecutionWork | undefined) {
      const parts = setUp();
      const { view } = parts.scheduler;
      const task = view.addTask({ action: key.action, ...(held && { work: held }) });
      const { name } = view.addSlot({ pool: view.addPool({}), task });
      return { ...parts, slot: name };
    }

    it('what the slot held, how it ended and in which size class, before the scheduler forgets', async () => {
      const { host, seen, slot } = holding(work);
      await host.synchronize(
        { ...sync, slot, offer, holding: { action: key.action, completed: completion } },
        0,
        never,
      );
      assert.deepEqual(seen, ['true failure in 4']);
    });

    it('nothing from a report of something else, of work unknown, or while it runs', async () => {
      const other = digestOf('sha256', Buffer.from('other'));
      for (const [held, reported] of [
        [work, { action: other, completed: completion }],
        [undefined, { action: key.action, completed: completion }],
        [work, { action: key.action }],
      ] as const) {
        const { host, seen, slot } = holding(held);
        await host.synchronize({ ...sync, slot, holding: reported }, 0, never);
        await host.synchronize({ ...sync, slot: 'nobody', holding: reported }, 0, never);
        assert.deepEqual(seen, []);
      }
    });
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
      assert.deepEqual(await answer, {});
    });
  }

  it('tells no slot to hold nothing once it has stopped: it would drop what it runs, or its result', async () => {
    const { scheduler, host } = setUp();
    scheduler.apply = () => {
      throw new Error('two leases on one slot');
    };
    await assert.rejects(host.synchronize(sync, 0, never), /two leases on one slot/);
    await assert.rejects(host.synchronize(sync, 0, never), (error) => isKind(error, 'unavailable'));
  });

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
    assert.deepEqual(await answer, {});
    await new Promise(setImmediate);
    assert.equal(hasStopped, false);
    recording[0]?.resolve();
    await stopped;
    assert.equal(clock.armed, 0);
  });
});
