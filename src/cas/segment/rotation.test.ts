import assert from 'node:assert/strict';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { sha256, someBytes } from '../../../test/support/blob-store-contract.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import type { HookedCall } from '../../../test/support/hooked-file-system.ts';
import { LEASE_OVER_SECONDS, SegmentWorld } from '../../../test/support/segment-world.ts';
import type { Digest } from '../../digest/digest.ts';
import { systemCode } from '../../errors.ts';
import { recordBytes } from './log/format.ts';

const RECORD_BYTES = recordBytes(32 + 1000);
/** Records of 1,000 bytes that a segment of 8 KiB holds. */
const PER_SEGMENT = 7;

describe('Rotation', () => {
  let world: SegmentWorld;

  beforeEach(async () => {
    world = await SegmentWorld.open();
  });

  const reclaim = (keeping: 'recent' | 'leased' | 'nothing' = 'leased'): Promise<number> =>
    world.parts.rotation.reclaimOldest(keeping);
  const endLeases = (): void => world.clock.advance(LEASE_OVER_SECONDS * 1000);
  const counts = (): number[] => {
    const { evictedBlobs, evictedEntries, copiedBytes } = world.parts.rotation.counts;
    return [evictedBlobs, evictedEntries, copiedBytes];
  };
  const assertWhole = async (digests: readonly Digest[], where = world): Promise<void> => {
    for (const digest of digests) assert.deepEqual(sha256(await where.blobs.getBytes(digest, noAbort())), digest);
  };
  const isThere = (digest: Digest): boolean => world.rowOf(digest) >= 0;
  const oldestId = (): number | undefined => world.parts.segments.oldest?.id;
  const assertAccounted = (): void => {
    const { segments, space } = world.parts;
    assert.equal(
      space.partBytes('segments'),
      [...segments].reduce((sum, { diskBytes }) => sum + diskBytes, 0),
    );
  };
  /** One full segment whose blobs are leased no more, except the first so many, and a newer segment behind it. */
  const oldSegment = async (
    leased: number,
  ): Promise<{ readonly kept: readonly Digest[]; readonly old: readonly Digest[] }> => {
    const digests = await world.fill(PER_SEGMENT, 1);
    endLeases();
    await world.fill(1, 100);
    const kept = digests.slice(0, leased);
    assert.equal(await world.missing(kept), 0);
    return { kept, old: digests.slice(leased) };
  };

  describe('what it keeps', () => {
    it('copies what is leased, evicts the rest and says so, and removes the file', async () => {
      const { kept, old } = await oldSegment(3);
      const freedBytes = await reclaim();
      assert.equal(existsSync(world.segmentPath(1)), false);
      assert.deepEqual([kept.every(isThere), old.some(isThere)], [true, false]);
      await assertWhole(kept);
      assert.deepEqual(counts(), [4, 0, 3 * RECORD_BYTES]);
      assert.deepEqual(
        world.evictions,
        old.map(({ hash }) => ({ what: 'blob', hash, sizeBytes: RECORD_BYTES, ageSeconds: LEASE_OVER_SECONDS })),
      );
      assert.equal(freedBytes, 4 * RECORD_BYTES + 4096 + 32);
      assertAccounted();
    });

    it('gains nothing from a segment that is leased whole, and breaks no promise', async () => {
      const digests = await world.fill(2 * PER_SEGMENT, 1);
      assert.ok((await reclaim()) <= 0);
      assert.equal(await world.missing(digests), 0);
      assert.deepEqual(counts(), [0, 0, PER_SEGMENT * RECORD_BYTES]);
      assertAccounted();
    });

    it('keeps promises as they were: a copy is no use', async () => {
      const { kept } = await oldSegment(1);
      world.clock.advance(10_000);
      await reclaim();
      assert.ok(kept[0]);
      assert.equal(world.touched(kept[0]), LEASE_OVER_SECONDS);
      assert.equal(world.index.ledger.heldBytes(world.index.time.now()), 2 * RECORD_BYTES);
    });

    it('keeps what was used in the newer half of the memory too, up to half the segment', async () => {
      const digests = await world.fill(PER_SEGMENT, 1);
      world.clock.advance(200_000);
      const used = digests.slice(2);
      assert.equal(await world.missing(used), 0);
      world.clock.advance(100_000);
      await world.fill(1, 100);
      await reclaim('recent');
      // Half of 7 records and a header is 3 of them.
      assert.deepEqual(digests.map(isThere), [false, false, true, true, true, false, false]);
      assertAccounted();
    });

    it('drops what was used recently if only leases count', async () => {
      const digests = await world.fill(PER_SEGMENT, 1);
      world.clock.advance(200_000);
      await world.missing(digests);
      world.clock.advance(100_000);
      await reclaim('leased');
      assert.equal(digests.some(isThere), false);
    });

    it('drops even what is leased when it is told to keep nothing', async () => {
      const digests = await world.fill(PER_SEGMENT + 1, 1);
      await reclaim('nothing');
      assert.deepEqual([counts(), await world.missing(digests)], [[PER_SEGMENT, 0, 0], PER_SEGMENT]);
      assertAccounted();
    });

    it('leases no entries: they are kept if they were used recently, and dropped otherwise', async () => {
      for (const key of ['used', 'forgotten']) await world.putEntry(key, 'value');
      world.clock.advance(200_000);
      assert.equal(await world.textOf('used'), 'value');
      world.clock.advance(100_000);
      await world.fill(PER_SEGMENT, 1);
      await reclaim('recent');
      assert.deepEqual([await world.textOf('used'), await world.textOf('forgotten')], ['value', undefined]);
      const [eviction] = world.evictions;
      assert.deepEqual(
        [eviction?.what, eviction?.hash, eviction?.ageSeconds],
        [...['entry', sha256(Buffer.from('forgotten')).hash, 300]],
      );
      assert.equal(counts()[1], 1);
    });

    it('begins a new segment to reclaim the only one, and drops what nothing refers to', async () => {
      for (const text of ['1', '2', '3']) await world.putEntry('key', text);
      const [kept] = await world.fill(1, 1);
      assert.ok(kept);
      await reclaim();
      assert.deepEqual(
        [...world.parts.segments].map(({ id }) => id),
        [2],
      );
      await assertWhole([kept]);
      assert.equal(counts()[2], RECORD_BYTES);
      assertAccounted();
    });

    it('leaves all that was copied to a crash', async () => {
      const { kept, old } = await oldSegment(3);
      await reclaim();
      const again = await world.afterCrash();
      await assertWhole(kept, again);
      assert.equal(await again.missing(old), old.length);
    });
  });

  describe('what changes while copies are written', () => {
    const matches = (wanted: HookedCall) => (call: HookedCall) => call === wanted;
    const changes = [
      ['overwritten', 'new', () => world.putEntry('key', 'new')],
      ['deleted', undefined, () => world.entries.delete('key', noAbort())],
      [
        'deleted and put again',
        'again',
        () => Promise.all([world.entries.delete('key', noAbort()), world.putEntry('key', 'again')]),
      ],
    ] as const;
    for (const [what, expected, change] of changes) {
      for (const [when, call] of [
        ['before its copy is queued', 'read'],
        ['when its copy is being written', 'write'],
      ] as const) {
        it(`keeps the newest value of an entry that is ${what} ${when}, also after a crash`, async () => {
          world.clock.advance(100_000);
          await world.putEntry('key', 'old');
          const [other] = await world.fill(1, 1);
          assert.ok(other);
          await world.parts.checkpoints.write(false);
          let changing: Promise<unknown> = Promise.resolve();
          world.files.onceBefore(matches(call), () => {
            changing = change();
          });
          await reclaim('recent');
          await changing;
          assert.equal(oldestId(), 2);
          assert.equal(await world.textOf('key'), expected);
          await assertWhole([other]);
          assertAccounted();
          assert.equal(await (await world.afterCrash()).textOf('key'), expected);
        });
      }
    }

    it('leaves alone what was given the rows of others meanwhile', async () => {
      world = await SegmentWorld.open({ segmentBytes: 4 * 1024 * 1024 });
      // Large enough to be read and copied in several goes.
      const large: Digest[] = [];
      for (let seed = 1; seed <= 12; seed++) large.push(await world.put(200_000, seed));
      const [first, last] = [large[0], large.at(-1)];
      assert.ok(first && last);
      world.damage(first);
      let putting: Promise<unknown> = Promise.resolve();
      world.files.onceBefore(matches('read'), () => {
        const rows = [last, first].map((digest) => world.rowOf(digest));
        for (const row of rows) world.index.remove(row);
        putting = Promise.all([world.put(1000, 100), world.putEntry('key', 'value')]);
      });
      await reclaim();
      await putting;
      assert.equal(await world.textOf('key'), 'value');
      await assertWhole([sha256(someBytes(1000, 100)), ...large.slice(1, -1)]);
      assert.deepEqual([isThere(first), isThere(last), world.parts.core.quarantined], [false, false, 0]);
    });

    it('leaves a blob absent that is put aside while its copy is written', async () => {
      const { kept } = await oldSegment(2);
      const [digest] = kept;
      assert.ok(digest);
      world.files.onceBefore(matches('write'), () => world.putAside(digest));
      await reclaim();
      assert.deepEqual(kept.map(isThere), [false, true]);
      await world.parts.core.close();
      // The removal names the record that was damaged. The copy was verified, so a start may as well find it.
      const again = await world.afterCrash();
      assert.deepEqual(sha256(await again.blobs.getBytes(digest, noAbort())), digest);
    });

    it('does not bring back what was deleted long ago, whichever of its records goes first', async () => {
      for (let round = 0; round < 4; round++) {
        await world.putEntry('key', `${round}`);
        await world.fill(PER_SEGMENT, 100 * round);
        await world.entries.delete('key', noAbort());
      }
      while (world.parts.segments.count > 1) {
        await reclaim('recent');
        assert.equal(await world.textOf('key'), undefined);
        assert.equal(await (await world.afterCrash()).textOf('key'), undefined);
        world.clock.advance(LEASE_OVER_SECONDS * 1000);
      }
    });

    it('does not bring back a blob that was found damaged', async () => {
      const { kept } = await oldSegment(2);
      const [digest] = kept;
      assert.ok(digest);
      world.damage(digest);
      await assert.rejects(world.blobs.getBytes(digest, noAbort()), ofKind('blob-not-found'));
      await reclaim();
      assert.equal(await world.missing(kept), 1);
      assert.equal(await (await world.afterCrash()).missing(kept), 1);
    });

    it('law: promises hold and the newest values count, whatever is put, deleted and reclaimed, and after a crash', async () => {
      const name = fc.constantFrom('a', 'b', 'c');
      const step = fc.oneof(
        fc.record({ do: fc.constant('put' as const), name, bytes: fc.constantFrom(10, 3000) }),
        fc.record({ do: fc.constant('delete' as const), name }),
        fc.record({ do: fc.constant('fill' as const) }),
        fc.record({ do: fc.constant('reclaim' as const) }),
        fc.record({ do: fc.constant('wait' as const) }),
        fc.record({ do: fc.constant('checkpoint' as const) }),
      );
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 30 }), async (steps) => {
          world = await SegmentWorld.open();
          const newest = new Map<string, string>();
          const promised = new Map<Digest, number>();
          let serial = 0;
          let running: Promise<unknown>[] = [];
          for (const each of steps) {
            serial++;
            // Puts and deletions are not waited for: they meet the rotation that follows.
            if (each.do === 'put') {
              const text = `${serial}`.padEnd(each.bytes, '.');
              newest.set(each.name, text);
              running.push(world.putEntry(each.name, text));
            } else if (each.do === 'delete') {
              // A deletion looks whether there is something, so what was put before has to be there.
              await Promise.all(running);
              newest.delete(each.name);
              running = [world.entries.delete(each.name, noAbort())];
            } else if (each.do === 'fill') {
              const now = world.index.time.now();
              for (const digest of await world.fill(3, serial * 10)) promised.set(digest, now);
            } else if (each.do === 'reclaim') {
              await reclaim('recent');
            } else if (each.do === 'wait') {
              world.clock.advance(20_000);
            } else {
              await world.parts.checkpoints.write(false);
            }
          }
          await Promise.all(running);
          assertAccounted();
          const now = world.index.time.now();
          const held = [...promised].filter(([, since]) => now - since <= 60).map(([digest]) => digest);
          const again = await world.afterCrash();
          for (const each of [world, again]) {
            for (const key of ['a', 'b', 'c']) {
              const text = await each.textOf(key);
              assert.ok(text === undefined || text === newest.get(key), `${key} is ${text?.slice(0, 9)}`);
            }
            assert.equal(await each.missing(held), 0);
            await each.close();
            rmSync(each.folder, { recursive: true });
          }
        }),
        { numRuns: 25 },
      );
    });
  });

  describe('what goes wrong', () => {
    it('puts a damaged record aside and copies the others', async () => {
      const { kept } = await oldSegment(3);
      assert.ok(kept[1]);
      world.damage(kept[1]);
      await reclaim();
      assert.deepEqual(kept.map(isThere), [true, false, true]);
      assert.deepEqual([world.quarantined(), world.parts.core.quarantined], [[`1-${kept[1].hash}`], 1]);
      assert.equal(existsSync(world.segmentPath(1)), false);
      await world.parts.core.close();
      assertAccounted();
    });

    it("removes a segment that stayed empty because its first group could not be synced: it is in nobody's way", async () => {
      const synced = await SegmentWorld.open({ sync: 'group' });
      synced.files.failOn('EIO', (call) => call === 'fdatasync');
      await assert.rejects(synced.put(1000, 1), ofKind('unavailable'));
      synced.files.mend();
      await synced.put(1000, 2);
      assert.deepEqual(
        [...synced.parts.segments].map(({ id }) => id),
        [1, 2],
      );
      assert.ok((await synced.parts.rotation.reclaimOldest('leased')) > 0);
      assert.equal(synced.parts.segments.oldest?.id, 2);
    });

    it('gains nothing from the only segment while it is empty', async () => {
      assert.equal(await reclaim('nothing'), 0);
      assert.equal(oldestId(), 1);
    });

    it('puts a record aside that the device cannot read', async () => {
      const { kept } = await oldSegment(1);
      world.files.failOn('EIO', (call) => call === 'read');
      await reclaim();
      assert.deepEqual([kept.map(isThere), world.quarantined(), world.parts.core.quarantined], [[false], [], 1]);
      assert.equal(oldestId(), 2);
    });

    for (const [what, code, failing, kind] of [
      ['its records cannot be read just now', 'ENOMEM', 'read', 'unavailable'],
      ['the disk is full', 'ENOSPC', 'write', 'quota-exceeded'],
      ['the copies cannot be written', 'EACCES', 'write', 'unavailable'],
    ] as const) {
      it(`leaves the segment and all that is leased if ${what}, takes no room, and can try again`, async () => {
        const { kept } = await oldSegment(3);
        const before = world.parts.space.partBytes('segments');
        world.files.failOn(code, (call) => call === failing);
        await assert.rejects(reclaim(), ofKind(kind));
        world.files.mend();
        assert.equal(oldestId(), 1);
        assert.equal(world.parts.space.partBytes('segments'), before);
        await assertWhole(kept);
        await assertWhole(kept, await world.afterCrash());
        await reclaim();
        assert.equal(oldestId(), 2);
        await assertWhole(kept);
        assertAccounted();
      });
    }

    it('leaves the segment until its copies are on the device, if nothing else syncs them', async () => {
      const { kept } = await oldSegment(3);
      world.files.failOn('EIO', (call) => call === 'fdatasync');
      await assert.rejects(reclaim(), (error) => systemCode(error) === 'EIO');
      assert.ok(existsSync(world.segmentPath(1)));
      world.files.mend();
      await reclaim();
      assert.equal(existsSync(world.segmentPath(1)), false);
      await assertWhole(kept);
    });

    it('leaves a segment that cannot be removed, empty of what is kept, for the next time', async () => {
      const { kept } = await oldSegment(3);
      world.files.failOn('EIO', (call, path) => call === 'unlink' && path.endsWith('.segment'));
      await assert.rejects(reclaim(), (error) => systemCode(error) === 'EIO');
      assert.equal(oldestId(), 1);
      world.files.mend();
      await reclaim();
      assert.deepEqual([oldestId(), existsSync(join(world.segmentFolder, '00000001.segment'))], [2, false]);
      await assertWhole(kept);
      assert.equal(counts()[2], 3 * RECORD_BYTES);
      assertAccounted();
    });
  });
});
