import assert from 'node:assert/strict';
import { inPieces, sha256, someBytes } from '../../../test/support/blob-store-contract.ts';
import { deferred, turns, until } from '../../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { LEASE_OVER_SECONDS, SegmentWorld } from '../../../test/support/segment-world.ts';
import { type Digest, emptyDigest } from '../../digest/digest.ts';
import { isKind } from '../../errors.ts';
import { type ByteStream, collect, WHOLE } from '../../system/byte-stream.ts';
import { recordBytes, SEGMENT_HEADER_BYTES } from './log/format.ts';

const MIB = 1024 * 1024;
/** Blobs up to 2 KiB are records in a world. */
const LARGE_BYTES = 5000;

describe('SegmentBlobStore', () => {
  let world: SegmentWorld;

  beforeEach(async () => {
    world = await SegmentWorld.open();
  });

  const get = (digest: Digest): Promise<Uint8Array> => world.blobs.getBytes(digest, noAbort());
  const stream = async (digest: Digest): Promise<Uint8Array> =>
    collect(await world.blobs.open(digest, WHOLE, noAbort()), MIB);
  const filesThere = (): number => world.parts.files.stats().files;
  const assertThere = async (digest: Digest): Promise<void> => {
    assert.equal(await world.missing([digest]), 0);
    assert.deepEqual(sha256(await get(digest)), digest);
    assert.deepEqual(sha256(await stream(digest)), digest);
  };
  /** A stream whose bytes do not come before the call is cancelled. */
  async function* never(): ByteStream {
    await new Promise<void>(() => undefined);
    yield Buffer.of(1);
  }

  describe('where blobs go', () => {
    for (const [sizeBytes, where] of [
      [1, 'record'],
      [2048, 'record'],
      [2049, 'file'],
      [LARGE_BYTES, 'file'],
    ] as const) {
      it(`makes a blob of ${sizeBytes} bytes a ${where}, however it comes`, async () => {
        const bytes = [1, 2].map((seed) => someBytes(sizeBytes, seed));
        const [whole, streamed] = bytes.map(sha256);
        assert.ok(whole && streamed && bytes[0] && bytes[1]);
        await world.blobs.putBytes(whole, bytes[0], noAbort());
        await world.blobs.put(streamed, inPieces(bytes[1], 700), noAbort());
        for (const digest of [whole, streamed]) await assertThere(digest);
        assert.deepEqual([world.index.blobs, filesThere()], where === 'record' ? [2, 0] : [0, 2]);
      });
    }

    it('makes small blobs files while many uploads are gathered, and finds them; later ones are records again', async () => {
      world = await SegmentWorld.open({ segmentBytes: 4 * MIB, maxBytes: 128 * MIB });
      const abort = new AbortController();
      const gathered = Array.from({ length: 64 }, (_, seed) => {
        const digest = { ...sha256(Buffer.of(seed)), sizeBytes: MIB };
        return world.blobs.put(digest, never(), abort.signal);
      });
      const [filed, later] = [1, 2].map((seed) => someBytes(1000, seed));
      assert.ok(filed && later);
      await world.blobs.put(sha256(filed), inPieces(filed, 300), noAbort());
      assert.deepEqual([world.index.blobs, filesThere()], [0, 1]);
      await assertThere(sha256(filed));
      abort.abort();
      for (const upload of await Promise.allSettled(gathered)) {
        assert.ok(upload.status === 'rejected' && isKind(upload.reason, 'cancelled'));
      }
      await world.blobs.put(sha256(later), inPieces(later, 300), noAbort());
      assert.deepEqual([world.index.blobs, filesThere()], [1, 1]);
    });

    it('has one record of a blob that is uploaded by several at once', async () => {
      const bytes = someBytes(1000);
      const puts = [1, 2, 3].map(() => world.blobs.putBytes(sha256(bytes), bytes, noAbort()));
      await Promise.all(puts);
      assert.deepEqual([world.index.blobs, world.index.liveBytes], [1, recordBytes(32 + 1000)]);
      assert.equal(world.index.ledger.heldBytes(0), recordBytes(32 + 1000));
      // That of the first one; the others are garbage.
      assert.equal(world.index.table.offset(world.rowOf(sha256(bytes))), SEGMENT_HEADER_BYTES);
      await assertThere(sha256(bytes));
    });

    it('writes nothing for a blob that is there, and does not read the upload', async () => {
      for (const sizeBytes of [1000, LARGE_BYTES]) {
        const digest = await world.put(sizeBytes, 1);
        const before = world.parts.core.nextSequence;
        let isReleased = false;
        const upload = (async function* (): AsyncGenerator<Uint8Array> {
          try {
            yield Buffer.of(1);
          } finally {
            isReleased = true;
          }
        })();
        await upload.next();
        await world.blobs.put(digest, upload, noAbort());
        await world.blobs.putBytes(digest, Buffer.of(1), noAbort());
        await until(() => isReleased);
        assert.equal(world.parts.core.nextSequence, before);
      }
    });

    it('has the empty blob always, as no record', async () => {
      const empty = emptyDigest('sha256');
      assert.equal(await world.missing([empty]), 0);
      assert.equal((await get(empty)).length, 0);
      assert.equal((await stream(empty)).length, 0);
      await world.blobs.putBytes(empty, new Uint8Array(), noAbort());
      assert.equal(world.index.blobs, 0);
    });
  });

  describe('identity', () => {
    it('takes a right hash with a wrong size for another, absent blob (R-DIG-02)', async () => {
      for (const [sizeBytes, wrong] of [
        [1000, 999],
        [1000, 1001],
        [1000, LARGE_BYTES],
        [LARGE_BYTES, 1000],
      ] as const) {
        const digest = await world.put(sizeBytes, sizeBytes);
        const other = { ...digest, sizeBytes: wrong };
        assert.deepEqual(await world.blobs.findMissing([other, digest], noAbort()), [other]);
        await assert.rejects(get(other), ofKind('blob-not-found'));
        await assert.rejects(stream(other), ofKind('blob-not-found'));
        await assert.rejects(
          world.blobs.putBytes(other, someBytes(sizeBytes, sizeBytes), noAbort()),
          ofKind('digest-mismatch'),
        );
        await assertThere(digest);
      }
    });

    it('makes nothing visible whose bytes are others than its digest says, and keeps no room (R-CAS-09)', async () => {
      const before = world.parts.space.usedBytes;
      for (const sizeBytes of [1000, LARGE_BYTES]) {
        const digest = sha256(someBytes(sizeBytes, 1));
        const wrong = someBytes(sizeBytes, 2);
        for (const bytes of [wrong, wrong.subarray(1), Buffer.concat([wrong, wrong])]) {
          await assert.rejects(world.blobs.put(digest, inPieces(bytes, 400), noAbort()), ofKind('digest-mismatch'));
          await assert.rejects(world.blobs.putBytes(digest, bytes, noAbort()), ofKind('digest-mismatch'));
        }
        assert.equal(await world.missing([digest]), 1);
      }
      assert.equal(world.parts.space.usedBytes, before);
    });

    it('answers about few and about many digests alike, in their order, each missing one once', async () => {
      const there = await world.fill(40, 1);
      for (const count of [1, 15, 16, 17, 200, 3000]) {
        const asked = Array.from({ length: count }, (_, at) =>
          at % 2 === 0 ? (there[at % there.length] ?? sha256(Buffer.of(0))) : sha256(someBytes(5, at)),
        );
        const absent = asked.filter((_, at) => at % 2 === 1);
        assert.deepEqual(await world.blobs.findMissing([...asked, ...absent], noAbort()), absent, `${count}`);
      }
    });
  });

  describe('promises', () => {
    for (const [how, look] of [
      ['a look', (digest: Digest) => world.missing([digest])],
      ['a read', (digest: Digest) => get(digest)],
      ['a stream', (digest: Digest) => stream(digest)],
      ['an upload of bytes', (digest: Digest) => world.blobs.putBytes(digest, Buffer.of(1), noAbort())],
      ['an upload in a stream', (digest: Digest) => world.blobs.put(digest, never(), noAbort())],
    ] as const) {
      it(`renews small and large blobs after half the retention: ${how}, which a crash does not forget`, async () => {
        const [small, large] = [await world.put(1000, 1), await world.put(LARGE_BYTES, 2)];
        world.clock.advance(30_000);
        for (const digest of [small, large]) await look(digest);
        assert.equal(world.touched(small), 30);
        assert.equal(world.parts.files.touchedMs(large), world.clock.monotonicMs());
        const again = await world.afterCrash();
        assert.equal(again.touched(small), 30);
        assert.equal(again.parts.files.touchedMs(large), again.index.time.toMonotonicMs(30));
      });

      it(`writes nothing before that: ${how}`, async () => {
        const [small, large] = [await world.put(1000, 1), await world.put(LARGE_BYTES, 2)];
        world.clock.advance(29_000);
        let writes = 0;
        world.files.before = (call) => {
          if (call === 'write') writes++;
          return undefined;
        };
        for (const digest of [small, large]) await look(digest);
        assert.equal(writes, 0);
      });
    }
  });

  describe('admission', () => {
    const fillUp = async (sizeBytes: number): Promise<unknown> => {
      for (let seed = 1; seed < 1000; seed++) {
        try {
          await world.put(sizeBytes, seed);
        } catch (error) {
          return error;
        }
      }
      return undefined;
    };

    for (const [what, sizeBytes] of [
      ['small', 2000],
      ['large', 50_000],
    ] as const) {
      it(`refuses more when leases of ${what} blobs hold too much, and says until when`, async () => {
        world = await SegmentWorld.open({ maxLeasedShare: 0.01 });
        const { maxLeasedBytes } = world.parts.sizes;
        world.clock.advance(7000);
        const refused = await fillUp(sizeBytes);
        assert.ok(isKind(refused, 'quota-exceeded'), String(refused));
        assert.match(refused.message, /promised .* larger store/);
        assert.deepEqual(world.refusals, ['leased']);
        const stored = world.index.blobs + filesThere();
        assert.ok(stored * sizeBytes <= maxLeasedBytes && stored * sizeBytes > 0.85 * maxLeasedBytes);
        const { retryAfterMs } = refused.facts;
        assert.ok(retryAfterMs !== undefined && retryAfterMs >= 1000, String(retryAfterMs));
        // Then, and not a moment earlier, there is room for another.
        world.clock.advance(retryAfterMs - 1000);
        await assert.rejects(world.put(sizeBytes, 5000), ofKind('quota-exceeded'));
        // What files hold is counted up to a 32nd of the lease longer.
        world.clock.advance(1000 + (what === 'large' ? (world.parts.leaseSeconds * 1000) / 32 : 0));
        await world.put(sizeBytes, 5000);
      });
    }

    it('lets in what is there already, looks, reads and entries, however much is held', async () => {
      world = await SegmentWorld.open({ maxLeasedShare: 0.001 });
      await fillUp(2000);
      const first = sha256(someBytes(2000, 1));
      await world.blobs.putBytes(first, someBytes(2000, 1), noAbort());
      await assertThere(first);
      await world.putEntry('key', 'value');
      world.clock.advance(LEASE_OVER_SECONDS * 1000);
      await world.put(2000, 5000);
    });

    it('counts what is being stored already, so that uploads at the same time do not exceed it together', async () => {
      world = await SegmentWorld.open({ maxLeasedShare: 0.001 });
      const { maxLeasedBytes } = world.parts.sizes;
      const results = await Promise.allSettled(Array.from({ length: 60 }, (_, seed) => world.put(2000, seed)));
      const stored = results.filter(({ status }) => status === 'fulfilled').length;
      assert.ok(stored * 2000 <= maxLeasedBytes && (stored + 2) * 2000 > maxLeasedBytes, `${stored}`);
      // A refusal leaves nothing counted.
      world.clock.advance(LEASE_OVER_SECONDS * 1000);
      await world.put(2000, 5000);
    });

    it('lets go of the upload that it refuses', async () => {
      world = await SegmentWorld.open({ maxLeasedShare: 0.001 });
      await fillUp(2000);
      let isReleased = false;
      const upload: ByteStream = {
        [Symbol.asyncIterator]: () => ({
          next: () => Promise.resolve({ done: false, value: Buffer.of(1) }),
          return: () => {
            isReleased = true;
            return Promise.resolve({ done: true, value: undefined });
          },
        }),
      };
      await assert.rejects(world.blobs.put(sha256(someBytes(2000, 7000)), upload, noAbort()), ofKind('quota-exceeded'));
      await turns(1);
      assert.equal(isReleased, true);
    });

    it('refuses for good what it could never promise', async () => {
      world = await SegmentWorld.open({ maxLeasedShare: 0.001 });
      await assert.rejects(world.put(100_000, 1), ofKind('too-large'));
      const digest = sha256(someBytes(100_000, 1));
      await assert.rejects(world.blobs.put(digest, never(), noAbort()), ofKind('too-large'));
      assert.deepEqual(world.refusals, ['too-large', 'too-large']);
    });
  });

  describe('a damaged record', () => {
    for (const [how, read] of [
      ['read', (digest: Digest) => get(digest)],
      ['streamed', (digest: Digest) => stream(digest)],
    ] as const) {
      it(`is blob-not-found when it is ${how}, then missing, also after a crash, then can be put again (R-BS-19)`, async () => {
        const digest = await world.put(1000, 1);
        world.damage(digest);
        assert.equal(await world.missing([digest]), 0);
        await assert.rejects(read(digest), ofKind('blob-not-found'));
        await assert.rejects(read(digest), ofKind('blob-not-found'));
        assert.equal(await world.missing([digest]), 1);
        assert.deepEqual(world.quarantined(), [`1-${digest.hash}`]);
        assert.equal(world.parts.core.quarantined, 1);
        await world.putEntry('key', 'what comes later waits for the removal');
        assert.equal(await (await world.afterCrash()).missing([digest]), 1);
        await world.put(1000, 1);
        await assertThere(digest);
        const again = await world.afterCrash();
        assert.deepEqual(sha256(await again.blobs.getBytes(digest, noAbort())), digest);
      });
    }

    it('is the same when the device cannot read it', async () => {
      const digest = await world.put(1000, 1);
      world.files.failOn('EIO', (call) => call === 'read');
      await assert.rejects(get(digest), ofKind('blob-not-found'));
      world.files.mend();
      assert.equal(await world.missing([digest]), 1);
      assert.deepEqual(world.quarantined(), []);
    });

    it('is the same when it takes a while to read', async () => {
      world = await SegmentWorld.open({ segmentBytes: MIB });
      const digest = await world.put(200_000, 1);
      world.damage(digest);
      await assert.rejects(get(digest), ofKind('blob-not-found'));
      assert.equal(await world.missing([digest]), 1);
    });

    it('is no reason to put aside what was uploaded since a reader began', async () => {
      world = await SegmentWorld.open({ segmentBytes: MIB });
      const digest = await world.put(200_000, 1);
      world.damage(digest);
      const device = deferred();
      world.files.before = (call) => (call === 'read' ? device.promise : undefined);
      const slow = get(digest);
      world.files.mend();
      await assert.rejects(get(digest), ofKind('blob-not-found'));
      await world.put(200_000, 1);
      device.resolve();
      await assert.rejects(slow, ofKind('blob-not-found'));
      await assertThere(digest);
      await world.parts.core.close();
      assert.equal(await (await world.afterCrash()).missing([digest]), 0);
    });

    it('does not take a second upload of the blob with it, which was on its way to the log', async () => {
      world = await SegmentWorld.open({ sync: 'group' });
      const bytes = someBytes(1000, 1);
      const digest = sha256(bytes);
      const device = deferred();
      let second: Promise<void> | undefined;
      let syncs = 0;
      world.files.before = (call) => {
        if (call === 'write') second ??= world.blobs.putBytes(digest, bytes, noAbort());
        return call === 'fdatasync' && ++syncs === 2 ? device.promise : undefined;
      };
      await world.blobs.putBytes(digest, bytes, noAbort());
      await until(() => syncs === 2);
      world.putAside(digest);
      device.resolve();
      await second;
      await world.parts.core.close();
      assert.ok(world.rowOf(digest) >= 0);
      assert.equal(await (await world.afterCrash()).missing([digest]), 0);
    });

    it('is none if it cannot be read just now', async () => {
      const digest = await world.put(1000, 1);
      world.files.failOn('ENOMEM', (call) => call === 'read');
      await assert.rejects(get(digest), ofKind('unavailable'));
      world.files.mend();
      await assertThere(digest);
    });
  });

  it('enters nothing that could not be written', async () => {
    const before = world.parts.space.usedBytes;
    world.files.failOn('ENOSPC', (call) => call === 'write');
    await assert.rejects(world.put(1000, 1), ofKind('quota-exceeded'));
    world.files.mend();
    assert.equal(await world.missing([sha256(someBytes(1000, 1))]), 1);
    assert.equal(world.parts.space.usedBytes, before);
  });

  it('refuses cancelled calls and those after closing', async () => {
    const digest = await world.put(1000, 1);
    const calls = (signal: AbortSignal): Promise<unknown>[] => [
      world.blobs.findMissing([digest], signal),
      world.blobs.getBytes(digest, signal),
      world.blobs.open(digest, WHOLE, signal),
      world.blobs.putBytes(digest, someBytes(1000), signal),
      world.blobs.put(digest, never(), signal),
    ];
    for (const call of calls(AbortSignal.abort())) await assert.rejects(call, ofKind('cancelled'));
    await world.parts.core.close();
    for (const call of calls(noAbort())) await assert.rejects(call, ofKind('unavailable'));
  });
});
