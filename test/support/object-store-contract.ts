import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { ObjectInfo, ObjectStore, UnfinishedUpload } from '../../src/cas/s3/object-store.ts';
import { PART_BYTES } from '../../src/cas/s3/s3-multipart.ts';
import { BugError } from '../../src/errors.ts';
import type { ByteStream } from '../../src/system/byte-stream.ts';
import { inPieces, someBytes } from './blob-store-contract.ts';
import { noAbort, ofKind } from './expectations.ts';

/** What the contract needs of an implementation, for each test anew. */
export interface ObjectStoreUnderTest {
  /** Empty. */
  readonly store: ObjectStore;
  /** Begins an upload in parts and leaves it. @returns its id. */
  readonly beginUpload: (key: string) => Promise<string>;
}

const MAX_BYTES = 2 ** 26;

/** More than any server puts on a page, or takes in a request to delete. */
const MANY = 1_005;

/**
 * The laws of `ObjectStore`. Call inside a `describe`. Nothing is promised of a key that is the beginning of another one up to a slash:
 * MinIO does not list what is below it.
 */
export function objectStoreContract(open: () => Promise<ObjectStoreUnderTest>): void {
  let world: ObjectStoreUnderTest;
  beforeEach(async () => {
    world = await open();
  });
  const store = () => world.store;

  wholeObjects(store);
  ranges(store);
  streams(store);
  listings(store);
  copies(store);
  deletions(store);
  uploads(() => world);
  aborting(store);
}

function wholeObjects(store: () => ObjectStore): void {
  it('gives back what was put, joined', async () => {
    await store().put('a/b', [Buffer.from('one '), Buffer.alloc(0), Buffer.from('two')], noAbort());
    assert.equal(await text(store(), 'a/b'), 'one two');
  });

  it('replaces an object', async () => {
    await store().put('k', [Buffer.from('a longer one')], noAbort());
    await store().put('k', [Buffer.from('short')], noAbort());
    assert.equal(await text(store(), 'k'), 'short');
  });

  it('keeps an empty object', async () => {
    await store().put('empty', [], noAbort());
    assert.equal(await text(store(), 'empty'), '');
  });

  it('says that an object is not there', async () => {
    await store().put('k1', [Buffer.from('x')], noAbort());
    assert.equal(await store().get('k', 10, noAbort()), undefined);
  });

  it('refuses to read an object longer than the caller bears', async () => {
    await store().put('k', [Buffer.alloc(11)], noAbort());
    assert.equal((await store().get('k', 11, noAbort()))?.length, 11);
    await assert.rejects(store().get('k', 10, noAbort()), ofKind('too-large'));
  });

  it('takes any key', async () => {
    for (const key of ['a b+c%20', 'é/ü', '!$&(),;=@:', "it's"]) {
      await store().put(key, [Buffer.from(key)], noAbort());
      await store().copy(key, `${key}2`, key.length, noAbort());
      assert.equal(await text(store(), key), key);
      assert.equal(await text(store(), `${key}2`), key);
      await store().delete([key], noAbort());
      assert.deepEqual(keysOf(await listed(store(), key)), [`${key}2`]);
    }
  });
}

function ranges(store: () => ObjectStore): void {
  it('law: a range is those bytes of the object', async () => {
    const bytes = someBytes(100_000);
    await store().put('k', [bytes], noAbort());
    await fc.assert(
      fc.asyncProperty(fc.nat(99_999), fc.integer({ min: 1, max: 100_000 }), async (offset, length) => {
        const lengthBytes = Math.min(length, bytes.length - offset);
        const range = await store().getRange('k', offset, lengthBytes, noAbort());
        assert.equal(Buffer.compare(range, bytes.subarray(offset, offset + lengthBytes)), 0);
      }),
      { numRuns: 30 },
    );
  });

  it('reports a range of an object that is not there', async () => {
    await assert.rejects(store().getRange('k', 0, 1, noAbort()), ofKind('not-found'));
  });

  it('reports an object that ends before or within the range', async () => {
    await store().put('k', [Buffer.alloc(10)], noAbort());
    await assert.rejects(store().getRange('k', 10, 1, noAbort()), ofKind('data-loss'));
    await assert.rejects(store().getRange('k', 5, 6, noAbort()), ofKind('data-loss'));
  });
}

function streams(store: () => ObjectStore): void {
  for (const sizeBytes of [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES + 7]) {
    it(`stores a stream of ${sizeBytes} bytes`, async () => {
      const bytes = someBytes(sizeBytes, 3);
      await store().putStream('k', inPieces(bytes, 1_000_003), sizeBytes, noAbort());
      const stored = await store().get('k', MAX_BYTES, noAbort());
      assert.equal(Buffer.compare(stored ?? Buffer.from('absent'), bytes), 0);
      assert.deepEqual(await unfinished(store()), []);
    });
  }

  for (const sizeBytes of [1_000, 2 * PART_BYTES]) {
    it(`leaves nothing of ${sizeBytes} bytes whose source fails, and throws what the source threw`, async () => {
      const failure = new Error('the source failed');
      const source = brokenAfter(someBytes(sizeBytes - 1), failure);
      await assert.rejects(store().putStream('k', source, sizeBytes, noAbort()), failure);
      await assertNothing(store());
    });

    it(`leaves nothing of a stream that is not the ${sizeBytes} bytes it was said to be`, async () => {
      for (const actualBytes of [0, sizeBytes - 1, sizeBytes + 1]) {
        const bytes = inPieces(someBytes(actualBytes), 1_000_000);
        await assert.rejects(store().putStream('k', bytes, sizeBytes, noAbort()), BugError);
        await assertNothing(store());
      }
    });

    it(`ends a stream of ${sizeBytes} bytes that stands still when aborted, and leaves nothing`, async () => {
      const controller = new AbortController();
      const { promise: standsStill, resolve: stalled } = Promise.withResolvers<void>();
      const source = stallingAfter(someBytes(sizeBytes - 1), stalled);
      const putting = assert.rejects(store().putStream('k', source, sizeBytes, controller.signal), ofKind('cancelled'));
      await standsStill;
      controller.abort();
      await putting;
      await assertNothing(store());
    });
  }
}

function listings(store: () => ObjectStore): void {
  it('lists by prefix in the order of keys, also what was replaced and not what was deleted', async () => {
    for (const key of ['p/b', 'p/ab/z', 'p/a', 'q/x', 'p0', 'p/c', 'p/é', 'p/B'])
      await store().put(key, [Buffer.from(key)], noAbort());
    await store().put('p/b', [Buffer.from('longer than before')], noAbort());
    await store().delete(['p/c'], noAbort());
    const objects = await listed(store(), 'p/');
    assert.deepEqual(keysOf(objects), ['p/B', 'p/a', 'p/ab/z', 'p/b', 'p/é']);
    assert.equal(objects[3]?.sizeBytes, 18);
    assert.deepEqual(keysOf(await listed(store(), '')).length, 7);
    assert.deepEqual(await listed(store(), 'none/'), []);
  });

  it('lists what comes after a key, whether that is there or not', async () => {
    for (const key of ['p/1', 'p/3', 'p/5']) await store().put(key, [Buffer.from(key)], noAbort());
    assert.deepEqual(keysOf(await listed(store(), 'p/', 'p/1')), ['p/3', 'p/5']);
    assert.deepEqual(keysOf(await listed(store(), 'p/', 'p/2')), ['p/3', 'p/5']);
    assert.deepEqual(keysOf(await listed(store(), 'p/', 'p/5')), []);
    assert.deepEqual(keysOf(await listed(store(), 'p/', 'a')), ['p/1', 'p/3', 'p/5']);
  });

  it('shows by the ETag that an object was replaced, and by the time when', async () => {
    await store().put('k', [Buffer.from('first')], noAbort());
    const [before] = await listed(store(), 'k');
    await store().put('k', [Buffer.from('other')], noAbort());
    const [after] = await listed(store(), 'k');
    assert.notEqual(after?.etag, before?.etag);
    assert.equal((await listed(store(), 'k'))[0]?.etag, after?.etag);
    assert.ok((before?.modifiedMs ?? 0) > 0);
    assert.ok((after?.modifiedMs ?? 0) >= (before?.modifiedMs ?? 0));
  });

  it('lists and deletes more objects than fit on a page or into a request', async () => {
    const keys = Array.from({ length: MANY }, (_, index) => `many/${String(index).padStart(5, '0')}`);
    for (let at = 0; at < keys.length; at += 50) {
      await Promise.all(keys.slice(at, at + 50).map((key) => store().put(key, [Buffer.from('x')], noAbort())));
    }
    assert.deepEqual(keysOf(await listed(store(), 'many/')), keys);
    assert.deepEqual(keysOf(await listed(store(), 'many/', keys[2])), keys.slice(3));
    await store().delete(keys.slice(1), noAbort());
    assert.deepEqual(keysOf(await listed(store(), 'many/')), keys.slice(0, 1));
  });
}

function copies(store: () => ObjectStore): void {
  it('copies an object over another and leaves the source', async () => {
    await store().put('from', [Buffer.from('bytes')], noAbort());
    await store().put('to', [Buffer.from('something else')], noAbort());
    await store().copy('from', 'to', 5, noAbort());
    assert.equal(await text(store(), 'to'), 'bytes');
    assert.equal(await text(store(), 'from'), 'bytes');
  });

  it('reports that there is nothing to copy', async () => {
    await assert.rejects(store().copy('from', 'to', 5, noAbort()), ofKind('not-found'));
    assert.equal(await store().get('to', 10, noAbort()), undefined);
  });
}

function deletions(store: () => ObjectStore): void {
  it('deletes what is there, and is content with what is not', async () => {
    for (const key of ['a', 'b', 'c']) await store().put(key, [Buffer.from(key)], noAbort());
    await store().delete(['a', 'none', 'c'], noAbort());
    await store().delete(['a'], noAbort());
    await store().delete([], noAbort());
    assert.deepEqual(keysOf(await listed(store(), '')), ['b']);
    assert.equal(await store().get('a', 10, noAbort()), undefined);
  });
}

function uploads(world: () => ObjectStoreUnderTest): void {
  it('finds uploads that nobody finished, and drops them', async () => {
    const { store, beginUpload } = world();
    const ids = [await beginUpload('packs/x'), await beginUpload('packs/x'), await beginUpload('packs/y')];
    const found = await unfinished(store);
    assert.deepEqual(found.map(({ id }) => id).sort(), ids.sort());
    assert.deepEqual(found.map(({ key }) => key).sort(), ['packs/x', 'packs/x', 'packs/y']);
    assert.ok(found.every(({ startedMs }) => startedMs > 0));
    for (const upload of found) await store.dropUpload(upload, noAbort());
    for (const upload of found) await store.dropUpload(upload, noAbort());
    assert.deepEqual(await unfinished(store), []);
    assert.deepEqual(await listed(store, ''), []);
  });
}

function aborting(store: () => ObjectStore): void {
  it('does nothing for those who have left', async () => {
    const signal = AbortSignal.abort();
    await store().put('k', [Buffer.from('x')], noAbort());
    const calls: Record<string, () => Promise<unknown>> = {
      put: () => store().put('new', [Buffer.from('x')], signal),
      putStream: () => store().putStream('new', inPieces(someBytes(10), 5), 10, signal),
      get: () => store().get('k', 10, signal),
      getRange: () => store().getRange('k', 0, 1, signal),
      list: () => itemsOf(store().list('', undefined, signal)),
      copy: () => store().copy('k', 'new', 1, signal),
      delete: () => store().delete(['k'], signal),
      unfinishedUploads: () => itemsOf(store().unfinishedUploads(signal)),
      dropUpload: () => store().dropUpload({ key: 'k', id: 'x', startedMs: 0 }, signal),
    };
    for (const [name, call] of Object.entries(calls)) await assert.rejects(call, ofKind('cancelled'), name);
    assert.deepEqual(keysOf(await listed(store(), '')), ['k']);
  });
}

/** What is on all pages. */
export async function itemsOf<T>(pages: AsyncIterable<readonly T[]>): Promise<readonly T[]> {
  const items: T[] = [];
  for await (const page of pages) items.push(...page);
  return items;
}

async function text(store: ObjectStore, key: string): Promise<string | undefined> {
  const bytes = await store.get(key, MAX_BYTES, noAbort());
  return bytes === undefined ? undefined : Buffer.from(bytes).toString();
}

async function listed(store: ObjectStore, prefix: string, after?: string): Promise<readonly ObjectInfo[]> {
  return await itemsOf(store.list(prefix, after, noAbort()));
}

async function unfinished(store: ObjectStore): Promise<readonly UnfinishedUpload[]> {
  return await itemsOf(store.unfinishedUploads(noAbort()));
}

function keysOf(objects: readonly ObjectInfo[]): readonly string[] {
  return objects.map(({ key }) => key);
}

async function assertNothing(store: ObjectStore): Promise<void> {
  assert.deepEqual(await listed(store, ''), []);
  assert.deepEqual(await unfinished(store), []);
}

async function* brokenAfter(bytes: Uint8Array, failure: Error): ByteStream {
  yield* inPieces(bytes, 1_000_000);
  throw failure;
}

async function* stallingAfter(bytes: Uint8Array, stalled: () => void): ByteStream {
  yield* inPieces(bytes, 1_000_000);
  stalled();
  await new Promise(() => undefined);
}
