import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { MemoryWorkerStore } from '../../test/support/memory-worker-store.ts';
import { digestToWire } from '../digest/digest.ts';
import { isKind } from '../errors.ts';
import { DigestFunction_Value, Directory } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { NextAction } from '../gen/gantry/v1/worker.ts';
import { isWellFormed } from '../platform/locality.ts';
import { CacheReporter } from './inputs/cache-report.ts';
import { Demand } from './inputs/demand.ts';
import { DirectoryCache } from './inputs/directory-cache.ts';
import { FileCache } from './inputs/file-cache.ts';
import { Prefetcher } from './inputs/prefetcher.ts';
import { WORKER_DEFAULTS } from './start-worker.ts';
import { WorkerNode } from './worker-node.ts';

describe('WorkerNode', () => {
  let folder: string;
  let store: MemoryWorkerStore;
  let files: FileCache;
  let prefetcher: Prefetcher;
  let instances: string[];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'worker-node-'));
    store = new MemoryWorkerStore();
    instances = [];
    files = new FileCache(folder, { maxBytes: 1e6, maxEntries: 100 });
    const directories = new DirectoryCache({ maxBytes: 1e6, maxEntries: 100 });
    const storeFor = ({ instance }: { readonly instance: string }): MemoryWorkerStore => {
      instances.push(instance);
      return store;
    };
    prefetcher = new Prefetcher({ directories, files }, new Demand(), storeFor, {
      maxTransfers: 1,
      maxBytes: 1e6,
      inputs: WORKER_DEFAULTS.inputs,
    });
  });
  afterEach(async () => {
    await prefetcher.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const make = (): WorkerNode => new WorkerNode(new CacheReporter(files, new FakeClock()), prefetcher);

  function next(): NextAction {
    const digest = store.seed('input');
    const root = Directory.fromPartial({ files: [{ name: 'in', digest: digestToWire(digest) }] });
    return NextAction.fromPartial({
      actionDigest: digestToWire(digest),
      digestFunction: DigestFunction_Value.SHA256,
      instanceName: 'main/sub',
      inputRootDigest: digestToWire(store.seed(Directory.encode(root).finish())),
    });
  }

  it('fetches what is expected, under its instance name', async () => {
    make().expect(next());
    while (files.entries === 0) await nextTurn();
    assert.deepEqual(instances, ['main/sub']);
  });

  it('fetches nothing where that is not wanted', async () => {
    new WorkerNode(new CacheReporter(files, new FakeClock()), undefined).expect(next());
    await nextTurn();
    assert.equal(prefetcher.counters.prefetches, 0);
  });

  it('refuses an expectation that makes no sense', () => {
    for (const wrong of [{ inputRootDigest: undefined }, { actionDigest: undefined }, { instanceName: '/blobs/' }]) {
      assert.throws(
        () => make().expect({ ...next(), ...wrong }),
        (error) => isKind(error, 'invalid-argument'),
      );
    }
  });

  it('tells what is cached until a call is lost', () => {
    const node = make();
    const cached = node.cached();
    assert.ok(cached && isWellFormed(cached.bits, cached.hashes));
    assert.equal(node.cached(), undefined);
    node.disconnected();
    assert.deepEqual(node.cached(), cached);
  });
});
