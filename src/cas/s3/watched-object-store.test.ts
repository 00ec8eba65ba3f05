import assert from 'node:assert/strict';
import { noAbort } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import {
  MemoryObjectStore,
  type ObjectStoreCall,
  type ObjectStoreFault,
} from '../../../test/support/memory-object-store.ts';
import { objectStoreContract } from '../../../test/support/object-store-contract.ts';
import { ReapiError } from '../../errors.ts';
import { streamOf } from '../../system/byte-stream.ts';
import type { ObjectStore } from './object-store.ts';
import { S3Health } from './s3-health.ts';
import { WatchedObjectStore } from './watched-object-store.ts';

const signal = noAbort();
const UPLOAD = { key: 'a', id: 'none', startedMs: 0 };

function world() {
  const clock = new FakeClock();
  let fault: ObjectStoreFault | undefined;
  const inner = new MemoryObjectStore(clock, { faults: () => fault, pageKeys: 2 });
  const health = new S3Health(clock);
  const fail = (): void => {
    fault = 'fail-before';
  };
  return { inner, health, store: new WatchedObjectStore(inner, health), fail };
}

async function all<T>(pages: AsyncIterable<readonly T[]>): Promise<T[]> {
  const found: T[] = [];
  for await (const page of pages) found.push(...page);
  return found;
}

const CALLS: Readonly<Record<ObjectStoreCall, (store: ObjectStore) => Promise<unknown>>> = {
  put: (store) => store.put('b', [Buffer.from('x')], signal),
  putStream: (store) => store.putStream('b', streamOf(Buffer.from('xy')), 2, signal),
  get: (store) => store.get('a', 10, signal),
  getRange: (store) => store.getRange('a', 1, 2, signal),
  list: (store) => all(store.list('', undefined, signal)),
  copy: (store) => store.copy('a', 'c', 3, signal),
  delete: (store) => store.delete(['a'], signal),
  unfinishedUploads: (store) => all(store.unfinishedUploads(signal)),
  dropUpload: (store) => store.dropUpload(UPLOAD, signal),
};

describe('WatchedObjectStore', () => {
  objectStoreContract(async () => {
    const { inner, store } = world();
    return { store, beginUpload: async (key) => inner.bucket.beginUpload(key, 1) };
  });

  for (const [name, call] of Object.entries(CALLS)) {
    it(`tells how ${name} ended`, async () => {
      const { inner, health, store, fail } = world();
      await inner.put('a', [Buffer.from('abc')], signal);
      inner.bucket.beginUpload('u', 0);
      health.failed(new Error('before'));
      await call(store);
      assert.equal(health.reason, '');
      fail();
      let message = '';
      await assert.rejects(call(store), (error) => {
        message = error instanceof Error ? error.message : '';
        return true;
      });
      assert.notEqual(message, '');
      assert.equal(health.reason, `: ${message}`);
    });
  }

  it('takes it for an answer that there is no such object', async () => {
    const { health, store } = world();
    health.failed(new Error('before'));
    await assert.rejects(store.getRange('a', 0, 1, signal));
    assert.equal(health.reason, '');
  });

  for (const kind of ['unavailable', 'quota-exceeded'] as const) {
    it(`takes ${kind} for a failure`, async () => {
      const { inner, health, store } = world();
      inner.delete = () => Promise.reject(new ReapiError(kind, 'no'));
      await assert.rejects(store.delete(['a'], signal));
      assert.equal(health.reason, ': no');
    });
  }

  it('learns nothing from a call that was cancelled', async () => {
    const { health, store } = world();
    health.failed(new Error('before'));
    await assert.rejects(store.get('a', 10, AbortSignal.abort()));
    assert.equal(health.reason, ': before');
  });
});
