import assert from 'node:assert/strict';
import { blobStoreContract, inPieces, sha256, someBytes } from '../../test/support/blob-store-contract.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { ToxicBlobStore } from '../../test/support/toxic-blob-store.ts';
import { WHOLE } from '../system/byte-stream.ts';
import { MemoryBlobStore } from './memory-blob-store.ts';
import { MeteredBlobStore, type StoreCall } from './metered-blob-store.ts';

const NEVER = new AbortController().signal;

function metered(): { store: MeteredBlobStore; calls: StoreCall[]; clock: FakeClock } {
  const clock = new FakeClock();
  const calls: StoreCall[] = [];
  const inner = new MemoryBlobStore({ maxBytes: 20_000_000 });
  const store = new MeteredBlobStore(inner, { observe: (call) => calls.push(call) }, clock);
  return { store, calls, clock };
}

describe('MeteredBlobStore', () => {
  blobStoreContract(async () => metered().store);

  it('tells of each call: what, how it went, bytes, blobs, missing', async () => {
    const { store, calls } = metered();
    const bytes = someBytes(1000);
    const digest = sha256(bytes);
    await store.findMissing([digest, digest, sha256(someBytes(3))], NEVER);
    await store.put(digest, inPieces(bytes, 300), NEVER);
    await store.putBytes(digest, bytes, NEVER);
    await store.getBytes(digest, NEVER);
    const facts = calls.map(({ seconds: _, ...rest }) => rest);
    assert.deepEqual(facts, [
      { operation: 'find-missing', outcome: 'ok', bytes: 0, blobs: 3, missing: 2 },
      { operation: 'put', outcome: 'ok', bytes: 1000, blobs: 1, missing: 0 },
      { operation: 'put-bytes', outcome: 'ok', bytes: 1000, blobs: 1, missing: 0 },
      { operation: 'get-bytes', outcome: 'ok', bytes: 1000, blobs: 1, missing: 0 },
    ]);
  });

  it('measures an opened stream to its end', async () => {
    const { store, calls, clock } = metered();
    const bytes = someBytes(1000);
    await store.putBytes(sha256(bytes), bytes, NEVER);
    const stream = await store.open(sha256(bytes), WHOLE, NEVER);
    for await (const chunk of stream) {
      assert.equal(chunk.length, 1000);
      clock.advance(2500);
    }
    assert.deepEqual(calls.slice(1), [
      { operation: 'open', outcome: 'ok', bytes: 1000, blobs: 1, missing: 0, seconds: 2.5 },
    ]);
  });

  it('tells once of a stream its reader left', async () => {
    const { store, calls } = metered();
    const bytes = someBytes(1000);
    await store.putBytes(sha256(bytes), bytes, NEVER);
    const stream = (await store.open(sha256(bytes), { offset: 10 }, NEVER))[Symbol.asyncIterator]();
    await stream.return?.();
    await stream.return?.();
    assert.deepEqual(
      calls.slice(1).map((call) => call.outcome),
      ['stopped'],
    );
  });

  it('tells the kind of a failure, and a miss as missing', async () => {
    const { store, calls } = metered();
    const absent = sha256(someBytes(10));
    await assert.rejects(store.open(absent, WHOLE, NEVER));
    await assert.rejects(store.getBytes(absent, NEVER));
    await assert.rejects(store.putBytes(absent, someBytes(9), NEVER));
    assert.deepEqual(
      calls.map(({ outcome, missing }) => [outcome, missing]),
      [
        ['blob-not-found', 1],
        ['blob-not-found', 1],
        ['digest-mismatch', 0],
      ],
    );
  });

  it('tells of a stream that breaks in its middle', async () => {
    const calls: StoreCall[] = [];
    const memory = new MemoryBlobStore({ maxBytes: 20_000_000 });
    const bytes = someBytes(1000);
    await memory.putBytes(sha256(bytes), bytes, NEVER);
    const pause = (): Promise<void> => Promise.resolve();
    const toxic = new ToxicBlobStore(memory, { seed: 1, faults: ['fail-middle'], pause });
    const store = new MeteredBlobStore(toxic, { observe: (call) => calls.push(call) }, new FakeClock());
    const stream = (await store.open(sha256(bytes), WHOLE, NEVER))[Symbol.asyncIterator]();
    await stream.next();
    await assert.rejects(stream.next());
    assert.deepEqual(
      calls.map(({ outcome, bytes: count }) => [outcome, count]),
      [['unavailable', 1000]],
    );
  });
});
