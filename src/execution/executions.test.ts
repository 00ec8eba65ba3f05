import assert from 'node:assert/strict';
import { ExecutionWorld, idleSlot, instance, never, passed, SCHEDULER } from '../../test/support/execution-world.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { MissHistory } from '../action-cache/misses/miss-history.ts';
import type { ActionKey } from '../digest/action-key.ts';
import { digestOf } from '../digest/hasher.ts';
import { isKind, ReapiError } from '../errors.ts';
import {
  ActionResult,
  ExecuteResponse,
  RequestMetadata,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { historyKey } from './execution-work.ts';

describe('Executions', () => {
  it('runs an action on a worker and answers with its result, kept for the next time (R-EX-34)', async () => {
    const world = new ExecutionWorld();
    const { name, stage } = world.start(await world.action('a'));
    assert.equal(stage, 'cache-check');
    await world.quiet();
    assert.equal(world.operations.get(name).stage, 'queued');
    await world.work();
    const response = await world.finished(name);
    assert.deepEqual([response.cachedResult, response.status?.code], [false, 0]);
    assert.deepEqual(response.result, passed);
    assert.deepEqual(world.recorded, [passed]);
  });

  it('answers from the action cache without a worker, which never looks (R-EX-14, R-BB-27)', async () => {
    const world = new ExecutionWorld();
    const key = await world.action('a');
    world.cached.set(key.action.hash, passed);
    const response = await world.finished(world.start(key).name);
    assert.equal(response.cachedResult, true);
    assert.deepEqual(response.result, passed);
  });

  it('does not serve a cached failure (R-EX-14, R-AC-12)', async () => {
    const world = new ExecutionWorld();
    const key = await world.action('a');
    world.cached.set(key.action.hash, ActionResult.fromPartial({ exitCode: 1 }));
    const { name } = world.start(key);
    await world.quiet();
    assert.equal(world.operations.get(name).stage, 'queued');
  });

  it('passes the cache by if the client says so, or the action must not be cached (R-EX-13, R-EX-15)', async () => {
    const world = new ExecutionWorld();
    const skipped = await world.action('a');
    const uncacheable = await world.action('b', true);
    for (const key of [skipped, uncacheable]) world.cached.set(key.action.hash, passed);
    const first = world.start(skipped, { skipCacheLookup: true });
    const second = world.start(uncacheable);
    await world.quiet();
    assert.equal(world.operations.get(first.name).stage, 'queued');
    assert.equal(world.operations.get(second.name).stage, 'queued');
  });

  it('lets equal actions share one run, each with the outputs inlined as its caller asked (R-EX-16)', async () => {
    const world = new ExecutionWorld();
    const key = await world.action('a');
    const one = world.start(key, { inline: 'one' });
    const two = world.start(key, { inline: 'two' });
    await world.quiet();
    await world.work();
    assert.equal(Buffer.from((await world.finished(one.name)).result?.stderrRaw ?? []).toString(), 'one');
    assert.equal(Buffer.from((await world.finished(two.name)).result?.stderrRaw ?? []).toString(), 'two');
    assert.equal(world.recorded.length, 1);
  });

  it('puts what went wrong into the response, missing inputs with their detail (R-EX-01, R-EX-40)', async () => {
    const world = new ExecutionWorld();
    const { name } = world.start({ instance, action: digestOf('sha256', Buffer.from('nowhere')) });
    const { status, result } = await world.finished(name);
    assert.equal(status?.code, 9);
    assert.match(status?.details[0]?.typeUrl ?? '', /PreconditionFailure$/);
    assert.equal(result, undefined);
  });

  it('passes on a failed command as a result, not as an error (R-EX-22)', async () => {
    const world = new ExecutionWorld();
    const { name } = world.start(await world.action('a'));
    await world.quiet();
    const failed = ActionResult.fromPartial({ exitCode: 3 });
    await world.work(ExecuteResponse.fromPartial({ result: failed, status: { code: 0 } }));
    assert.equal((await world.finished(name)).result?.exitCode, 3);
  });

  it('answers although the result could not be cached, and says so', async () => {
    const world = new ExecutionWorld();
    world.recordFailure = new ReapiError('quota-exceeded', 'the store is full');
    const { name } = world.start(await world.action('a'));
    await world.quiet();
    await world.work();
    const response = await world.finished(name);
    assert.deepEqual(response.result, passed);
    assert.match(response.message, /could not be cached: the store is full/);
  });

  it('says that a result is too large for any message, instead of sending it (R-XC-05)', async () => {
    const world = new ExecutionWorld();
    const { name } = world.start(await world.action('a'));
    await world.quiet();
    const result = ActionResult.fromPartial({ outputFiles: [{ path: 'x'.repeat(200_000) }] });
    await world.work(ExecuteResponse.fromPartial({ result }));
    const { status, result: sent } = await world.finished(name);
    assert.deepEqual([status?.code, sent], [3, undefined]);
    assert.match(status?.message ?? '', /^the result has 200\d{3} bytes, at most 100000 can be sent/);
  });

  it('cancels a queued operation with CANCELLED inside its response (R-OP-02)', async () => {
    const world = new ExecutionWorld();
    const { name } = world.start(await world.action('a'));
    await world.quiet();
    world.executions.cancel(name);
    assert.equal((await world.finished(name)).status?.code, 1);
    world.executions.cancel(name);
    assert.throws(
      () => world.executions.cancel('main/operations/none'),
      (error) => isKind(error, 'operation-not-found'),
    );
  });

  it('cancels an operation that is not queued yet', async () => {
    const world = new ExecutionWorld();
    const { name } = world.start(await world.action('a'));
    world.executions.cancel(name);
    assert.equal((await world.finished(name)).status?.code, 1);
    await world.quiet();
    assert.deepEqual(await world.host.synchronize(idleSlot, 0, never), {});
  });

  it('gives up an operation that nobody waits for, after a grace (R-EX-12)', async () => {
    const world = new ExecutionWorld();
    const { name } = world.start(await world.action('a'));
    const abort = new AbortController();
    const watch = world.operations.watch(name, abort.signal)[Symbol.asyncIterator]();
    await watch.next();
    await world.quiet();
    await watch.return?.();
    world.clock.advance(SCHEDULER.abandonAfterMs - 1);
    await world.quiet();
    assert.equal(world.operations.get(name).stage, 'queued');
    world.clock.advance(1);
    await world.quiet();
    assert.equal((await world.finished(name)).status?.code, 1);
  });

  it('keeps an operation whose client comes back in time (R-EX-12)', async () => {
    const world = new ExecutionWorld();
    const { name } = world.start(await world.action('a'));
    const first = world.operations.watch(name, never)[Symbol.asyncIterator]();
    await first.next();
    await world.quiet();
    await first.return?.();
    world.clock.advance(SCHEDULER.abandonAfterMs - 1);
    const second = world.operations.watch(name, never)[Symbol.asyncIterator]();
    await second.next();
    world.clock.advance(SCHEDULER.abandonAfterMs * 2);
    await world.quiet();
    assert.notEqual(world.operations.get(name).stage, 'completed');
    await second.return?.();
  });

  it('gives up an action that cannot be prepared in time: nothing waits for ever', async () => {
    const world = new ExecutionWorld({
      lookUp: (_, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason), { once: true });
        }),
    });
    const { name } = world.start(await world.action('a'));
    await world.quiet();
    world.clock.advance(299_999);
    await world.quiet();
    assert.equal(world.operations.get(name).stage, 'cache-check');
    world.clock.advance(1);
    const { status } = await world.finished(name);
    assert.deepEqual([status?.code, status?.message], [14, 'preparing the action took too long']);
  });

  it('ends operations that are not queued yet when the server stops', async () => {
    const world = new ExecutionWorld();
    const { name } = world.start(await world.action('a'));
    await world.executions.settle();
    assert.equal((await world.finished(name)).status?.code, 14);
  });

  it('counts an action for the shares of whoever asks', async () => {
    const world = new ExecutionWorld();
    const requestMetadata = RequestMetadata.fromPartial({ toolInvocationId: 'build-1' });
    const { name } = world.start(await world.action('a'), { principal: 'alice', requestMetadata });
    await world.quiet();
    assert.deepEqual(world.host.view.taskOf(name)?.shares, [
      { id: 'alice', weight: 1 },
      { id: 'build-1', weight: 1 },
    ]);
  });

  it('tells the scheduler what the history expects of the action', async () => {
    const world = new ExecutionWorld();
    const key = await world.action('a');
    world.start(key);
    await world.quiet();
    await world.work();
    await world.quiet();
    const [lesson] = world.learned;
    assert.ok(lesson);
    assert.deepEqual([lesson.completion.verdict, lesson.sizeClass], ['success', 0]);
    world.history.learn(undefined, historyKey(lesson.work), { verdict: 'success', ranMs: 2_500, sizeClass: 0 });
    const { name } = world.start(await world.action('b'));
    await world.quiet();
    assert.equal(world.host.view.taskOf(name)?.expectedMs, 2_500, 'the same command');
  });

  it('says what was tried where it took more than one attempt, and keeps it with the operation', async () => {
    const world = new ExecutionWorld();
    const { name } = world.start(await world.action('a'));
    await world.quiet();
    await world.work(ExecuteResponse.fromPartial({ status: { code: 14, message: 'no disk' } }));
    await world.work();
    const response = await world.finished(name);
    assert.equal(response.status?.code, 0);
    assert.equal(
      response.message,
      'Attempt 1 ended with a fault of worker node-1: no disk. Attempt 2 succeeded on worker node-1.',
    );
    const { attempts } = world.operations.get(name);
    assert.deepEqual(
      attempts.map(({ attempt, slot, end }) => [attempt, slot, end?.how]),
      [
        [1, 'slot-1', 'worker-fault'],
        [2, 'slot-1', 'success'],
      ],
    );
    assert.equal(attempts[0]?.startedAtMs, world.clock.nowMs());
  });

  it('says nothing of the only attempt that went well', async () => {
    const world = new ExecutionWorld();
    const { name } = world.start(await world.action('a'));
    await world.quiet();
    await world.work();
    assert.equal((await world.finished(name)).message, '');
  });

  it('never merges actions that must not be cached, and what skips the cache not with a visible result (R-EX-15, R-EX-16)', async () => {
    const world = new ExecutionWorld();
    const uncacheable = await world.action('a', true);
    const key = await world.action('b');
    for (const each of [uncacheable, uncacheable, key, key]) world.start(each);
    world.start(key, { skipCacheLookup: true });
    await world.quiet();
    assert.equal(world.host.view.counts.queuedTasks, 3);
  });

  it('shares a result only while it is complete: one that began before an eviction is looked up again (R-EX-17)', async () => {
    const world = new ExecutionWorld();
    const key = await world.action('a');
    const first = world.start(key);
    await world.quiet();
    await world.work();
    await world.finished(first.name);
    const { name } = world.start(key);
    await world.quiet();
    assert.equal(world.operations.get(name).stage, 'queued', 'nothing finished is shared without the lookup');
  });

  it('lets the best priority of those who share a run count (R-EX-24)', async () => {
    const world = new ExecutionWorld();
    const key = await world.action('a');
    const asks = { skipCacheLookup: false, requestMetadata: undefined, principal: 'somebody' };
    const inline = async (result: ActionResult): Promise<ActionResult> => result;
    const [slow, urgent] = [7, -3].map((priority) => world.executions.start({ key, priority, ...asks, inline }));
    await world.quiet();
    assert.ok(slow && urgent);
    assert.equal(world.host.view.taskOf(slow.name)?.priority, -3);
    world.executions.cancel(urgent.name);
    await world.quiet();
    assert.equal(world.host.view.taskOf(slow.name)?.priority, 7);
  });

  it('cancels one of several who share a run, and the others go on (R-OP-02)', async () => {
    const world = new ExecutionWorld();
    const key = await world.action('a');
    const [one, two] = [world.start(key), world.start(key)];
    await world.quiet();
    world.executions.cancel(one.name, 'an operator cancelled it');
    const { status } = await world.finished(one.name);
    assert.deepEqual([status?.code, status?.message], [1, 'an operator cancelled it']);
    await world.work();
    assert.equal((await world.finished(two.name)).status?.code, 0);
  });

  it('ends an operation with the status that an operator chose, queued or not yet (R-OP-02)', async () => {
    const world = new ExecutionWorld();
    const queued = world.start(await world.action('a'));
    await world.quiet();
    const early = world.start(await world.action('b'));
    for (const { name } of [queued, early]) {
      world.executions.kill(name, { code: 9, message: 'not today', details: [] });
      const { status } = await world.finished(name);
      assert.deepEqual([status?.code, status?.message], [9, 'not today']);
      world.executions.kill(name, { code: 13, message: 'again', details: [] });
    }
    world.executions.kill('main/operations/none', { code: 9, message: '', details: [] });
  });

  it('ends an operation for an operator that its client has deleted, queued or not yet (R-OP-04)', async () => {
    const world = new ExecutionWorld();
    const queued = world.start(await world.action('a'));
    await world.quiet();
    const early = world.start(await world.action('b'));
    for (const { name } of [queued, early]) {
      await world.operations.delete(name, never);
      world.executions.kill(name, { code: 9, message: 'not today', details: [] });
    }
    await world.quiet();
    assert.deepEqual([...world.host.view.tasks()], []);
  });

  describe('tells the history of results', () => {
    const history = (): MissHistory => new MissHistory(new FakeClock(), { maxActions: 10 });
    const metadata = RequestMetadata.fromPartial({ targetId: '//a', actionMnemonic: 'Link' });

    it('who asks, with the lookup', async () => {
      const asked: unknown[] = [];
      const world = new ExecutionWorld({
        lookUp: async (key, _, requestMetadata) => {
          asked.push(key.action.hash, requestMetadata);
          return passed;
        },
      });
      const key = await world.action('a');
      const inline = async (result: ActionResult): Promise<ActionResult> => result;
      const asks = { priority: 0, requestMetadata: metadata, principal: 'somebody' };
      const request = { key, skipCacheLookup: false, ...asks, inline };
      await world.finished(world.executions.start(request).name);
      assert.deepEqual(asked, [key.action.hash, metadata]);
    });

    it('that nobody asked', async () => {
      const observer = history();
      const world = new ExecutionWorld({ observer });
      const [skipped, uncacheable] = [await world.action('a'), await world.action('b', true)];
      world.start(skipped, { skipCacheLookup: true });
      world.start(uncacheable);
      await world.quiet();
      assert.deepEqual(observer.find(skipped)?.miss, { reason: 'skipped', because: 'skip-cache-lookup' });
      assert.deepEqual(observer.find(uncacheable)?.miss, { reason: 'skipped', because: 'do-not-cache' });
    });

    it('that a cached failure was not used (R-EX-14)', async () => {
      const observer = history();
      const world = new ExecutionWorld({ observer });
      const key = await world.action('a');
      world.cached.set(key.action.hash, ActionResult.fromPartial({ exitCode: 1 }));
      world.start(key);
      await world.quiet();
      assert.deepEqual(observer.find(key)?.miss, { reason: 'skipped', because: 'failed-result' });
    });

    it('that there is no result, and why', async () => {
      const observer = history();
      const world = new ExecutionWorld({ observer });
      const invalid = { instance, action: digestOf('sha256', Buffer.from('nowhere')) };
      await world.finished(world.start(invalid).name);
      const cancelled = await world.action('a');
      const { name } = world.start(cancelled);
      await world.quiet();
      world.executions.cancel(name);
      await world.finished(name);
      const causeOf = (key: ActionKey): unknown => {
        const miss = observer.explain(key, { reason: 'absent' });
        return miss.reason === 'not-cached' ? miss.because.kind : miss.reason;
      };
      const unserved = await world.action('b');
      const waiting = world.start(unserved);
      await world.quiet();
      world.clock.advance(SCHEDULER.platformGraceMs);
      await world.finished(waiting.name);
      const causes = [invalid, cancelled, unserved].map(causeOf);
      assert.deepEqual(causes, ['invalid', 'cancelled', 'not-queued']);
    });

    it('nothing of a result that could not be inlined', async () => {
      const observer = history();
      const world = new ExecutionWorld({ observer });
      const key = await world.action('a');
      const inline = (): Promise<ActionResult> => Promise.reject(new ReapiError('unavailable', 'no answer'));
      const asks = { priority: 0, requestMetadata: undefined, principal: 'somebody' };
      const request = { key, skipCacheLookup: false, ...asks, inline };
      world.cached.set(key.action.hash, passed);
      assert.equal((await world.finished(world.executions.start(request).name)).status?.code, 14);
      assert.equal(observer.find(key), undefined);
    });
  });
});
