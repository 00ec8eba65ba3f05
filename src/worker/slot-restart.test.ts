import assert from 'node:assert/strict';
import { ACTION_DIGEST, at, GOOD, type SlotCall, SlotWorld, stateOf } from '../../test/support/slot-world.ts';
import { ReapiError } from '../errors.ts';
import { ExecuteResponse } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { Code } from '../gen/google/rpc/code.ts';

describe('Slot, while its server is started again', () => {
  let world: SlotWorld;

  beforeEach(() => {
    world = new SlotWorld();
  });
  afterEach(() => world.close());

  for (const stage of ['started', 'fetching', 'running', 'uploading'] as const) {
    it(`goes on with a lease that is ${stage}, and tells the new server whose it is`, async () => {
      (await world.next()).answer(world.orders('old.1'));
      (await world.next()).answer(world.goOn());
      await world.settle();
      if (stage !== 'started') at(world.started, 0).onStage(stage);
      await world.beAway(90_000);
      const call = await world.next();
      assert.match(stateOf(call), new RegExp(`^${stage}`));
      assert.equal(call.request.gantry?.leaseId, 'old.1');
      assert.equal(call.request.gantry?.running?.instanceName, 'a/b');
      assert.equal(call.request.gantry?.running?.actionDigest?.hash, ACTION_DIGEST.hash);
      call.answer(world.goOn());
      await world.settle();
      at(world.started, 0).end(GOOD);
      assert.equal(stateOf(await world.next()), 'completed');
      assert.equal(world.started.length, 1, 'it ran once');
    });
  }

  it('keeps what completed while nobody listened, until a server takes it', async () => {
    (await world.next()).answer(world.orders('old.1'));
    (await world.next()).answer(world.goOn());
    await world.beAway(30_000);
    at(world.started, 0).end(GOOD);
    await world.beAway(900_000);
    const call = await world.next();
    assert.equal(stateOf(call), 'completed');
    assert.equal(call.request.gantry?.leaseId, 'old.1');
    call.answer(world.orders('new.1'));
    assert.equal((await world.next()).request.gantry?.leaseId, 'new.1');
  });

  it('says again what completed as long as the answer is to go on: nobody has taken it yet', async () => {
    (await world.next()).answer(world.orders('old.1'));
    (await world.next()).answer(world.goOn());
    await world.settle();
    at(world.started, 0).end(GOOD);
    // The server died before it answered, perhaps while it recorded the result.
    (await world.next()).fail();
    await world.beAway(10_000);
    for (let again = 0; again < 3; again++) {
      const call = await world.next();
      assert.equal(stateOf(call), 'completed');
      call.answer(world.goOn(1_000));
      await world.settle();
      world.clock.advance(1_000);
    }
    (await world.next()).answer(world.idle());
    assert.equal(stateOf(await world.next()), 'idle');
    assert.equal(world.slot.counters.leasesCancelled, 0);
  });

  it('drops what it runs when the new server says so', async () => {
    (await world.next()).answer(world.orders('old.1'));
    await world.beAway(5_000);
    (await world.next()).answer(world.idle());
    assert.equal(stateOf(await world.next()), 'idle');
    assert.equal(at(world.started, 0).signal.aborted, true);
  });

  it('is idle for the new server if the orders of the old one were lost on their way', async () => {
    (await world.next()).fail();
    await world.beAway(5_000);
    const call = await world.next();
    assert.equal(stateOf(call), 'idle');
    assert.equal(call.request.gantry?.leaseId, '');
    assert.equal(world.started.length, 0);
  });

  it('calls at least every second while it holds something, so that it is adopted in time', async () => {
    (await world.next()).answer(world.orders('old.1'));
    for (let attempt = 0; attempt < 20; attempt++) {
      (await world.next()).fail();
      await world.settle();
      world.clock.advance(1_000);
    }
    await world.next();
  });

  it('reports a result at least once before it stops, and then for three minutes', async () => {
    (await world.next()).answer(world.orders('old.1'));
    (await world.next()).answer(world.goOn());
    world.slot.stop();
    await world.beAway(600_000);
    at(world.started, 0).end(GOOD);
    await world.beAway(175_000);
    const call = await world.next();
    assert.equal(stateOf(call), 'completed');
    call.answer(world.idle());
    await world.over;
  });

  it('says that its result is too large, rather than offer for ever what the server cannot take', async () => {
    (await world.next()).answer(world.orders('old.1'));
    (await world.next()).answer(world.goOn());
    const stdoutRaw = Buffer.alloc(4 * 1024 * 1024);
    const large = { result: { exitCode: 0, stdoutRaw }, status: { code: 0 } };
    at(world.started, 0).end({ ...GOOD, response: ExecuteResponse.fromPartial(large) });
    (await world.next()).fail();
    await world.settle();
    world.clock.advance(1_000);
    const again = await world.next();
    assert.equal(responseOf(again)?.result?.stdoutRaw.length, stdoutRaw.length);
    again.fail(new ReapiError('quota-exceeded', 'received a message larger than max'));
    await world.settle();
    world.clock.advance(1_000);
    const last = await world.next();
    assert.deepEqual([responseOf(last)?.result, responseOf(last)?.status?.code], [undefined, Code.INVALID_ARGUMENT]);
    last.answer(world.idle());
    assert.equal(stateOf(await world.next()), 'idle');
  });

  it('stops in the end without a server that never takes its result', async () => {
    (await world.next()).answer(world.orders('old.1'));
    (await world.next()).answer(world.goOn());
    world.slot.stop();
    await world.settle();
    at(world.started, 0).end(GOOD);
    await world.beAway(200_000);
    await world.over;
  });
});

function responseOf({ request }: SlotCall): ExecuteResponse | undefined {
  const state = request.currentState?.workerState;
  const execution = state?.$case === 'executing' ? state.value.executionState : undefined;
  return execution?.$case === 'completed' ? execution.value : undefined;
}
