import assert from 'node:assert/strict';
import { PART_BYTES } from '../../src/cas/s3/s3-multipart.ts';
import { inPieces, someBytes } from './blob-store-contract.ts';
import { noAbort, ofKind } from './expectations.ts';
import { FakeClock } from './fake-clock.ts';
import { MemoryBucket, MemoryObjectStore, type ObjectStoreFault } from './memory-object-store.ts';
import { itemsOf, objectStoreContract } from './object-store-contract.ts';

const X = [Buffer.from('x')];

function failing(...faults: (ObjectStoreFault | undefined)[]): MemoryObjectStore {
  return new MemoryObjectStore(new FakeClock(), { faults: () => faults.shift() });
}

describe('MemoryObjectStore', () => {
  describe('keeps the laws', () => {
    objectStoreContract(async () => {
      const clock = new FakeClock();
      const store = new MemoryObjectStore(clock);
      return { store, beginUpload: async (key) => store.bucket.beginUpload(key, clock.nowMs()) };
    });
  });

  it('does nothing when it fails before', async () => {
    const store = failing('fail-before');
    await assert.rejects(store.put('k', X, noAbort()), ofKind('unavailable'));
    assert.equal(store.bucket.objects.size, 0);
  });

  it('has done it when it fails after', async () => {
    const store = failing('fail-after');
    await assert.rejects(store.put('k', X, noAbort()), ofKind('unavailable'));
    assert.deepEqual([...store.bucket.objects.keys()], ['k']);
  });

  it('deletes half of the keys when it fails in the middle', async () => {
    const store = failing(undefined, undefined, 'fail-middle');
    for (const key of ['a', 'b']) await store.put(key, X, noAbort());
    await assert.rejects(store.delete(['a', 'b'], noAbort()), ofKind('unavailable'));
    assert.deepEqual([...store.bucket.objects.keys()], ['b']);
  });

  it('leaves an unfinished upload when a long stream fails in the middle', async () => {
    const store = failing('fail-middle');
    const bytes = inPieces(someBytes(PART_BYTES + 1), PART_BYTES);
    await assert.rejects(store.putStream('k', bytes, PART_BYTES + 1, noAbort()), ofKind('unavailable'));
    assert.equal(store.bucket.objects.size, 0);
    assert.deepEqual(
      [...store.bucket.uploads.values()].map(({ key }) => key),
      ['k'],
    );
  });

  it('can fail at a later page of a listing', async () => {
    const bucket = new MemoryBucket();
    for (const key of ['a', 'b', 'c']) bucket.set(key, Buffer.from(key), 1);
    const faults: (ObjectStoreFault | undefined)[] = [undefined, 'fail-before'];
    const store = new MemoryObjectStore(new FakeClock(), { bucket, pageKeys: 2, faults: () => faults.shift() });
    const pages: number[] = [];
    await assert.rejects(async () => {
      for await (const page of store.list('', undefined, noAbort())) pages.push(page.length);
    }, ofKind('unavailable'));
    assert.deepEqual(pages, [2]);
  });

  it('says that it has no room, and does nothing', async () => {
    const store = failing('quota');
    await assert.rejects(store.put('k', X, noAbort()), ofKind('quota-exceeded'));
    assert.equal(store.bucket.objects.size, 0);
  });

  it('hangs until it is told to stop', async () => {
    const store = failing('hang');
    const controller = new AbortController();
    const putting = assert.rejects(store.put('k', X, controller.signal), ofKind('cancelled'));
    controller.abort();
    await putting;
    assert.equal(store.bucket.objects.size, 0);
  });

  it('takes as long as it is told, and does its work half-way', async () => {
    const clock = new FakeClock();
    const store = new MemoryObjectStore(clock, { latencyMs: () => 100 });
    const putting = store.put('k', X, noAbort());
    await Promise.resolve();
    assert.equal(store.bucket.objects.size, 0);
    clock.advance(50);
    await new Promise(setImmediate);
    assert.equal(store.bucket.objects.size, 1);
    clock.advance(50);
    await putting;
    assert.equal(clock.armed, 0);
  });

  it('has done what the caller did not wait for', async () => {
    const clock = new FakeClock();
    const store = new MemoryObjectStore(clock, { latencyMs: () => 100 });
    const controller = new AbortController();
    const putting = assert.rejects(store.put('k', X, controller.signal), ofKind('cancelled'));
    await new Promise(setImmediate);
    clock.advance(50);
    await new Promise(setImmediate);
    controller.abort();
    await putting;
    assert.equal(store.bucket.objects.size, 1);
    assert.equal(clock.armed, 0);
  });

  it('is one of several stores over a bucket', async () => {
    const bucket = new MemoryBucket();
    const [one, other] = [new FakeClock(), new FakeClock()].map((clock) => new MemoryObjectStore(clock, { bucket }));
    await one?.put('k', X, noAbort());
    assert.deepEqual(await other?.get('k', 1, noAbort()), new Uint8Array(X[0] ?? []));
  });

  it('counts requests as they are paid for', async () => {
    const store = new MemoryObjectStore(new FakeClock(), { pageKeys: 2 });
    for (const key of ['a', 'b', 'c']) await store.put(key, X, noAbort());
    await itemsOf(store.list('', undefined, noAbort()));
    const long = 2 * PART_BYTES + 1;
    await store.putStream('d', inPieces(someBytes(long), PART_BYTES), long, noAbort());
    await store.get('none', 1, noAbort());
    const counted = ['put', 'list', 'begin-upload', 'put-part', 'complete-upload', 'get'] as const;
    assert.deepEqual(
      counted.map((operation) => store.counts.of(operation).requests),
      [3, 2, 1, 3, 1, 1],
    );
    assert.equal(store.counts.of('put-part').sentBytes, long);
    assert.equal(store.counts.total, 11);
  });
});
