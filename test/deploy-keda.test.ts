import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { loadConfig } from '../src/config/load.ts';
import { parseTrigger } from '../src/execution/scaling/trigger.ts';
import type { PoolPlan } from '../src/execution/scaling/wanted-workers.ts';

const folder = join(import.meta.dirname, '..', 'deploy', 'keda');

const documents = parseAllDocuments(readFileSync(join(folder, 'scaledobject.yaml'), 'utf8'));

/** The value under a path in the one document of a kind. */
function at(kind: string, ...path: readonly (string | number)[]): unknown {
  const [only, ...others] = documents.filter((document) => document.get('kind') === kind);
  assert.ok(only !== undefined && others.length === 0, kind);
  const value: unknown = only.getIn(path);
  return value instanceof Object && 'toJSON' in value && value.toJSON instanceof Function ? value.toJSON() : value;
}

const container = ['spec', 'template', 'spec', 'containers', 0] as const;

describe('deploy/keda', () => {
  const loaded = loadConfig({ file: join(folder, 'server.yaml'), environment: {} });
  assert.ok(loaded.ok, JSON.stringify(loaded));
  const { execution, listen } = loaded.config;
  const [pool] = execution.pools;
  assert.ok(pool);

  /** The variables of the worker. */
  const environment = (): Record<string, string> => {
    const variables = at('Deployment', ...container, 'env');
    assert.ok(Array.isArray(variables));
    return Object.fromEntries(variables.map(({ name, value }) => [name, value]));
  };

  it('has no YAML that is wrong and no warnings', () => {
    for (const { errors, warnings } of documents) assert.deepEqual([...errors, ...warnings], []);
    assert.deepEqual(loaded.warnings, []);
  });

  it('scales the deployment that it brings', () => {
    assert.equal(at('ScaledObject', 'apiVersion'), 'keda.sh/v1alpha1');
    assert.equal(at('ScaledObject', 'spec', 'scaleTargetRef', 'name'), at('Deployment', 'metadata', 'name'));
    assert.equal(at('ScaledObject', 'metadata', 'namespace'), at('Deployment', 'metadata', 'namespace'));
    const labels = at('Deployment', 'spec', 'template', 'metadata', 'labels');
    assert.deepEqual(labels, at('Deployment', 'spec', 'selector', 'matchLabels'));
  });

  it('leaves the number of replicas to the scaler', () => {
    assert.equal(at('Deployment', 'spec', 'replicas'), undefined);
    assert.equal(at('ScaledObject', 'spec', 'minReplicaCount'), pool.minWorkers);
    assert.equal(at('ScaledObject', 'spec', 'maxReplicaCount'), pool.maxWorkers);
    assert.equal(at('ScaledObject', 'spec', 'triggers', 0, 'metricType'), 'AverageValue');
  });

  it('has a trigger that the server understands, for a pool that it knows', () => {
    assert.equal(at('ScaledObject', 'spec', 'triggers', 0, 'type'), 'external-push');
    const metadata = at('ScaledObject', 'spec', 'triggers', 0, 'metadata');
    assert.ok(metadata instanceof Object);
    const entries = Object.entries(metadata);
    assert.ok(entries.every(([, value]) => typeof value === 'string'));
    const group = {
      ...{ name: pool.name, properties: '', isConfigured: true, sizeClass: 0, ids: [], capacity: [], slots: 0 },
      ...{ nodes: 0, slotsPerWorker: 1, minWorkers: 0, maxWorkers: 1, drainMs: 1, scaleDownMs: 1 },
    };
    const plan: PoolPlan = {
      ...{ group, neededWorkers: 0, wantedWorkers: 0, queuedWorkMs: 0, busySlots: 0, idleDrainedSlots: 0 },
    };
    assert.equal(parseTrigger(new Map(entries), [plan]).pool, pool.name);
  });

  it('connects workers and scaler to where the server listens', () => {
    const port = listen.grpc.split(':').at(-1);
    const address = String(at('ScaledObject', 'spec', 'triggers', 0, 'metadata', 'scalerAddress'));
    assert.equal(address.split(':').at(-1), port);
    assert.equal(environment()['GANTRY_WORKER_SERVER'], `grpc://${address}`);
  });

  it('starts workers with the slots that the pool counts on, and variables that there are', () => {
    assert.deepEqual(at('Deployment', ...container, 'args'), ['worker']);
    const worker = loadConfig({ environment: environment() });
    assert.ok(worker.ok, JSON.stringify(worker));
    assert.deepEqual(worker.warnings, []);
    assert.equal(worker.config.worker.slots, pool.slotsPerWorker);
  });

  it('gives a worker that is stopped the time of the longest action', () => {
    const worker = loadConfig({ environment: environment() });
    assert.ok(worker.ok);
    const graceSeconds = worker.config.stop.graceSeconds;
    assert.ok(graceSeconds >= execution.maxTimeoutSeconds);
    assert.ok(Number(at('Deployment', 'spec', 'template', 'spec', 'terminationGracePeriodSeconds')) > graceSeconds);
  });
});
