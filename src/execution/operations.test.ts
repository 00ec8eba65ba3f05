import assert from 'node:assert/strict';
import fc from 'fast-check';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { ActionKey } from '../digest/action-key.ts';
import { digestOf } from '../digest/hasher.ts';
import { type InstanceName, parseInstanceName } from '../digest/instance-name.ts';
import { MemoryEntryStore } from '../entries/memory-entry-store.ts';
import { isKind, ReapiError } from '../errors.ts';
import { RequestMetadata } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { NO_LOG } from '../system/log.ts';
import { SystemRandom } from '../system/random.ts';
import { OperationArchive } from './operations/operation-archive.ts';
import { type OperationState, Operations, type OperationsOptions } from './operations.ts';

const OPTIONS: OperationsOptions = {
  maxLive: 3,
  maxFinished: 2,
  finishedRetentionMs: 60_000,
  heartbeatMs: 30_000,
};

const main = parseInstanceName('main/sub');
const keyUnder = (instance: InstanceName): ActionKey => ({ instance, action: digestOf('sha256', Buffer.from('a')) });
const response = Buffer.from('an encoded response');
const never = new AbortController().signal;

function setUp(options: Partial<OperationsOptions> = {}) {
  const clock = new FakeClock(5_000);
  return { clock, operations: new Operations(clock, new SystemRandom(), { ...OPTIONS, ...options }) };
}

/** Reads a watch step by step. */
function reader(operations: Operations, name: string, signal: AbortSignal = never) {
  const iterator = operations.watch(name, signal)[Symbol.asyncIterator]();
  return {
    next: async (): Promise<OperationState | undefined> => (await iterator.next()).value,
    pending: () => iterator.next(),
    leave: async () => iterator.return?.(),
  };
}

describe('Operations', () => {
  it('gives names that hold the instance and cannot be guessed (R-EX-11)', () => {
    const { operations } = setUp();
    const first = operations.create(keyUnder(main));
    const second = operations.create(keyUnder(parseInstanceName('')));
    assert.match(first.name, /^main\/sub\/operations\/[0-9a-f-]{36}$/);
    assert.match(second.name, /^operations\/[0-9a-f-]{36}$/);
    assert.equal(first.stage, 'cache-check');
    assert.equal(first.createdAtMs, 5_000);
  });

  it('refuses more unfinished operations than its limit, with a delay to try again after', () => {
    const { operations } = setUp({ maxLive: 1 });
    operations.create(keyUnder(main));
    assert.throws(
      () => operations.create(keyUnder(main)),
      (error) => isKind(error, 'queue-full') && error.facts.retryAfterMs === 5_000,
    );
  });

  it('shows a watcher the state at once, then each change, and ends after the last (R-EX-03, R-EX-08)', async () => {
    const { operations } = setUp();
    const { name } = operations.create(keyUnder(main));
    const watcher = reader(operations, name);
    assert.equal((await watcher.next())?.stage, 'cache-check');
    operations.advance(name, 'queued', 'waits for a worker');
    const queued = await watcher.next();
    assert.deepEqual([queued?.stage, queued?.message], ['queued', 'waits for a worker']);
    operations.advance(name, 'executing', '');
    assert.equal((await watcher.next())?.stage, 'executing');
    operations.finish(name, response);
    const last = await watcher.next();
    assert.deepEqual([last?.stage, last?.response], ['completed', response]);
    assert.equal(await watcher.next(), undefined);
  });

  it('wakes a watcher that already waits for a change', async () => {
    const { operations } = setUp();
    const { name } = operations.create(keyUnder(main));
    const watcher = reader(operations, name);
    await watcher.next();
    const next = watcher.pending();
    operations.advance(name, 'queued', '');
    assert.equal((await next).value?.stage, 'queued');
    await watcher.leave();
  });

  it('may go back from executing to queued, when a worker was lost (R-EX-06)', () => {
    const { operations } = setUp();
    const { name } = operations.create(keyUnder(main));
    operations.advance(name, 'executing', '');
    operations.advance(name, 'queued', 'its worker was lost');
    assert.equal(operations.get(name).stage, 'queued');
  });

  it('sends an unchanged state again every heartbeat (R-EX-06)', async () => {
    const { operations, clock } = setUp();
    const { name } = operations.create(keyUnder(main));
    const watcher = reader(operations, name);
    const first = await watcher.next();
    const again = watcher.pending();
    clock.advance(30_000);
    assert.equal((await again).value, first);
    await watcher.leave();
    assert.equal(clock.armed, 0);
  });

  it('serves any number of watchers of one operation (R-EX-10)', async () => {
    const { operations } = setUp();
    const { name } = operations.create(keyUnder(main));
    const watchers = [reader(operations, name), reader(operations, name), reader(operations, name)];
    for (const watcher of watchers) await watcher.next();
    operations.finish(name, response);
    for (const watcher of watchers) assert.equal((await watcher.next())?.stage, 'completed');
  });

  it('tells the observer of the first watcher that comes and the last that leaves, while unfinished', async () => {
    const { operations } = setUp();
    const seen: string[] = [];
    operations.observe({ attached: () => seen.push('attached'), detached: () => seen.push('detached') });
    const { name } = operations.create(keyUnder(main));
    const first = reader(operations, name);
    const second = reader(operations, name);
    await first.next();
    await second.next();
    await first.leave();
    assert.deepEqual(seen, ['attached']);
    await second.leave();
    assert.deepEqual(seen, ['attached', 'detached']);
    operations.finish(name, response);
    const late = reader(operations, name);
    await late.next();
    await late.next();
    assert.deepEqual(seen, ['attached', 'detached']);
  });

  it('ends a watch with the reason its signal is aborted with', async () => {
    const { operations, clock } = setUp();
    const { name } = operations.create(keyUnder(main));
    const abort = new AbortController();
    const watcher = reader(operations, name, abort.signal);
    await watcher.next();
    const next = watcher.pending();
    abort.abort(new Error('the client left'));
    await assert.rejects(next, /the client left/);
    assert.equal(clock.armed, 0);
  });

  it('ends a watch whose signal was aborted before it began, without waiting for a change', async () => {
    const { operations, clock } = setUp();
    const { name } = operations.create(keyUnder(main));
    const watcher = reader(operations, name, AbortSignal.abort(new ReapiError('unavailable', 'stopping')));
    await watcher.next();
    await assert.rejects(watcher.next(), (error) => isKind(error, 'unavailable'));
    assert.equal(clock.armed, 0);
  });

  it('keeps a finished operation readable for its retention, then knows it no more (R-EX-09)', () => {
    const { operations, clock } = setUp();
    const { name } = operations.create(keyUnder(main));
    operations.finish(name, response);
    clock.advance(59_999);
    assert.equal(operations.get(name).response, response);
    clock.advance(1);
    assert.throws(
      () => operations.get(name),
      (error) => isKind(error, 'operation-not-found'),
    );
  });

  it('keeps no more finished operations than its limit, forgetting the oldest first', () => {
    const { operations } = setUp();
    const names = [1, 2, 3].map(() => {
      const { name } = operations.create(keyUnder(main));
      operations.finish(name, response);
      return name;
    });
    assert.deepEqual(
      [...operations.list()].map((state) => state.name),
      names.slice(1).reverse(),
    );
  });

  it('tells whoever watches how an operation ended although nothing finished is kept', async () => {
    for (const options of [{ maxFinished: 0 }, { finishedRetentionMs: 0 }, { maxFinishedBytes: 1 }]) {
      const { operations } = setUp(options);
      const { name } = operations.create(keyUnder(main));
      const watcher = reader(operations, name);
      await watcher.next();
      const next = watcher.pending();
      operations.finish(name, response);
      assert.deepEqual((await next).value?.response, response);
      assert.equal(await watcher.next(), undefined);
      assert.throws(
        () => operations.get(name),
        (error) => isKind(error, 'operation-not-found'),
      );
    }
  });

  it('law: forgets by age and number, whatever is deleted meanwhile', async () => {
    const step = fc.oneof(
      fc.record({ type: fc.constant('finish' as const) }),
      fc.record({ type: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 80 }) }),
      fc.record({ type: fc.constant('delete' as const), index: fc.nat(9) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { clock, operations } = setUp({ maxFinished: 5, finishedRetentionMs: 100 });
        let kept: { readonly name: string; readonly atMs: number }[] = [];
        for (const each of steps) {
          if (each.type === 'wait') clock.advance(each.ms);
          else if (each.type === 'finish') {
            const { name } = operations.create(keyUnder(main));
            operations.finish(name, response);
            kept = [...kept, { name, atMs: clock.monotonicMs() }].slice(-5);
          } else {
            const gone = kept[each.index]?.name;
            if (gone !== undefined) await operations.delete(gone, never);
            kept = kept.filter(({ name }) => name !== gone);
          }
          kept = kept.filter(({ atMs }) => clock.monotonicMs() - atMs < 100);
          assert.deepEqual(
            [...operations.list()].map(({ name }) => name),
            kept.map(({ name }) => name).reverse(),
          );
        }
      }),
      { numRuns: 200 },
    );
  });

  it('forgets a deleted operation and tells whoever watches it (R-OP-04)', async () => {
    const { operations } = setUp();
    const { name } = operations.create(keyUnder(main));
    const watcher = reader(operations, name);
    await watcher.next();
    const next = watcher.pending();
    await operations.delete(name, never);
    await assert.rejects(next, (error) => isKind(error, 'operation-not-found'));
    operations.finish(name, response);
    assert.deepEqual([...operations.list()], []);
    await assert.rejects(operations.delete(name, never), (error) => isKind(error, 'operation-not-found'));
  });

  it('lets an operation finish at most once', () => {
    const { operations } = setUp();
    const { name } = operations.create(keyUnder(main));
    operations.finish(name, response);
    assert.throws(() => operations.finish(name, response), /at most once/);
  });

  it('knows who asked, how urgently and on what the newest attempt runs (R-EX-24, R-EX-29)', () => {
    const { operations, clock } = setUp();
    const requestMetadata = RequestMetadata.fromPartial({
      toolDetails: { toolName: 'bazel' },
      toolInvocationId: 'invocation',
      correlatedInvocationsId: 'together',
      actionMnemonic: 'CppCompile',
      targetId: '//a:b',
    });
    const { name } = operations.create(keyUnder(main), { priority: -3, requestMetadata });
    assert.deepEqual(operations.get(name).ids, {
      ...{ tool: 'bazel', invocation: 'invocation', correlated: 'together' },
      ...{ mnemonic: 'CppCompile', target: '//a:b' },
    });
    assert.equal(operations.get(name).priority, -3);
    const seen: unknown[] = [];
    const look = () => seen.push([operations.get(name).slot, operations.get(name).startedAtMs]);
    operations.advance(name, 'queued', '');
    look();
    clock.advance(10);
    operations.advance(name, 'executing', '', 'slot-1');
    look();
    clock.advance(10);
    operations.advance(name, 'executing', 'still', 'slot-1');
    look();
    operations.advance(name, 'queued', 'its worker was lost');
    look();
    clock.advance(10);
    operations.advance(name, 'executing', '', 'slot-1');
    look();
    clock.advance(10);
    operations.advance(name, 'executing', '', 'slot-2');
    look();
    assert.deepEqual(seen, [
      [undefined, undefined],
      ['slot-1', 5_010],
      ['slot-1', 5_010],
      ['slot-1', 5_010],
      ['slot-1', 5_030],
      ['slot-2', 5_040],
    ]);
  });

  it('keeps the attempts of a finished operation, with the slot and start of the last one', () => {
    const { operations, clock } = setUp();
    const { name } = operations.create(keyUnder(main));
    const attempts = [
      { attempt: 1, slot: 's1', node: 'n1', startedAtMs: 5_001, end: { atMs: 5_002, how: 'worker-lost', cause: '' } },
      { attempt: 2, slot: 's2', node: 'n2', startedAtMs: 5_003, end: { atMs: 5_004, how: 'success', cause: '' } },
    ];
    clock.advance(5);
    operations.finish(name, response, attempts);
    const { slot, startedAtMs, finishedAtMs, attempts: kept } = operations.get(name);
    assert.deepEqual([slot, startedAtMs, finishedAtMs, kept], ['s2', 5_003, 5_005, attempts]);
  });

  it('lists the newest first, in an order that rises even if the clock is set back', () => {
    const { operations, clock } = setUp();
    const names = [0, 1, 2].map(() => {
      clock.jump(-1_000);
      return operations.create(keyUnder(main)).name;
    });
    operations.finish(names[0] ?? '', response);
    const listed = [...operations.list()];
    assert.deepEqual(
      listed.map(({ name }) => name),
      names.toReversed(),
    );
    const orders = listed.map(({ order }) => order);
    assert.deepEqual(
      orders,
      orders.toSorted((a, b) => b - a),
    );
    assert.equal(new Set(orders).size, 3);
    assert.deepEqual(
      [...operations.list(orders[1])].map(({ name }) => name),
      names.slice(0, 1),
    );
  });

  it('goes on with a list while operations come and go', () => {
    const { operations } = setUp({ maxLive: 10 });
    const names = [0, 1, 2, 3].map(() => operations.create(keyUnder(main)).name);
    const listed: string[] = [];
    for (const { name } of operations.list()) {
      listed.push(name);
      if (listed.length > 1) continue;
      operations.create(keyUnder(main));
      void operations.delete(names[2] ?? '', never);
    }
    assert.deepEqual(listed, [names[3], names[1], names[0]]);
  });
});

describe('Operations with an archive', () => {
  function world(options: Partial<OperationsOptions> = {}) {
    const clock = new FakeClock(5_000);
    const entries = new MemoryEntryStore({ clock, maxBytes: 1_000_000, maxEntryBytes: 10_000 });
    const server = () => {
      const archive = new OperationArchive(entries, clock, NO_LOG, { retentionMs: 60_000 });
      return { archive, operations: new Operations(clock, new SystemRandom(), { ...OPTIONS, ...options }, archive) };
    };
    return { clock, server };
  }

  const gone = (error: unknown) => isKind(error, 'operation-not-found');

  it('knows what a former server finished, until its retention is over (R-EX-09, R-OP-01)', async () => {
    const { clock, server } = world();
    const former = server();
    const { name } = former.operations.create(keyUnder(main), { priority: 7 });
    former.operations.advance(name, 'executing', '', 'slot-1');
    clock.advance(1_000);
    former.operations.finish(name, response);
    const finished = former.operations.get(name);
    await former.archive.settle(1_000);
    const { operations } = server();
    assert.throws(() => operations.get(name), gone);
    assert.deepEqual(await operations.find(name, never), { ...finished, response: new Uint8Array(response) });
    clock.advance(59_999);
    assert.equal((await operations.find(name, never)).name, name);
    clock.advance(1);
    await assert.rejects(operations.find(name, never), gone);
  });

  it('does not know what a former server left unfinished, so that clients execute again (R-EX-08)', async () => {
    const { server } = world();
    const former = server();
    const { name } = former.operations.create(keyUnder(main));
    await former.archive.settle(1_000);
    assert.equal((await former.operations.find(name, never)).name, name);
    await assert.rejects(server().operations.find(name, never), gone);
  });

  it('deletes for good, also what a former server finished (R-OP-04)', async () => {
    const { server } = world();
    const former = server();
    const names = [0, 1].map(() => former.operations.create(keyUnder(main)).name);
    for (const name of names) former.operations.finish(name, response);
    const [first = '', second = ''] = names;
    await former.operations.delete(first, never);
    await former.archive.settle(1_000);
    const { operations } = server();
    await assert.rejects(operations.find(first, never), gone);
    await operations.delete(second, never);
    await assert.rejects(operations.delete(second, never), gone);
    await assert.rejects(server().operations.find(second, never), gone);
  });

  it('forgets above its limit of finished ones, although the archive still has them', async () => {
    const { clock, server } = world({ maxFinished: 1 });
    const { operations, archive } = server();
    const names = [0, 1].map(() => {
      clock.advance(1);
      const { name } = operations.create(keyUnder(main));
      operations.finish(name, response);
      return name;
    });
    await archive.settle(1_000);
    await assert.rejects(operations.find(names[0] ?? '', never), gone);
    assert.equal((await operations.find(names[1] ?? '', never)).name, names[1]);
  });

  it('keeps responses in memory up to its limit of bytes, and older ones in the archive only', async () => {
    const { server } = world({ maxFinished: 10, maxFinishedBytes: 2 * response.length });
    const { operations, archive } = server();
    const names = [0, 1, 2].map(() => operations.create(keyUnder(main)).name);
    for (const name of names) operations.finish(name, response);
    await archive.settle(1_000);
    assert.deepEqual(
      [...operations.list()].map(({ name }) => name),
      names.slice(1).reverse(),
    );
    assert.deepEqual((await operations.find(names[0] ?? '', never)).response, Uint8Array.from(response));
    await operations.delete(names[2] ?? '', never);
    const next = operations.create(keyUnder(main)).name;
    operations.finish(next, response);
    assert.deepEqual(
      [...operations.list()].map(({ name }) => name),
      [next, names[1]],
    );
  });
});
