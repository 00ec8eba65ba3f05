import assert from 'node:assert/strict';
import { BuildQueueStateWorld, idsOf, queueName, WALL_ZERO_MS } from '../../../test/support/build-queue-state-world.ts';
import { ofKind } from '../../../test/support/expectations.ts';
import { BuildQueueStateDefinition } from '../../gen/pkg/proto/buildqueuestate/buildqueuestate.ts';

const { methods } = BuildQueueStateDefinition;

describe('ListWorkers', () => {
  let world: BuildQueueStateWorld;

  beforeEach(() => {
    world = new BuildQueueStateWorld();
    pool = world.view.addPool({});
  });

  const list = async (filter: object, page: object = { pageSize: 9 }) => {
    const response = await world.call(methods.listWorkers, { filter: { type: filter }, ...page });
    return { ...response, hosts: response.workers.map(({ id }) => id['host']) };
  };
  const all = { $case: 'all', value: queueName() };
  const inPlace = (filter: string, ...shares: readonly string[]) => ({
    $case: filter,
    value: { sizeClassQueueName: queueName(), ids: idsOf(...shares) },
  });
  let pool: string;

  it('tells what a worker does and when it is forgotten', async () => {
    const task = world.view.addTask({ operations: ['z', 'b'], queuedAtMs: 500 });
    world.addSlot({ pool, labels: { host: 'h' }, task, expiresAtMs: 60_000, isDrained: true });
    const { workers } = await list(all);
    assert.equal(workers.length, 1);
    const [worker] = workers;
    assert.deepEqual(worker?.id, { host: 'h' });
    assert.deepEqual(worker?.timeout, { seconds: BigInt(WALL_ZERO_MS / 1000 + 60), nanos: 0 });
    assert.equal(worker?.drained, true);
    const { currentOperation } = worker;
    assert.deepEqual(
      [currentOperation?.name, currentOperation?.invocationName, currentOperation?.stage],
      ['b', undefined, undefined],
    );
    assert.equal(currentOperation?.actionDigest?.hash, task.key.action.hash);
  });

  it('has no timeout for a worker that waits in a call', async () => {
    world.addSlot({ pool, isPolling: true });
    const [worker] = (await list(all)).workers;
    assert.deepEqual([worker?.timeout, worker?.currentOperation, worker?.drained], [undefined, undefined, false]);
  });

  it('shows work of a former server as an operation without a name', async () => {
    world.addSlot({ pool, task: world.view.addTask({ operations: [] }) });
    const [worker] = (await list(all)).workers;
    assert.equal(worker?.currentOperation?.name, '');
    assert.equal(worker?.currentOperation?.actionDigest?.hash.length, 64);
  });

  it('sorts by worker id and pages behind one', async () => {
    for (const host of ['c', 'a', 'b']) world.addSlot({ pool, labels: { host, thread: '0' } });
    world.addSlot({ pool: world.view.addPool({ prefix: 'other' }), labels: { host: 'elsewhere' } });
    const first = await list(all, { pageSize: 2 });
    assert.deepEqual(first.hosts, ['a', 'b']);
    assert.deepEqual(first.paginationInfo, { startIndex: 0, totalEntries: 3 });
    const second = await list(all, { pageSize: 2, startAfter: { workerId: first.workers[1]?.id } });
    assert.deepEqual(second.hosts, ['c']);
    assert.deepEqual(second.paginationInfo, { startIndex: 2, totalEntries: 3 });
  });

  it('filters by what they run and by what they ran last, anywhere below a place', async () => {
    for (const [host, shares] of Object.entries({ a: ['p', 'c', 'i'], b: ['p', 'c', 'j'] })) {
      world.addSlot({ pool, labels: { host: `runs-${host}` }, task: world.view.addTask({ shares }) });
      world.addSlot({ pool, labels: { host: `idle-${host}` }, isPolling: true, lastShares: shares });
    }
    world.addSlot({ pool, labels: { host: 'away' }, lastShares: ['p', 'c', 'i'] });
    assert.deepEqual((await list(inPlace('executing', 'p', 'c', 'i'))).hosts, ['runs-a']);
    assert.deepEqual((await list(inPlace('executing'))).hosts, ['runs-a', 'runs-b']);
    assert.deepEqual((await list(inPlace('idleSynchronizing', 'p', 'c', 'j'))).hosts, ['idle-b']);
    assert.deepEqual((await list(inPlace('idleSynchronizing'))).hosts, ['idle-a', 'idle-b']);
  });

  it('does not find what is not there, and refuses a call without a filter', async () => {
    await assert.rejects(list({ $case: 'all', value: queueName('other') }), ofKind('not-found'));
    await assert.rejects(list(inPlace('executing', 'nobody')), ofKind('not-found'));
    await assert.rejects(world.call(methods.listWorkers), ofKind('invalid-argument'));
  });

  it('asks for permission under the prefix of the queue', async () => {
    world.denied = /^operate /;
    await assert.rejects(list(all), ofKind('denied'));
    await assert.rejects(list(inPlace('executing')), ofKind('denied'));
  });
});
