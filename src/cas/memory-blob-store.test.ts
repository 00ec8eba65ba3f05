import assert from 'node:assert/strict';
import fc from 'fast-check';
import { blobStoreContract, sha256, someBytes } from '../../test/support/blob-store-contract.ts';
import { isKind } from '../errors.ts';
import { streamOf } from '../system/byte-stream.ts';
import { MemoryBlobStore } from './memory-blob-store.ts';

const NEVER = new AbortController().signal;

describe('MemoryBlobStore', () => {
  blobStoreContract(async () => new MemoryBlobStore({ maxBytes: 20_000_000 }));

  it('refuses a blob larger than the store before reading a byte of it (R-CAS-13)', async () => {
    const store = new MemoryBlobStore({ maxBytes: 1000 });
    const bytes = someBytes(1001);
    const unread = streamOf(bytes);
    await assert.rejects(store.put(sha256(bytes), unread, NEVER), (error) => isKind(error, 'too-large'));
    await assert.rejects(store.putBytes(sha256(bytes), bytes, NEVER), (error) => isKind(error, 'too-large'));
    assert.equal((await unread[Symbol.asyncIterator]().next()).done, false);
  });

  it('forgets the least recently used blob first, and finding counts as use (R-CAS-19)', async () => {
    const store = new MemoryBlobStore({ maxBytes: 3 * (100 + 256) });
    const blobs = [1, 2, 3, 4].map((seed) => someBytes(100, seed));
    const [a, b, c, d] = blobs.map(sha256);
    assert.ok(a && b && c && d);
    for (const bytes of blobs.slice(0, 3)) await store.putBytes(sha256(bytes), bytes, NEVER);
    await store.findMissing([a], NEVER);
    await store.putBytes(d, someBytes(100, 4), NEVER);
    assert.deepEqual(await store.findMissing([a, b, c, d], NEVER), [b]);
  });

  it('does not keep a whole message alive for a small piece of it', async () => {
    const store = new MemoryBlobStore({ maxBytes: 100_000 });
    const message = Buffer.from(someBytes(50_000));
    const piece = message.subarray(100, 110);
    await store.putBytes(sha256(piece), piece, NEVER);
    assert.ok((await store.getBytes(sha256(piece), NEVER)).buffer.byteLength < 1000);
  });

  it('law: never holds more than its bound', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 900 }), { maxLength: 40 }), async (sizes) => {
        const store = new MemoryBlobStore({ maxBytes: 3000 });
        for (const [seed, size] of sizes.entries()) {
          const bytes = someBytes(size, seed);
          await store.putBytes(sha256(bytes), bytes, NEVER);
          assert.ok(store.bytes <= 3000);
          assert.deepEqual(await store.findMissing([sha256(bytes)], NEVER), []);
        }
      }),
    );
  });
});
