import assert from 'node:assert/strict';
import { at, GOOD, SlotWorld, stateOf } from '../../test/support/slot-world.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { ExecuteResponse } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { SynchronizeResponse } from '../gen/pkg/proto/remoteworker/remoteworker.ts';
import { slotReport } from './slot-report.ts';

describe('Slot, beyond Buildbarn’s protocol', () => {
  let world: SlotWorld;

  beforeEach(() => {
    world = new SlotWorld();
  });
  afterEach(() => world.close());

  it('says that its machine was too small, and only of that lease', async () => {
    (await world.next()).answer(world.orders('L1'));
    (await world.next()).answer(world.goOn());
    await world.settle();
    const response = ExecuteResponse.fromPartial({ status: { code: 8, message: 'memory' } });
    at(world.started, 0).end({ response, isWorkerFault: false, isExhausted: true });
    const call = await world.next();
    assert.equal(call.request.gantry?.exhausted, true);
    assert.equal(call.request.preferBeingIdle, false, 'the slot is well');
    call.answer(world.orders('L2'));
    assert.equal((await world.next()).request.gantry?.exhausted, false);
    assert.equal(world.slot.counters.leasesExhausted, 1);
  });

  it('carries what its node has cached, and says when a call that did so was lost', async () => {
    world.sketch = { bits: Uint8Array.of(1), hashes: 4 };
    (await world.next()).answer(world.idle());
    await world.settle();
    world.clock.advance(200);
    const call = await world.next();
    assert.deepEqual([...(call.request.gantry?.cached?.bits ?? [])], [1]);
    world.sketch = undefined;
    call.fail();
    await world.settle();
    assert.equal(world.disconnections, 1);
    world.clock.advance(5_000);
    assert.equal((await world.next()).request.gantry?.cached, undefined);
  });

  it('passes on what is expected next, which stands until another is named or nothing waits', async () => {
    const named = (instanceName: string) => ({ ...world.goOn(0), gantry: { next: { instanceName } } });
    (await world.next()).answer({ ...world.orders('L1'), gantry: { leaseId: 'L1', next: { instanceName: 'one' } } });
    const again = async () => {
      await world.settle();
      world.clock.advance(1000);
      return world.next();
    };
    (await world.next()).answer(world.goOn(0));
    (await again()).answer(named('/'));
    (await again()).answer({ ...world.orders('L1'), nextSynchronizationAt: world.inMs(0) });
    (await again()).answer(named('two'));
    await again();
    assert.deepEqual(
      world.told.map((one) => one?.instanceName),
      ['one', 'two'],
    );
    assert.equal(world.started.length, 1);
  });

  it('expects nothing when it is told to be idle', async () => {
    (await world.next()).answer(world.idle());
    await world.settle();
    assert.deepEqual(world.told, [undefined]);
  });

  it('exits when told to, as soon as it holds nothing', async () => {
    (await world.next()).answer({ ...world.orders('L1'), directives: { exit: true } });
    const call = await world.next();
    assert.equal(call.request.preferBeingIdle, true);
    call.answer({ ...world.goOn(), directives: { exit: true } });
    await world.settle();
    assert.equal(at(world.started, 0).signal.aborted, false, 'what it holds is finished');
    at(world.started, 0).end(GOOD);
    const last = await world.next();
    assert.equal(stateOf(last), 'completed');
    last.answer({ ...world.idle(), directives: { exit: true } });
    await world.over;
  });

  it('exits from its long poll when told to', async () => {
    (await world.next()).answer({ ...world.idle(), directives: { exit: true } });
    const call = await world.next();
    assert.equal(call.request.preferBeingIdle, true);
    call.answer(world.idle());
    await world.over;
  });

  it('says that it leaves, from when it is stopped', async () => {
    const call = await world.next();
    assert.equal(call.request.gantry?.leaving, false);
    world.slot.stop();
    const last = await world.next();
    assert.equal(last.request.gantry?.leaving, true);
    last.answer(world.idle());
    await world.over;
  });

  it('does not exit for directives that say nothing of it', async () => {
    (await world.next()).answer({ ...world.goOn(), directives: {} });
    await world.settle();
    world.clock.advance(10_000);
    assert.equal((await world.next()).request.preferBeingIdle, false);
  });

  it('understands a later server, whose fields it does not know', async () => {
    const known = SynchronizeResponse.encode(SynchronizeResponse.fromPartial(world.orders('L1'))).finish();
    // Field 1002 of the response, two bytes.
    const later = Buffer.concat([known, Buffer.from('d23e020801', 'hex')]);
    (await world.next()).answer(SynchronizeResponse.decode(later));
    assert.equal((await world.next()).request.gantry?.leaseId, 'L1');
  });
});

describe('slotReport', () => {
  const options = {
    workerId: { node: 'n' },
    instanceNamePrefix: parseInstanceName(''),
    properties: [{ name: 'OSFamily', value: 'linux' }],
    sizeClass: 2,
    alternatives: [],
    incarnation: 'process 1',
  };
  const now = { prefersIdle: false, isLeaving: false, cached: undefined };

  it('tells its process apart from the one before, and its size class', () => {
    const { gantry, sizeClass } = slotReport(options, undefined, now);
    assert.deepEqual([gantry?.incarnation, sizeClass], ['process 1', 2]);
  });

  it('offers its platform alone unless there are alternatives, and then each as a whole', () => {
    assert.deepEqual(slotReport(options, undefined, now).gantry?.offers, []);
    const wasi = [{ name: 'OSFamily', value: 'wasi' }];
    const { gantry } = slotReport({ ...options, alternatives: [wasi] }, undefined, now);
    assert.deepEqual(gantry?.offers, [{ properties: options.properties }, { properties: wasi }]);
  });
});
