import assert from 'node:assert/strict';
import { callServerStreaming, callUnary } from '../../../test/support/call-method.ts';
import { fakeCall } from '../../../test/support/fake-call.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { FakeSchedulerView } from '../../../test/support/scheduler-view.ts';
import { type Authorizer, OpenAuthorizer } from '../../auth/authorizer.ts';
import { type ErrorKind, isKind } from '../../errors.ts';
import {
  ExternalScalerDefinition,
  GetMetricsResponse,
  IsActiveResponse,
  ScaledObjectRef,
} from '../../gen/externalscaler/externalscaler.ts';
import { externalScalerMethods } from './external-scaler-service.ts';
import { FleetPlan } from './fleet-plan.ts';
import type { ScalingPool } from './scaling-pool.ts';

const { isActive, streamIsActive, getMetricSpec, getMetrics } = ExternalScalerDefinition.methods;

const POOL: ScalingPool = {
  name: 'linux',
  offer: { alternatives: [{ properties: [] }], digestFunctions: ['sha256'], legacyOutputs: false },
  ...{ slotsPerWorker: 2, minWorkers: 0, maxWorkers: 1000, drainMs: 60_000, scaleDownMs: 10_000 },
};

/** A scaler whose server started a while ago, with one configured pool and no worker. */
function world(options: { readonly isSettled?: boolean; readonly authorizer?: Authorizer } = {}) {
  const clock = new FakeClock();
  const view = new FakeSchedulerView();
  view.addPool({ name: 'linux' });
  const source = {
    view: {
      // What workers brought is forgotten with the last of them.
      pools: () => [...view.pools()].filter(({ name, slots }) => name !== '' || slots > 0),
      demands: () => view.demands(),
      slots: () => view.slots(),
    },
    nowMs: () => clock.monotonicMs(),
  };
  const plan = new FleetPlan(source, { pools: [POOL], settleMs: 60_000, refreshMs: 500 });
  if (options.isSettled ?? true) clock.advance(60_000);
  const stopping = new AbortController();
  const authorizer = options.authorizer ?? new OpenAuthorizer();
  const methods = externalScalerMethods({ plan, authorizer, clock, stopping: stopping.signal });
  return { clock, view, stopping, methods };
}

function ref(metadata: Readonly<Record<string, string>> = { pool: 'linux' }): object {
  return { name: 'workers', namespace: 'builds', scalerMetadata: metadata };
}

function rejects(promise: Promise<unknown>, kind: ErrorKind, message = /./): Promise<void> {
  return assert.rejects(promise, (error) => isKind(error, kind) && message.test(error.message));
}

/** A stream as a transport reads it, and the end of its call. */
function open({ methods }: Pick<ReturnType<typeof world>, 'methods'>, request = ref()) {
  const method = methods.find(({ path }) => path === '/externalscaler.ExternalScaler/StreamIsActive');
  assert.ok(method?.kind === 'server-streaming');
  const call = new AbortController();
  const bytes = ScaledObjectRef.encode(ScaledObjectRef.fromPartial(request)).finish();
  const messages = method.handle(bytes, fakeCall({ signal: call.signal }))[Symbol.asyncIterator]();
  const next = async (): Promise<boolean | 'ended'> => {
    const { done, value } = await messages.next();
    return done ? 'ended' : IsActiveResponse.decode(value).result;
  };
  return { call, next, close: () => messages.return?.() };
}

/** Lets what was resolved go on. */
async function turn(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

describe('externalScalerMethods', () => {
  it('serves the four methods under the names of KEDA', () => {
    const paths = world().methods.map(({ path }) => path);
    const names = ['IsActive', 'StreamIsActive', 'GetMetricSpec', 'GetMetrics'];
    assert.deepEqual(
      paths,
      names.map((name) => `/externalscaler.ExternalScaler/${name}`),
    );
  });

  it('reads and writes the bytes of KEDA', async () => {
    const bytes = '0a01771201621a0d0a04706f6f6c12056c696e7578';
    const decoded = ScaledObjectRef.decode(Buffer.from(bytes, 'hex'));
    assert.deepEqual(decoded, { name: 'w', namespace: 'b', scalerMetadata: { pool: 'linux' } });
    const response = GetMetricsResponse.fromPartial({ metricValues: [{ metricName: 'm', metricValue: 300n }] });
    assert.equal(Buffer.from(GetMetricsResponse.encode(response).finish()).toString('hex'), '0a060a016d10ac02');
  });

  it('wants as many replicas as workers: the metric is their number and each stands for one', async () => {
    const { methods, view } = world();
    for (let i = 0; i < 10; i++) view.addTask({ expectedMs: 60_000 });
    const spec = await callUnary(methods, getMetricSpec, ref());
    assert.deepEqual(spec.metricSpecs, [{ metricName: 'gantry-wanted-workers', targetSize: 1n, targetSizeFloat: 1 }]);
    for (const metricName of ['s0-gantry-wanted-workers', 'gantry-wanted-workers']) {
      const { metricValues } = await callUnary(methods, getMetrics, { scaledObjectRef: ref(), metricName });
      assert.deepEqual(metricValues, [{ metricName, metricValue: 5n, metricValueFloat: 5 }]);
    }
  });

  it('takes the pace and the size of a replica from the trigger', async () => {
    const { methods, view } = world();
    for (let i = 0; i < 10; i++) view.addTask({ expectedMs: 60_000 });
    const scaledObjectRef = ref({ pool: 'linux', drainSeconds: '150', targetSize: '3' });
    const { metricSpecs } = await callUnary(methods, getMetricSpec, scaledObjectRef);
    assert.equal(metricSpecs[0]?.targetSize, 3n);
    const { metricValues } = await callUnary(methods, getMetrics, { scaledObjectRef });
    assert.deepEqual(metricValues, [{ metricName: 'gantry-wanted-workers', metricValue: 2n, metricValueFloat: 2 }]);
  });

  it('is active as long as a worker is wanted', async () => {
    const { methods, view, clock } = world();
    const active = async () => (await callUnary(methods, isActive, ref())).result;
    assert.equal(await active(), false);
    const task = view.addTask();
    clock.advance(1_000);
    assert.equal(await active(), true);
    view.removeTask(task);
    clock.advance(9_999);
    assert.equal(await active(), true);
    clock.advance(1_000);
    assert.equal(await active(), false);
  });

  it('says nothing of numbers while workers come back after a start, so that none is stopped', async () => {
    const { methods, clock } = world({ isSettled: false });
    await rejects(callUnary(methods, isActive, ref()), 'unavailable', /just started/);
    await rejects(callUnary(methods, getMetrics, { scaledObjectRef: ref() }), 'unavailable', /just started/);
    assert.equal((await callUnary(methods, getMetricSpec, ref())).metricSpecs.length, 1);
    clock.advance(60_000);
    assert.equal((await callUnary(methods, isActive, ref())).result, false);
  });

  it('refuses a trigger that makes no sense, naming the pools there are', async () => {
    const { methods } = world();
    const bad = ref({ pool: 'windows' });
    const message = /"windows".* there are: "linux"$/;
    await rejects(callUnary(methods, isActive, bad), 'invalid-argument', message);
    await rejects(callUnary(methods, getMetricSpec, bad), 'invalid-argument', message);
    await rejects(callUnary(methods, getMetrics, { scaledObjectRef: bad }), 'invalid-argument', message);
    await rejects(callServerStreaming(methods, streamIsActive, bad), 'invalid-argument', message);
    await rejects(callUnary(methods, getMetrics, {}), 'invalid-argument', /scaledObjectRef/);
    const other = { scaledObjectRef: ref(), metricName: 'cpu' };
    await rejects(callUnary(methods, getMetrics, other), 'invalid-argument', /gantry-wanted-workers/);
  });

  it('is for operators', async () => {
    const asked: string[] = [];
    const authorizer: Authorizer = {
      allows: (_, what) => {
        asked.push(what);
        return Promise.resolve(false);
      },
    };
    const { methods } = world({ authorizer });
    await rejects(callUnary(methods, isActive, ref()), 'denied');
    await rejects(callUnary(methods, getMetricSpec, ref()), 'denied');
    await rejects(callUnary(methods, getMetrics, { scaledObjectRef: ref() }), 'denied');
    await rejects(callServerStreaming(methods, streamIsActive, ref()), 'denied');
    assert.deepEqual(asked, ['operate', 'operate', 'operate', 'operate']);
  });
});

describe('StreamIsActive', () => {
  it('begins with what is and tells of changes only', async () => {
    const all = world();
    const { view, clock } = all;
    const stream = open(all);
    assert.equal(await stream.next(), false);
    const second = stream.next();
    for (let i = 0; i < 5; i++) {
      await turn();
      clock.advance(1_000);
    }
    view.addTask();
    await turn();
    clock.advance(1_000);
    assert.equal(await second, true);
    await stream.close();
  });

  it('waits while workers come back after a start', async () => {
    const all = world({ isSettled: false });
    const stream = open(all);
    const first = stream.next();
    all.view.addTask();
    for (let i = 0; i < 60; i++) {
      await turn();
      all.clock.advance(1_000);
    }
    assert.equal(await first, true);
    await stream.close();
  });

  it('ends with its call and with the server, and leaves no timer', async () => {
    const all = world();
    const [one, two] = [open(all), open(all)];
    assert.deepEqual([await one.next(), await two.next()], [false, false]);
    const ends = [one.next(), two.next()];
    await turn();
    assert.equal(all.clock.armed, 2);
    one.call.abort();
    assert.equal(await ends[0], 'ended');
    all.stopping.abort();
    assert.equal(await ends[1], 'ended');
    assert.equal(all.clock.armed, 0);
    assert.equal(await open(all).next(), 'ended');
  });

  it('is open 256 times at most', async () => {
    const all = world();
    const streams = Array.from({ length: 256 }, () => open(all));
    for (const stream of streams) assert.equal(await stream.next(), false);
    await rejects(open(all).next(), 'quota-exceeded', /256 streams/);
    await streams[0]?.close();
    const next = open(all);
    assert.equal(await next.next(), false);
    for (const stream of [...streams, next]) await stream.close();
  });

  it('goes on when what workers brought is gone with the last of them', async () => {
    const all = world();
    const pool = all.view.addPool({ alternatives: [{ os: 'wasi' }], prefix: 'w' });
    const slot = all.view.addSlot({ pool });
    all.clock.advance(1_000);
    const stream = open(all, ref({ pool: 'os=wasi' }));
    assert.equal(await stream.next(), true);
    all.view.removeSlot(slot.name);
    const changed = stream.next();
    await turn();
    all.clock.advance(1_000);
    assert.equal(await changed, false);
    await stream.close();
  });
});
