import assert from 'node:assert/strict';
import { MemoryBlobStore } from '../../src/cas/memory-blob-store.ts';
import { isKind } from '../../src/errors.ts';
import { collect, streamOf, WHOLE } from '../../src/system/byte-stream.ts';
import { blobStoreContract, inPieces, sha256, someBytes } from './blob-store-contract.ts';
import { ALL_FAULTS, type Fault, ToxicBlobStore } from './toxic-blob-store.ts';

const NEVER = new AbortController().signal;
const BYTES = someBytes(100);
const DIGEST = sha256(BYTES);

function toxic(fault: Fault, pause = (): Promise<void> => Promise.resolve()): [ToxicBlobStore, MemoryBlobStore] {
  const inner = new MemoryBlobStore({ maxBytes: 20_000_000 });
  return [new ToxicBlobStore(inner, { seed: 1, faults: [fault], pause }), inner];
}

describe('ToxicBlobStore', () => {
  describe('with delays only', () => {
    blobStoreContract(async () => toxic('delay')[0]);
  });

  it('delays until the test says so', async () => {
    const gate = Promise.withResolvers<void>();
    const [store] = toxic('delay', () => gate.promise);
    let isDone = false;
    const waiting = store.putBytes(DIGEST, BYTES, NEVER).then(() => {
      isDone = true;
    });
    await Promise.resolve();
    assert.equal(isDone, false);
    gate.resolve();
    await waiting;
  });

  it('fails before anything is done, in the middle of it, and after it', async () => {
    for (const [fault, isThere] of [
      ['fail-before', false],
      ['fail-middle', false],
      ['fail-after', true],
    ] as const) {
      const [store, inner] = toxic(fault);
      await assert.rejects(store.put(DIGEST, inPieces(BYTES, 30), NEVER), (error) => isKind(error, 'unavailable'));
      assert.equal((await inner.findMissing([DIGEST], NEVER)).length === 0, isThere);
    }
  });

  it('breaks an opened stream after its first chunk', async () => {
    const [store, inner] = toxic('fail-middle');
    await inner.put(DIGEST, streamOf(BYTES), NEVER);
    const stream = await store.open(DIGEST, WHOLE, NEVER);
    await assert.rejects(collect(stream, 100), (error) => isKind(error, 'unavailable'));
  });

  it('cuts and corrupts what is read, and leaves what is stored alone', async () => {
    for (const fault of ['truncate', 'corrupt'] as const) {
      const [store, inner] = toxic(fault);
      await inner.put(DIGEST, streamOf(Buffer.from(BYTES)), NEVER);
      assert.notDeepEqual(sha256(await store.getBytes(DIGEST, NEVER)), DIGEST);
      assert.notDeepEqual(sha256(await collect(await store.open(DIGEST, WHOLE, NEVER), 100)), DIGEST);
      assert.deepEqual(sha256(await inner.getBytes(DIGEST, NEVER)), DIGEST);
    }
  });

  it('hangs until aborted', async () => {
    const [store] = toxic('hang');
    const abort = new AbortController();
    const calls = [store.findMissing([DIGEST], abort.signal), store.open(DIGEST, WHOLE, abort.signal)];
    abort.abort();
    for (const call of calls) await assert.rejects(call, (error) => isKind(error, 'cancelled'));
  });

  it('does the same for the same seed', async () => {
    const run = async (seed: number): Promise<string[]> => {
      const inner = new MemoryBlobStore({ maxBytes: 1_000_000 });
      const faults = ALL_FAULTS.filter((fault) => fault !== 'hang');
      const store = new ToxicBlobStore(inner, { seed, faults, pause: () => Promise.resolve() });
      await inner.putBytes(DIGEST, BYTES, NEVER);
      const seen: string[] = [];
      for (let n = 0; n < 30; n++) {
        const [result] = await Promise.allSettled([store.getBytes(DIGEST, NEVER)]);
        seen.push(result.status === 'fulfilled' ? sha256(result.value).hash : String(result.reason));
      }
      return seen;
    };
    assert.deepEqual(await run(7), await run(7));
    assert.notDeepEqual(await run(7), await run(8));
  });
});
