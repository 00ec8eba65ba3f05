import assert from 'node:assert/strict';
import { readdirSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { deferred, turns } from '../../../test/support/deferred.ts';
import type { HookedCall } from '../../../test/support/hooked-file-system.ts';
import { SegmentWorld } from '../../../test/support/segment-world.ts';
import type { Digest } from '../../digest/digest.ts';
import { NODE_FILE_SYSTEM } from '../../system/file-system.ts';
import type { Checkpoints } from './checkpoints.ts';
import { type IndexFacts, readIndexFile } from './record-index/index-file.ts';

const MIB = 1024 * 1024;
const MAX_LEASE_FILES = 8;

/** A start after a crash takes the time of a file for that of its last use, unless it knows better: now it is long ago. */
function forgetTimesOfFiles(folder: string): void {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) utimesSync(join(entry.parentPath, entry.name), 0, 0);
  }
}

describe('Checkpoints', () => {
  let world: SegmentWorld;
  let checkpoints: Checkpoints;

  beforeEach(async () => {
    await open();
  });

  const open = async (options: Parameters<typeof SegmentWorld.open>[0] = {}): Promise<void> => {
    world = await SegmentWorld.open(options);
    checkpoints = world.parts.checkpoints;
  };
  const leaseFiles = (): readonly string[] => world.names(/^leases/);
  const other = (): number => world.parts.space.partBytes('other');
  const isIndexWrite = (call: HookedCall, path: string): boolean => call === 'open' && path.endsWith('index.new');
  const facts = (): IndexFacts | undefined => {
    const found = readIndexFile(NODE_FILE_SYSTEM, world.segmentFolder, () => undefined);
    return typeof found === 'object' && 'isClean' in found ? found : undefined;
  };
  const one = async (seed: number): Promise<Digest> => {
    const [digest] = await world.fill(1, seed);
    assert.ok(digest);
    return digest;
  };
  /** Blobs that were promised 30 seconds after they were put, and no index that says so. */
  const promised = async (): Promise<Digest[]> => {
    const digests = [await one(1), await world.put(5000, 2)];
    world.clock.advance(30_000);
    assert.equal(await world.missing(digests), 0);
    return digests;
  };
  const assertPromised = async (digests: readonly Digest[], seconds: number, message?: string): Promise<void> => {
    const copy = world.crashCopy();
    forgetTimesOfFiles(join(copy, 'blobs'));
    const again = await SegmentWorld.open({}, copy);
    const [small, large] = digests;
    assert.ok(small);
    assert.equal(again.touched(small), seconds, message);
    // A checkpoint notes the files that are held as used now: a crash makes their leases longer, never shorter.
    const fileMs = large === undefined ? undefined : again.parts.files.touchedMs(large);
    assert.ok(large === undefined || (fileMs ?? 0) >= again.index.time.toMonotonicMs(seconds), message);
    await again.close();
  };

  describe('writing', () => {
    it('leaves nothing to replay, and one lease log', async () => {
      const digests = await world.fill(20, 1);
      await checkpoints.write(false);
      const again = await world.afterCrash();
      assert.equal(again.parts.found.replayedRecords, 0);
      assert.equal(await again.missing(digests), 0);
      assert.equal(leaseFiles().length, 1);
    });

    it('says where the log was, the time, the next number, and whether the store was stopped', async () => {
      await world.fill(3, 1);
      world.clock.advance(12_000);
      const sizeBytes = world.parts.segments.oldest?.sizeBytes;
      const expected = { segment: 1, offset: sizeBytes, storeSeconds: 12, nextSequence: 4 };
      for (const isClean of [false, true]) {
        await checkpoints.write(isClean);
        assert.deepEqual(facts(), { ...expected, isClean });
      }
    });

    it('keeps promises of small and large blobs, though the lease logs with them go', async () => {
      const digests = await promised();
      const [before] = leaseFiles();
      world.clock.advance(20_000);
      await checkpoints.write(false);
      assert.ok(before && !leaseFiles().includes(before));
      await assertPromised(digests, 30);
      await checkpoints.write(false);
      await assertPromised(digests, 30);
    });

    it('keeps promises that are given while it is written', async () => {
      const digests = [await one(1), await world.put(5000, 2)];
      world.clock.advance(30_000);
      let looking: Promise<unknown> = Promise.resolve();
      let isWritten = false;
      world.files.before = (call, path) => {
        isWritten ||= path.endsWith('index.new');
        // The file has the rows now with the old time of use, so only the lease log can know.
        if (!isWritten || call !== 'fdatasync') return undefined;
        world.files.mend();
        looking = world.missing(digests);
        return undefined;
      };
      await checkpoints.write(false);
      await looking;
      await assertPromised(digests, 30);
    });

    it('writes one index at a time', async () => {
      const gate = deferred();
      let running = 0;
      let most = 0;
      world.files.before = async (call) => {
        if (call !== 'fdatasync') return;
        most = Math.max(most, ++running);
        await gate.promise;
        running--;
      };
      const writing = [1, 2, 3].map(() => checkpoints.write(false));
      await turns(2);
      assert.equal(checkpoints.isDue, false);
      gate.resolve();
      await Promise.all(writing);
      assert.equal(most, 1);
      assert.deepEqual([leaseFiles().length, facts()?.isClean], [1, false]);
    });

    for (const [sync, expected] of [
      ['none', true],
      ['group', false],
    ] as const) {
      it(`syncs the records before the index if nothing else did: sync ${sync}`, async () => {
        await open({ sync });
        await world.fill(10, 1);
        const calls: string[] = [];
        world.files.before = (call, path) => {
          calls.push(path.endsWith('index.new') && call === 'open' ? 'index' : call);
          return undefined;
        };
        await checkpoints.write(false);
        assert.equal(calls.slice(0, calls.indexOf('index')).includes('fdatasync'), expected);
      });
    }
  });

  describe('when', () => {
    it('is due after 256 MiB of records, and not again after it', async () => {
      checkpoints.noteRecords(256 * MIB - 1);
      assert.equal(checkpoints.isDue, false);
      checkpoints.noteRecords(1);
      assert.equal(checkpoints.isDue, true);
      await checkpoints.write(false);
      assert.equal(checkpoints.isDue, false);
    });

    it('does not wait for records when the lease log has become long', async () => {
      const before = leaseFiles();
      for (let at = 0; at < (16 * MIB) / 8; at++) world.index.noteRenewal(at, at);
      world.index.flushRenewals();
      await world.parts.core.close();
      assert.equal(facts()?.isClean, false);
      assert.ok(leaseFiles().length === 1 && leaseFiles()[0] !== before[0]);
      assert.equal(checkpoints.isDue, false);
    });

    it('is not due for a minute after it failed, however much there is', async () => {
      world.files.failOn('ENOSPC', isIndexWrite);
      await checkpoints.write(false);
      checkpoints.noteRecords(1000 * MIB);
      assert.equal(checkpoints.isDue, false);
      world.clock.advance(60_000);
      assert.equal(checkpoints.isDue, true);
    });

    it('writes regularly only if there were records or many renewals', async () => {
      const changes = async (): Promise<boolean> => {
        let hasWritten = false;
        world.files.before = (call, path) => {
          hasWritten ||= isIndexWrite(call, path);
          return undefined;
        };
        await checkpoints.writeIfChanged();
        world.files.mend();
        return hasWritten;
      };
      await world.fill(3, 1);
      assert.deepEqual([await changes(), await changes()], [true, false]);
      for (let at = 0; at < 1000; at++) world.index.noteRenewal(at, at);
      world.index.flushRenewals();
      assert.deepEqual([await changes(), await changes()], [true, false]);
      await world.putEntry('key', 'value');
      assert.deepEqual([await changes(), await changes()], [true, false]);
    });

    it('tries again when the last time failed', async () => {
      await world.fill(3, 1);
      world.files.failOn('ENOSPC', isIndexWrite);
      await checkpoints.writeIfChanged();
      world.files.mend();
      await checkpoints.writeIfChanged();
      assert.ok(facts());
    });
  });

  describe('failing', () => {
    it('keeps all that is stored and promised whichever of its calls fails, says so, and can go on', async () => {
      let failures = 0;
      for (let atCall = 1; ; atCall++) {
        await open();
        const digests = await promised();
        await checkpoints.write(false);
        const later = await one(3);
        world.clock.advance(40_000);
        assert.equal(await world.missing(digests), 0);
        const failedCall = world.files.failAt(atCall, 'EIO');
        await checkpoints.write(false);
        world.files.mend();
        const failed = failedCall();
        if (failed === undefined) break;
        failures++;
        assert.ok(world.lines.every(({ level }) => level === 'warn'));
        // A crash forgets what could not be written to the lease log (docs/storage.md): here the leases of files.
        const kept = failed === 'write' ? digests.slice(0, 1) : digests;
        await assertPromised(kept, 70, `call ${atCall}`);
        await checkpoints.write(false);
        await assertPromised(digests, 70, `after call ${atCall}`);
        assert.equal(await world.missing([later]), 0);
        await world.close();
      }
      assert.ok(failures >= 10, `${failures}`);
    });

    for (const call of ['open', 'write', 'fdatasync', 'rename'] as const) {
      it(`keeps the old index and all lease logs if ${call} fails, and leaves no half index`, async () => {
        await world.fill(3, 1);
        await checkpoints.write(false);
        const before = facts();
        const [firstLog] = leaseFiles();
        await world.fill(3, 100);
        // The lease log that is begun first succeeds.
        let isIndexBegun = false;
        world.files.failOn('ENOSPC', (each, path) => {
          isIndexBegun ||= path.endsWith('index.new');
          return isIndexBegun && each === call;
        });
        await checkpoints.write(false);
        world.files.mend();
        assert.deepEqual(
          world.lines.map(({ level }) => level),
          ['warn'],
        );
        assert.deepEqual(facts(), before);
        assert.deepEqual([leaseFiles()[0], leaseFiles().length], [firstLog, 2]);
        assert.deepEqual(world.names(/\.new$/), []);
        assert.equal((await world.afterCrash()).parts.found.replayedRecords, 3);
        await checkpoints.write(false);
        assert.deepEqual([leaseFiles().length, facts()?.nextSequence], [1, 7]);
      });
    }

    it('begins a bounded number of lease logs however often it fails, and loses no promise', async () => {
      const digests = await promised();
      world.files.failOn('ENOSPC', isIndexWrite);
      for (let time = 1; time <= 3 * MAX_LEASE_FILES; time++) {
        await checkpoints.write(false);
        world.clock.advance(30_000);
        world.files.failOn('ENOSPC', isIndexWrite);
        assert.equal(await world.missing(digests), 0);
        assert.ok(leaseFiles().length <= MAX_LEASE_FILES);
      }
      const seconds = 30 + 3 * MAX_LEASE_FILES * 30;
      await assertPromised(digests, seconds);
      world.files.mend();
      await checkpoints.write(false);
      assert.equal(leaseFiles().length, 1);
      await assertPromised(digests, seconds);
    });

    it('removes at the next attempt what could not be removed, and has nothing to complain about from then on', async () => {
      world.files.failOn('EIO', isIndexWrite);
      await checkpoints.write(false);
      // Of the two old logs the first goes, the second does not.
      let removals = 0;
      world.files.failOn('EIO', (call, path) => call === 'unlink' && /leases-\d+$/.test(path) && ++removals === 2);
      await checkpoints.write(false);
      world.files.mend();
      const warnings = world.lines.length;
      await checkpoints.write(false);
      assert.deepEqual([removals, world.lines.length, leaseFiles().length], [2, warnings, 1]);
    });

    it('keeps the old lease log while the new one could not be told of files: no row has their promises', async () => {
      const digests = await promised();
      let isLogBegun = false;
      world.files.failOn('ENOSPC', (call, path) => {
        if (isLogBegun && call === 'write') {
          world.files.mend();
          return true;
        }
        isLogBegun ||= call === 'rename' && path.includes('leases-');
        return false;
      });
      await checkpoints.write(false);
      assert.ok(facts());
      await assertPromised(digests, 30);
    });

    it('goes on with the old lease log if none can be begun', async () => {
      const digests = await promised();
      world.files.failOn('ENOSPC', (call, path) => call === 'rename' && path.includes('leases'));
      await checkpoints.write(false);
      world.files.mend();
      world.clock.advance(40_000);
      assert.equal(await world.missing(digests), 0);
      await assertPromised(digests, 70);
      assert.equal(leaseFiles().length, 1);
    });

    it('does not hide an error of our own', async () => {
      world.files.before = (call) => {
        if (call === 'fdatasync') throw new TypeError('a bug');
        return undefined;
      };
      await world.fill(1, 1);
      await assert.rejects(checkpoints.write(false), TypeError);
    });
  });

  describe('accounting', () => {
    const diskBytes = (): number =>
      world.names(/^(index|leases)/).reduce((sum, name) => sum + statSync(join(world.segmentFolder, name)).size, 0);

    it('covers the index twice, as a new one is written before the old one goes', async () => {
      const before = other();
      await world.fill(100, 1);
      checkpoints.account();
      assert.equal(other() - before, 2 * 100 * 49);
      await checkpoints.write(false);
      const indexBytes = statSync(join(world.segmentFolder, 'index')).size;
      assert.ok(diskBytes() + indexBytes <= other());
    });

    it('covers what is renewed, and gives it back when the index has it', async () => {
      checkpoints.account();
      const before = other();
      for (let at = 0; at < 100_000; at++) world.index.noteRenewal(at, at);
      world.index.flushRenewals();
      checkpoints.account();
      assert.ok(other() - before >= 800_000 && diskBytes() <= other());
      await checkpoints.write(false);
      assert.equal(other(), before);
    });

    for (const [what, find] of [
      ['a checkpoint that failed', async () => world],
      ['a crash', () => world.afterCrash()],
    ] as const) {
      it(`covers the lease logs that ${what} left`, async () => {
        for (let at = 0; at < 100_000; at++) world.index.noteRenewal(at, at);
        world.index.flushRenewals();
        world.files.failOn('ENOSPC', isIndexWrite);
        await checkpoints.write(false);
        const found = await find();
        const logs = found.names(/^leases/).map((name) => statSync(join(found.segmentFolder, name)).size);
        const leaseBytes = logs.reduce((sum, bytes) => sum + bytes, 0);
        assert.ok(leaseBytes > 800_000 && leaseBytes <= found.parts.space.partBytes('other'));
      });
    }

    it('gives back what the index takes of rows that went', async () => {
      const before = other();
      const digests = await world.fill(10, 1);
      checkpoints.account();
      assert.ok(other() > before);
      for (const digest of digests) world.index.remove(world.rowOf(digest));
      checkpoints.account();
      assert.equal(other(), before);
    });

    it('covers quarantine, and gives nothing back twice', async () => {
      const digest = await one(1);
      world.damage(digest);
      await assert.rejects(world.blobs.getBytes(digest, new AbortController().signal));
      checkpoints.account();
      const before = other();
      checkpoints.account();
      checkpoints.account();
      assert.equal(other(), before);
      const without = (await SegmentWorld.open()).parts.space.partBytes('other');
      assert.equal(before - without, 4096);
    });

    it('begins with what an earlier run left', async () => {
      await world.fill(10, 1);
      await checkpoints.write(true);
      const again = await world.afterCrash();
      // The lease log of that run stays until the next checkpoint: 16 bytes in a block.
      assert.equal(again.parts.space.partBytes('other'), other() + 4096 + 16);
    });
  });

  it('writes nothing to a lease log after it was closed', async () => {
    const digests = await promised();
    checkpoints.close();
    world.clock.advance(40_000);
    assert.equal(await world.missing(digests), 0);
    assert.deepEqual(world.lines, []);
    checkpoints.close();
  });
});
