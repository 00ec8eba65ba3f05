import assert from 'node:assert/strict';
import { isKind } from '../../src/errors.ts';
import {
  ExternalScalerDefinition,
  GetMetricsRequest,
  ScaledObjectRef,
} from '../../src/gen/externalscaler/externalscaler.ts';
import { startDeclaredWorker } from './declared-worker.ts';
import { eventually } from './eventually.ts';
import { Gantry, gantryCommand, stopEverything } from './gantry.ts';
import { propertyList, RemoteActions } from './remote-actions.ts';

const PROPERTIES = { OSFamily: 'linux', ISA: 'x86-64', pool: 'burst' };

/** Times are the shortest that the configuration takes: a server tells nothing of its fleet before `workerTimeoutSeconds` are over. */
const CONFIG = {
  execution: {
    workerTimeoutSeconds: 5,
    synchronizeSeconds: 1,
    platform: { graceSeconds: 0 },
    pools: [{ name: 'burst', platform: propertyList(PROPERTIES), scaleDownSeconds: 1, waitSeconds: 60 }],
  },
};

const REF = ScaledObjectRef.fromPartial({ name: 'workers', namespace: 'ci', scalerMetadata: { pool: 'burst' } });

describe('a pool that KEDA scales from zero and back', () => {
  let server: Gantry;
  let keda: RemoteActions;

  before(async () => {
    server = await Gantry.start({ role: 'server', config: CONFIG });
    keda = new RemoteActions(server.grpcAddress);
  });

  after(async () => {
    keda?.close();
    await stopEverything();
  });

  const { methods } = ExternalScalerDefinition;

  async function wanted(): Promise<number> {
    const request = GetMetricsRequest.fromPartial({ scaledObjectRef: REF, metricName: 's0-gantry-wanted-workers' });
    const { metricValues } = await keda.call(ExternalScalerDefinition, methods.getMetrics, request);
    assert.equal(metricValues.length, 1);
    return Number(metricValues[0]?.metricValue);
  }

  it('wants a worker as soon as an action waits for the empty pool, and none once nothing does', async () => {
    const told: boolean[] = [];
    const following = follow(told);
    // KEDA asks in vain until the server knows its fleet, and then changes nothing.
    await eventually('the server knows its fleet', async () => (await answers(wanted)) || undefined);
    assert.equal(await wanted(), 0);
    assert.deepEqual(await isActive(), false);

    const execution = await (await keda.start('true', { properties: PROPERTIES })).queued();
    const why = await gantryCommand('why', await execution.name(), '--server', server.grpcAddress);
    assert.match(why.output, /burst/);
    await eventually('a worker is wanted', async () => ((await wanted()) >= 1 ? true : undefined));
    assert.equal(await isActive(), true);
    const worker = await startDeclaredWorker(server, { node: 'woken', properties: PROPERTIES });
    assert.equal(await execution.worker(), 'woken');

    await eventually('no worker is wanted', async () => ((await wanted()) === 0 ? true : undefined));
    assert.equal(await isActive(), false);
    worker.signal('SIGTERM');
    assert.equal((await worker.end()).exitCode, 0);
    await eventually('all changes were told', () => (told.length === 3 ? true : undefined));
    assert.deepEqual(told, [false, true, false]);
    await server.stop();
    await following;
  });

  async function isActive(): Promise<boolean> {
    return (await keda.call(ExternalScalerDefinition, methods.isActive, REF)).result;
  }

  /** Until the server stops. */
  async function follow(told: boolean[]): Promise<void> {
    for await (const { result } of keda.stream(ExternalScalerDefinition, methods.streamIsActive, REF))
      told.push(result);
  }
});

/** Whether a call succeeds; UNAVAILABLE is the only other answer it may give. */
async function answers(call: () => Promise<unknown>): Promise<boolean> {
  try {
    await call();
    return true;
  } catch (error) {
    if (isKind(error, 'unavailable')) return false;
    throw error;
  }
}
