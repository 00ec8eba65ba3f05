import assert from 'node:assert/strict';
import { blobStoreContract, inPieces, sha256, someBytes } from '../../test/support/blob-store-contract.ts';
import { ofKind } from '../../test/support/expectations.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { ToxicBlobStore } from '../../test/support/toxic-blob-store.ts';
import { WHOLE } from '../system/byte-stream.ts';
import type { BlobStore } from './blob-store.ts';
import { MemoryBlobStore } from './memory-blob-store.ts';
import { MeteredBlobStore } from './metered-blob-store.ts';
import { type OperationCalls, StoreCalls } from './store-calls.ts';

const NEVER = new AbortController().signal;

interface Metered {
  readonly store: MeteredBlobStore;
  readonly calls: StoreCalls;
  readonly clock: FakeClock;
}

function metered(inner: BlobStore = new MemoryBlobStore({ maxBytes: 20_000_000 })): Metered {
  const clock = new FakeClock();
  const calls = new StoreCalls();
  return { store: new MeteredBlobStore(inner, calls, clock), calls, clock };
}

/** What one operation's calls look like from outside. */
function facts({ outcomes, bytes, seconds }: OperationCalls): unknown {
  return { outcomes: Object.fromEntries(outcomes), bytes, timed: seconds.count };
}

describe('MeteredBlobStore', () => {
  blobStoreContract(async () => metered().store);

  it('counts calls and bytes by operation, and what lookups found', async () => {
    const { store, calls } = metered();
    const bytes = someBytes(1000);
    const digest = sha256(bytes);
    assert.equal((await store.findMissing([digest, digest, sha256(someBytes(3))], NEVER)).length, 2);
    await store.put(digest, inPieces(bytes, 300), NEVER);
    await store.putBytes(digest, bytes, NEVER);
    await store.putBytes(digest, bytes, NEVER);
    assert.deepEqual(await store.getBytes(digest, NEVER), bytes);
    assert.deepEqual(facts(calls.findMissing), { outcomes: { ok: 1 }, bytes: 0, timed: 1 });
    assert.deepEqual(facts(calls.put), { outcomes: { ok: 1 }, bytes: 1000, timed: 1 });
    assert.deepEqual(facts(calls.putBytes), { outcomes: { ok: 2 }, bytes: 2000, timed: 2 });
    assert.deepEqual(facts(calls.getBytes), { outcomes: { ok: 1 }, bytes: 1000, timed: 1 });
    assert.deepEqual(calls.lookups, { present: 1, missing: 2 });
  });

  it('measures an opened stream to its end', async () => {
    const { store, calls, clock } = metered();
    const bytes = someBytes(1000);
    await store.putBytes(sha256(bytes), bytes, NEVER);
    const stream = await store.open(sha256(bytes), WHOLE, NEVER);
    for await (const chunk of stream) {
      assert.equal(chunk.length, 1000);
      assert.equal(calls.open.seconds.count, 0);
      clock.advance(2500);
    }
    assert.deepEqual(facts(calls.open), { outcomes: { ok: 1 }, bytes: 1000, timed: 1 });
    assert.equal(calls.open.seconds.sum, 2.5);
  });

  it('measures a call that waits until it is answered', async () => {
    const answer = Promise.withResolvers<void>();
    const memory = new MemoryBlobStore({ maxBytes: 1000 });
    const { store, calls, clock } = metered(Object.assign(memory, { putBytes: () => answer.promise }));
    const put = store.putBytes(sha256(someBytes(3)), someBytes(3), NEVER);
    clock.advance(4000);
    answer.resolve();
    await put;
    assert.equal(calls.putBytes.seconds.sum, 4);
  });

  it('counts once a stream its reader left', async () => {
    const { store, calls } = metered();
    const bytes = someBytes(1000);
    await store.putBytes(sha256(bytes), bytes, NEVER);
    const stream = (await store.open(sha256(bytes), { offset: 10 }, NEVER))[Symbol.asyncIterator]();
    await stream.return?.();
    await stream.return?.();
    assert.deepEqual(facts(calls.open), { outcomes: { stopped: 1 }, bytes: 0, timed: 1 });
  });

  it('counts failures by kind, and passes each on as it is', async () => {
    const { store, calls } = metered();
    const absent = sha256(someBytes(10));
    const notFound = ofKind('blob-not-found');
    await assert.rejects(store.open(absent, WHOLE, NEVER), notFound);
    await assert.rejects(store.getBytes(absent, NEVER), notFound);
    await assert.rejects(store.putBytes(absent, someBytes(9), NEVER), ofKind('digest-mismatch'));
    await assert.rejects(store.put(absent, inPieces(someBytes(9), 4), NEVER), ofKind('digest-mismatch'));
    const aborted = AbortSignal.abort();
    await assert.rejects(store.findMissing([absent], aborted), ofKind('cancelled'));
    assert.deepEqual(facts(calls.open), { outcomes: { 'blob-not-found': 1 }, bytes: 0, timed: 1 });
    assert.deepEqual(facts(calls.getBytes), { outcomes: { 'blob-not-found': 1 }, bytes: 0, timed: 1 });
    assert.deepEqual(facts(calls.putBytes), { outcomes: { 'digest-mismatch': 1 }, bytes: 9, timed: 1 });
    assert.deepEqual(facts(calls.put), { outcomes: { 'digest-mismatch': 1 }, bytes: 9, timed: 1 });
    assert.deepEqual(facts(calls.findMissing), { outcomes: { cancelled: 1 }, bytes: 0, timed: 1 });
  });

  it('counts a failure that is no error of ours as internal', async () => {
    const memory = new MemoryBlobStore({ maxBytes: 1000 });
    const bug = new Error('a bug');
    const { store, calls } = metered(Object.assign(memory, { getBytes: () => Promise.reject(bug) }));
    await assert.rejects(store.getBytes(sha256(someBytes(3)), NEVER), bug);
    assert.deepEqual(facts(calls.getBytes), { outcomes: { internal: 1 }, bytes: 0, timed: 1 });
  });

  it('counts a stream that breaks in its middle', async () => {
    const memory = new MemoryBlobStore({ maxBytes: 20_000_000 });
    const bytes = someBytes(1000);
    await memory.putBytes(sha256(bytes), bytes, NEVER);
    const pause = (): Promise<void> => Promise.resolve();
    const { store, calls } = metered(new ToxicBlobStore(memory, { seed: 1, faults: ['fail-middle'], pause }));
    const stream = (await store.open(sha256(bytes), WHOLE, NEVER))[Symbol.asyncIterator]();
    await stream.next();
    await assert.rejects(stream.next());
    assert.deepEqual(facts(calls.open), { outcomes: { unavailable: 1 }, bytes: 1000, timed: 1 });
  });
});
