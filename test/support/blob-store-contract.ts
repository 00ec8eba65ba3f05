import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { BlobStore } from '../../src/cas/blob-store.ts';
import { type Digest, emptyDigest, sameDigest } from '../../src/digest/digest.ts';
import { digestOf } from '../../src/digest/hasher.ts';
import { isKind } from '../../src/errors.ts';
import { type ByteStream, collect, streamOf, WHOLE } from '../../src/system/byte-stream.ts';
import { openTemporaryFiles } from './temporary-folder.ts';

/** Sizes around what stores treat differently: inside one chunk, one file, several reads. */
const SMALL = 1000;
const LARGE = 900_000;
const MAX_BYTES = 2_000_000;

const NEVER = new AbortController().signal;

/** Bytes that look random, differ by seed, and need no randomness. */
export function someBytes(sizeBytes: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  let state = seed;
  for (let at = 0; at < sizeBytes; at++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[at] = state >>> 16;
  }
  return bytes;
}

/** SHA-256 digest. */
export function sha256(bytes: Uint8Array): Digest {
  return digestOf('sha256', bytes);
}

/** `bytes` in pieces of at most `pieceBytes`. */
export async function* inPieces(bytes: Uint8Array, pieceBytes: number): ByteStream {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

async function readWhole(store: BlobStore, digest: Digest): Promise<Uint8Array> {
  return collect(await store.open(digest, WHOLE, NEVER), MAX_BYTES);
}

async function isMissing(store: BlobStore, digest: Digest): Promise<boolean> {
  return (await store.findMissing([digest], NEVER)).length === 1;
}

/**
 * The laws of `BlobStore`. Call inside a `describe`.
 * @param open an empty store with room for 20 MB; asked anew for each test.
 */
export function blobStoreContract(open: () => Promise<BlobStore>): void {
  let store: BlobStore;
  beforeEach(async () => {
    store = await open();
  });

  readAfterWrite(() => store);
  verification(() => store);
  emptyBlob(() => store);
  sharing(() => store);
  aborting(() => store);
}

function readAfterWrite(store: () => BlobStore): void {
  for (const sizeBytes of [1, SMALL, LARGE]) {
    it(`gives back ${sizeBytes} bytes that were streamed, by both ways of reading`, async () => {
      const bytes = someBytes(sizeBytes);
      const digest = sha256(bytes);
      await store().put(digest, inPieces(bytes, 70_000), NEVER);
      assert.equal(await isMissing(store(), digest), false);
      assert.deepEqual(Buffer.from(await readWhole(store(), digest)), Buffer.from(bytes));
      assert.deepEqual(Buffer.from(await store().getBytes(digest, NEVER)), Buffer.from(bytes));
    });

    it(`gives back ${sizeBytes} bytes that were put at once`, async () => {
      const bytes = someBytes(sizeBytes, 7);
      const digest = sha256(bytes);
      await store().putBytes(digest, bytes, NEVER);
      assert.deepEqual(Buffer.from(await readWhole(store(), digest)), Buffer.from(bytes));
    });
  }

  it('law: a range over any chunking gives the same bytes, none of the chunks empty', async () => {
    const bytes = someBytes(300_000);
    const digest = sha256(bytes);
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 310_000 }),
        fc.nat(300_000),
        fc.option(fc.nat(310_000)),
        async (piece, offset, limit) => {
          await store().put(digest, inPieces(bytes, piece), NEVER);
          const range = limit === null ? { offset } : { offset, limit };
          const chunks: Uint8Array[] = [];
          for await (const chunk of await store().open(digest, range, NEVER)) chunks.push(chunk);
          assert.ok(chunks.every((chunk) => chunk.length > 0));
          const expected = bytes.subarray(offset, limit === null ? undefined : offset + limit);
          assert.equal(Buffer.compare(Buffer.concat(chunks), expected), 0);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('answers blob-not-found before the first byte', async () => {
    for (const absent of [sha256(someBytes(10)), sha256(someBytes(LARGE))]) {
      await assert.rejects(store().open(absent, WHOLE, NEVER), (error) => isKind(error, 'blob-not-found'));
      await assert.rejects(store().getBytes(absent, NEVER), (error) => isKind(error, 'blob-not-found'));
    }
  });

  it('treats right hash and wrong size as another, absent blob (R-DIG-02)', async () => {
    const bytes = someBytes(SMALL);
    const digest = sha256(bytes);
    await store().putBytes(digest, bytes, NEVER);
    for (const sizeBytes of [0, SMALL - 1, SMALL + 1]) {
      const other = { ...digest, sizeBytes };
      assert.equal(await isMissing(store(), other), true);
      await assert.rejects(store().getBytes(other, NEVER), (error) => isKind(error, 'blob-not-found'));
    }
  });

  it('lists what is absent in order, each once, whatever is asked twice (R-CAS-02)', async () => {
    const here = sha256(someBytes(5, 1));
    const [b, c] = [sha256(someBytes(5, 2)), sha256(someBytes(5, 3))];
    await store().putBytes(here, someBytes(5, 1), NEVER);
    const missing = await store().findMissing([c, here, b, c, here, emptyDigest('sha256'), b], NEVER);
    assert.deepEqual(missing, [c, b]);
    assert.deepEqual(await store().findMissing([], NEVER), []);
  });
}

function verification(store: () => BlobStore): void {
  for (const sizeBytes of [SMALL, LARGE]) {
    const bytes = someBytes(sizeBytes);
    const wrong: readonly (readonly [string, Uint8Array])[] = [
      ['another hash', someBytes(sizeBytes, 2)],
      ['a byte too few', bytes.subarray(1)],
      ['a byte too many', Buffer.concat([bytes, Buffer.of(1)])],
      ['no bytes', new Uint8Array()],
    ];
    for (const [what, sent] of wrong) {
      it(`refuses ${what} for ${sizeBytes} bytes and keeps nothing (R-CAS-09)`, async () => {
        const digest = sha256(bytes);
        const before = openTemporaryFiles();
        await assert.rejects(store().putBytes(digest, sent, NEVER), (error) => isKind(error, 'digest-mismatch'));
        await assert.rejects(store().put(digest, inPieces(sent, 100_000), NEVER), (error) =>
          isKind(error, 'digest-mismatch'),
        );
        assert.equal(await isMissing(store(), digest), true);
        assert.equal(openTemporaryFiles(), before);
        await store().putBytes(digest, bytes, NEVER);
        assert.equal(await isMissing(store(), digest), false);
      });
    }

    it(`passes on what a stream of ${sizeBytes} bytes throws in its middle and keeps nothing`, async () => {
      const before = openTemporaryFiles();
      const broken = async function* (): ByteStream {
        yield bytes.subarray(0, sizeBytes - 1);
        throw new Error('the cable was pulled');
      };
      await assert.rejects(store().put(sha256(bytes), broken(), NEVER), /cable/);
      assert.equal(await isMissing(store(), sha256(bytes)), true);
      assert.equal(openTemporaryFiles(), before);
    });
  }
}

function emptyBlob(store: () => BlobStore): void {
  it('always has the empty blob, and takes it as a no-op (R-CAS-01)', async () => {
    const empty = emptyDigest('sha256');
    assert.equal(await isMissing(store(), empty), false);
    assert.equal((await store().getBytes(empty, NEVER)).length, 0);
    assert.equal((await readWhole(store(), empty)).length, 0);
    await store().putBytes(empty, new Uint8Array(), NEVER);
    await store().put(empty, streamOf(), NEVER);
  });
}

function sharing(store: () => BlobStore): void {
  for (const sizeBytes of [SMALL, LARGE]) {
    it(`lets many put the same ${sizeBytes} bytes at once, by any way (R-CAS-20)`, async () => {
      const bytes = someBytes(sizeBytes);
      const digest = sha256(bytes);
      const puts = Array.from({ length: 8 }, (_, at) =>
        at % 2 === 0
          ? store().put(digest, inPieces(bytes, 10_000 * (at + 1)), NEVER)
          : store().putBytes(digest, bytes, NEVER),
      );
      await Promise.all(puts);
      assert.deepEqual(Buffer.from(await readWhole(store(), digest)), Buffer.from(bytes));
    });
  }

  it('lets one uploader fail without harm to another of the same blob', async () => {
    const bytes = someBytes(LARGE);
    const wrong = someBytes(LARGE, 9);
    const results = await Promise.allSettled([
      store().put(sha256(bytes), inPieces(wrong, 50_000), NEVER),
      store().put(sha256(bytes), inPieces(bytes, 50_000), NEVER),
    ]);
    assert.equal(results[1].status, 'fulfilled');
    assert.equal(sameDigest(sha256(await readWhole(store(), sha256(bytes))), sha256(bytes)), true);
  });

  it('releases a source it does not read because the blob exists', async () => {
    const bytes = someBytes(SMALL);
    await store().putBytes(sha256(bytes), bytes, NEVER);
    let isReleased = false;
    const source = {
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.reject(new Error('nobody should read')),
        return: () => {
          isReleased = true;
          return Promise.resolve({ done: true as const, value: undefined });
        },
      }),
    };
    await store().put(sha256(bytes), source, NEVER);
    assert.equal(isReleased, true);
  });
}

function aborting(store: () => BlobStore): void {
  it('refuses every call whose signal is aborted already', async () => {
    const bytes = someBytes(SMALL);
    const digest = sha256(bytes);
    const signal = AbortSignal.abort();
    const calls = [
      store().findMissing([digest], signal),
      store().open(digest, WHOLE, signal),
      store().put(digest, streamOf(bytes), signal),
      store().getBytes(digest, signal),
      store().putBytes(digest, bytes, signal),
    ];
    for (const result of await Promise.allSettled(calls)) assert.equal(result.status, 'rejected');
    assert.equal(await isMissing(store(), digest), true);
  });

  for (const sizeBytes of [SMALL, LARGE]) {
    it(`gives up an upload of ${sizeBytes} bytes that hangs when the signal aborts, and leaves nothing`, async () => {
      const before = openTemporaryFiles();
      const bytes = someBytes(sizeBytes);
      const abort = new AbortController();
      const hanging = async function* (): ByteStream {
        yield bytes.subarray(0, sizeBytes - 1);
        abort.abort();
        await new Promise(() => undefined);
      };
      await assert.rejects(store().put(sha256(bytes), hanging(), abort.signal), (error) => isKind(error, 'cancelled'));
      assert.equal(await isMissing(store(), sha256(bytes)), true);
      assert.equal(openTemporaryFiles(), before);
    });
  }

  it('releases opened streams: aborted unread, aborted half read, left half read, left unread, read to the end', async () => {
    const before = openTemporaryFiles();
    const bytes = someBytes(LARGE);
    const digest = sha256(bytes);
    await store().putBytes(digest, bytes, NEVER);
    const abort = new AbortController();
    await store().open(digest, WHOLE, abort.signal);
    const half = (await store().open(digest, WHOLE, abort.signal))[Symbol.asyncIterator]();
    await half.next();
    const pending = (await store().open(digest, WHOLE, abort.signal))[Symbol.asyncIterator]().next();
    abort.abort();
    await Promise.allSettled([pending]);
    const left = (await store().open(digest, WHOLE, NEVER))[Symbol.asyncIterator]();
    await left.next();
    await left.return?.();
    await (await store().open(digest, WHOLE, NEVER))[Symbol.asyncIterator]().return?.();
    await readWhole(store(), digest);
    assert.equal(openTemporaryFiles(), before);
  });
}
