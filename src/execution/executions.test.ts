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

  it('answers from the action cache without a worker (R-EX-14)', async () => {
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
    assert.equal(await world.host.synchronize(idleSlot, 0, never), undefined);
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

  it('ends operations that are not queued yet when the server stops', async () => {
    const world = new ExecutionWorld();
    const { name } = world.start(await world.action('a'));
    await world.executions.settle();
    assert.equal((await world.finished(name)).status?.code, 14);
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
      const request = { key, skipCacheLookup: false, priority: 0, requestMetadata: metadata, inline };
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
      const request = { key, skipCacheLookup: false, priority: 0, requestMetadata: undefined, inline };
      world.cached.set(key.action.hash, passed);
      assert.equal((await world.finished(world.executions.start(request).name)).status?.code, 14);
      assert.equal(observer.find(key), undefined);
    });
  });
});
