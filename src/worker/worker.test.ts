import assert from 'node:assert/strict';
import { at, GOOD, SlotWorld, stateOf } from '../../test/support/slot-world.ts';
import { DigestFunction_Value, ExecuteResponse } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';

describe('Slot', () => {
  let world: SlotWorld;

  beforeEach(() => {
    world = new SlotWorld();
  });
  afterEach(() => world.close());

  it('starts idle, and says who it is and what it offers', async () => {
    const { request } = await world.next();
    assert.deepEqual(request.workerId, { node: 'n', thread: '0' });
    assert.equal(request.instanceNamePrefix, 'a');
    assert.deepEqual(request.platform?.properties, [{ name: 'OSFamily', value: 'linux' }]);
    assert.equal(request.currentState?.workerState?.$case, 'idle');
    assert.equal(request.gantry?.protocolVersion, 1);
    assert.equal(request.gantry?.serverRecordsResult, true);
    assert.deepEqual(request.gantry?.digestFunctions, [DigestFunction_Value.SHA256]);
  });

  it('starts what it is ordered to, under the whole instance name (R-BB-14), and reports it (R-BW-02)', async () => {
    (await world.next()).answer(world.orders('L1'));
    const call = await world.next();
    assert.equal(at(world.started, 0).lease.key.instance, 'a/b');
    assert.equal(stateOf(call), 'started');
    assert.equal(call.request.gantry?.leaseId, 'L1');
    assert.equal(call.request.gantry?.running?.instanceName, 'a/b');
  });

  it('gathers changes of stage for a tenth of a second, and reports the last', async () => {
    (await world.next()).answer(world.orders('L1'));
    await world.settle();
    at(world.started, 0).onStage('fetching');
    world.clock.advance(99);
    at(world.started, 0).onStage('running');
    await world.settle();
    assert.equal(world.calls.length, 0);
    world.clock.advance(1);
    assert.equal(stateOf(await world.next()), 'running');
  });

  it('reports the end of a lease at once: a short one costs a single call', async () => {
    (await world.next()).answer(world.orders('L1'));
    await world.settle();
    at(world.started, 0).onStage('running');
    at(world.started, 0).end(GOOD);
    await world.settle();
    assert.deepEqual(world.calls.map(stateOf), ['completed']);
  });

  it('reports what happens during a call when the call is over', async () => {
    (await world.next()).answer(world.orders('L1'));
    const first = await world.next();
    at(world.started, 0).onStage('running');
    world.clock.advance(100);
    await world.settle();
    assert.equal(world.calls.length, 0, 'one call at a time');
    first.answer(world.goOn());
    assert.equal(stateOf(await world.next()), 'running');
  });

  it('says the same again when the scheduler asked for it (R-BW-02)', async () => {
    (await world.next()).answer(world.orders('L1'));
    (await world.next()).answer(world.goOn(10_000));
    await world.settle();
    assert.equal(world.calls.length, 0);
    world.clock.advance(9_999);
    await world.settle();
    assert.equal(world.calls.length, 0);
    world.clock.advance(1);
    assert.equal(stateOf(await world.next()), 'started');
  });

  it('bears clocks that differ: it waits between 1 s and half of what makes it lost (R-BB-20, R-BB-28)', async () => {
    (await world.next()).answer(world.orders('L1'));
    for (const [answerMs, waitMs] of [
      [-3_600_000, 1000],
      [3_600_000, 30_000],
    ] as const) {
      (await world.next()).answer(world.goOn(answerMs));
      await world.settle();
      world.clock.advance(waitMs - 1);
      await world.settle();
      assert.equal(world.calls.length, 0);
      world.clock.advance(1);
    }
    await world.next();
  });

  it('reports its end at once whatever the clock of the scheduler, and is not made to repeat it all the time', async () => {
    (await world.next()).answer(world.orders('L1'));
    (await world.next()).answer(world.goOn(-3_600_000));
    at(world.started, 0).end(GOOD);
    await world.settle();
    assert.deepEqual(world.calls.map(stateOf), ['completed']);
    (await world.next()).answer(world.goOn(-3_600_000));
    await world.settle();
    world.clock.advance(999);
    await world.settle();
    assert.equal(world.calls.length, 0);
    world.clock.advance(1);
    assert.equal(stateOf(await world.next()), 'completed');
  });

  it('reports the response, and takes the next orders from the answer', async () => {
    (await world.next()).answer(world.orders('L1'));
    (await world.next()).answer(world.goOn());
    await world.settle();
    at(world.started, 0).end(GOOD);
    const call = await world.next();
    assert.equal(stateOf(call), 'completed');
    assert.equal(call.request.preferBeingIdle, false);
    call.answer(world.orders('L2'));
    assert.equal((await world.next()).request.gantry?.leaseId, 'L2');
    assert.equal(world.started.length, 2);
    assert.equal(world.slot.counters.leasesCompleted, 1);
  });

  it('repeats a response until the scheduler has answered', async () => {
    (await world.next()).answer(world.orders('L1'));
    (await world.next()).answer(world.goOn());
    await world.settle();
    at(world.started, 0).end(GOOD);
    (await world.next()).fail();
    await world.settle();
    world.clock.advance(5_000);
    const call = await world.next();
    assert.equal(stateOf(call), 'completed');
    call.answer(world.idle());
    assert.equal(stateOf(await world.next()), 'idle');
  });

  it('says that it holds its next lease while what the one before left is removed, which may take minutes', async () => {
    (await world.next()).answer(world.orders('L1'));
    (await world.next()).answer(world.goOn());
    at(world.started, 0).end(GOOD);
    const completed = await world.next();
    const { promise, resolve } = Promise.withResolvers<void>();
    world.cleaning = promise;
    completed.answer(world.orders('L2'));
    const call = await world.next();
    assert.equal(stateOf(call), 'started');
    assert.equal(call.request.gantry?.leaseId, 'L2');
    resolve();
  });

  it('goes on with a lease that is ordered again', async () => {
    (await world.next()).answer(world.orders('L1'));
    (await world.next()).answer(world.orders('L1'));
    await world.settle();
    assert.equal(world.started.length, 1);
    assert.equal(at(world.started, 0).signal.aborted, false);
  });

  it('gives up its lease for another, never holding two', async () => {
    (await world.next()).answer(world.orders('L1'));
    (await world.next()).answer(world.orders('L2'));
    assert.equal((await world.next()).request.gantry?.leaseId, 'L2');
    assert.equal(at(world.started, 0).signal.aborted, true);
    assert.equal(world.started.length, 2);
    assert.equal(world.slot.counters.leasesCancelled, 1);
  });

  it('aborts its lease when told to be idle (R-BB-25)', async () => {
    (await world.next()).answer(world.orders('L1'));
    (await world.next()).answer(world.idle());
    assert.equal(stateOf(await world.next()), 'idle');
    assert.equal(at(world.started, 0).signal.aborted, true);
  });

  it('pauses up to 5 s after a failed call while it holds nothing (R-BW-05)', async () => {
    (await world.next()).fail();
    await world.settle();
    world.clock.advance(2_499);
    await world.settle();
    assert.equal(world.calls.length, 0);
    world.clock.advance(1);
    await world.next();
  });

  it('pauses up to 1 s after a failed call while it holds a lease, which goes on (R-BW-05)', async () => {
    (await world.next()).answer(world.orders('L1'));
    (await world.next()).fail();
    await world.settle();
    world.clock.advance(499);
    await world.settle();
    assert.equal(world.calls.length, 0);
    world.clock.advance(1);
    await world.next();
    assert.equal(at(world.started, 0).signal.aborted, false);
    assert.equal(world.slot.counters.syncFailures, 1);
  });

  it('prefers being idle once after a fault of its own (R-BW-03)', async () => {
    (await world.next()).answer(world.orders('L1'));
    (await world.next()).answer(world.goOn());
    await world.settle();
    at(world.started, 0).end({ ...GOOD, isWorkerFault: true });
    const call = await world.next();
    assert.equal(call.request.preferBeingIdle, true);
    call.answer(world.idle());
    assert.equal((await world.next()).request.preferBeingIdle, false);
    assert.equal(world.slot.counters.workerFaults, 1);
  });

  it('does not synchronise while its build directory cannot be used (R-BW-01)', async () => {
    world.isReady = false;
    (await world.next()).answer(world.idle());
    await world.settle();
    world.clock.advance(200);
    await world.settle();
    assert.equal(world.calls.length, 0);
    world.isReady = true;
    world.clock.advance(5_000);
    await world.next();
  });

  it('tells operators once what keeps it from working: the server, what that says, or its own machine', async () => {
    await world.beAway(20_000);
    const value = { digestFunction: DigestFunction_Value.SHA256 };
    const senseless = {
      nextSynchronizationAt: world.inMs(0),
      desiredState: { workerState: { $case: 'executing' as const, value } },
    };
    for (let again = 0; again < 3; again++) {
      (await world.next()).answer(senseless);
      await world.settle();
      world.clock.advance(5_000);
    }
    (await world.next()).answer(world.idle());
    world.isReady = false;
    for (let again = 0; again < 3; again++) {
      await world.settle();
      world.clock.advance(5_000);
    }
    assert.deepEqual(
      world.log.lines.map(({ msg }) => msg.split(';')[0]),
      [
        'the server does not answer',
        'the server answers what this slot cannot follow',
        'this slot cannot work on its machine',
      ],
    );
  });

  it('does not hammer a scheduler that answers at once', async () => {
    (await world.next()).answer(world.idle());
    await world.settle();
    assert.equal(world.calls.length, 0);
    world.clock.advance(200);
    await world.next();
  });

  it('writes the action cache itself unless the server does (R-BW-07)', async () => {
    const cases = [
      { server: false, exitCode: 0, code: 0, writes: 1 },
      { server: true, exitCode: 0, code: 0, writes: 0 },
      { server: false, exitCode: 1, code: 0, writes: 0 },
      { server: false, exitCode: 0, code: 4, writes: 0 },
    ];
    let call = await world.next();
    for (const [index, { server, exitCode, code, writes }] of cases.entries()) {
      world.recorded.length = 0;
      call.answer(world.orders(`L${index}`, server));
      (await world.next()).answer(world.goOn());
      await world.settle();
      const response = ExecuteResponse.fromPartial({ result: { exitCode }, status: { code } });
      at(world.started, -1).end({ ...GOOD, response });
      call = await world.next();
      assert.equal(world.recorded.length, writes, JSON.stringify(cases[index]));
    }
  });

  it('writes the action cache under a scheduler that sends no orders of ours', async () => {
    (await world.next()).answer(world.orders(''));
    (await world.next()).answer(world.goOn());
    await world.settle();
    at(world.started, 0).end(GOOD);
    await world.next();
    assert.equal(world.recorded[0]?.instance, 'a/b');
  });

  it('stops at once when it is idle, leaving the long poll', async () => {
    await world.next();
    world.slot.stop();
    const call = await world.next();
    assert.equal(world.aborted, 1);
    assert.equal(call.request.preferBeingIdle, true);
    call.answer(world.idle());
    await world.over;
  });

  it('says that it leaves even if its long poll has been held back for longer than its patience', async () => {
    await world.next();
    world.clock.advance(99_000);
    world.slot.stop();
    const call = await world.next();
    assert.equal(call.request.gantry?.leaving, true);
    call.answer(world.idle());
    await world.over;
  });

  it('finishes and reports its lease before it stops (R-BW-04)', async () => {
    (await world.next()).answer(world.orders('L1'));
    (await world.next()).answer(world.goOn());
    await world.settle();
    world.slot.stop();
    const call = await world.next();
    assert.equal(call.request.preferBeingIdle, true);
    call.answer(world.goOn());
    await world.settle();
    assert.equal(at(world.started, 0).signal.aborted, false);
    at(world.started, 0).end(GOOD);
    const last = await world.next();
    assert.equal(stateOf(last), 'completed');
    last.answer(world.idle());
    await world.over;
  });

  it('stops without the scheduler when that has been away for a minute (R-BW-04)', async () => {
    await world.next();
    world.slot.stop();
    for (let pause = 0; pause < 26; pause++) {
      await world.settle();
      for (const call of world.calls.splice(0)) call.fail();
      await world.settle();
      world.clock.advance(2_500);
    }
    await world.over;
  });

  it('aborts everything when killed', async () => {
    (await world.next()).answer(world.orders('L1'));
    await world.next();
    world.slot.kill();
    await world.over;
    assert.equal(at(world.started, 0).signal.aborted, true);
  });

  it('outlives orders that make no sense', async () => {
    (await world.next()).answer({
      nextSynchronizationAt: world.inMs(0),
      desiredState: { workerState: { $case: 'executing', value: { digestFunction: DigestFunction_Value.SHA256 } } },
    });
    await world.settle();
    world.clock.advance(5_000);
    assert.equal(stateOf(await world.next()), 'idle');
  });
});
