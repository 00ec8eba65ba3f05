import assert from 'node:assert/strict';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { ActionKey } from '../digest/action-key.ts';
import { digestOf } from '../digest/hasher.ts';
import { type InstanceName, parseInstanceName } from '../digest/instance-name.ts';
import { isKind, ReapiError } from '../errors.ts';
import { SystemRandom } from '../system/random.ts';
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
      names.slice(1),
    );
  });

  it('forgets a deleted operation and tells whoever watches it (R-OP-04)', async () => {
    const { operations } = setUp();
    const { name } = operations.create(keyUnder(main));
    const watcher = reader(operations, name);
    await watcher.next();
    const next = watcher.pending();
    operations.delete(name);
    await assert.rejects(next, (error) => isKind(error, 'operation-not-found'));
    operations.finish(name, response);
    assert.deepEqual([...operations.list()], []);
  });

  it('lets an operation finish at most once', () => {
    const { operations } = setUp();
    const { name } = operations.create(keyUnder(main));
    operations.finish(name, response);
    assert.throws(() => operations.finish(name, response), /at most once/);
  });
});
