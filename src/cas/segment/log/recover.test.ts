import assert from 'node:assert/strict';
import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { noAbort } from '../../../../test/support/expectations.ts';
import { HookedFileSystem } from '../../../../test/support/hooked-file-system.ts';
import { type LoggedLine, recordingLog } from '../../../../test/support/recording-log.ts';
import { blobKey, flipByte, SegmentWorld } from '../../../../test/support/segment-world.ts';
import { openTemporaryFiles } from '../../../../test/support/temporary-folder.ts';
import type { Digest } from '../../../digest/digest.ts';
import { systemCode } from '../../../errors.ts';
import { Quarantine } from '../../../system/quarantine.ts';
import { DigestTable } from '../record-index/digest-table.ts';
import { ENTRY_KIND, parseRecord, recordBytes, SEGMENT_HEADER_BYTES } from './format.ts';
import { leaseFileName, leaseFileNumber, type Recovered, recover } from './recover.ts';
import { replaySegment } from './replay.ts';
import type { SegmentFile } from './segment-file.ts';

const RECORD_BYTES = recordBytes(32 + 1000);

interface Found extends Recovered {
  readonly table: DigestTable;
  readonly lines: readonly LoggedLine[];
}

describe('lease log names', () => {
  it('hold a number, and none for other names', () => {
    for (const number of [1, 26, 0xffffffff]) assert.equal(leaseFileNumber(leaseFileName(number)), number);
    assert.equal(leaseFileName(26), 'leases-0000001a');
    for (const name of ['', 'index', 'leases-1', 'leases-00000001.new']) assert.equal(leaseFileNumber(name), 0);
  });

  it('stand in order of their numbers', () => {
    const names = [9, 10, 255, 256, 70_000].map(leaseFileName);
    assert.deepEqual(names.toSorted(), names);
  });
});

describe('recover', () => {
  let world: SegmentWorld;
  let files: HookedFileSystem;
  let opened: (readonly SegmentFile[])[];

  beforeEach(async () => {
    world = await SegmentWorld.open();
    files = new HookedFileSystem();
    opened = [];
  });
  afterEach(async () => {
    for (const segments of opened) for (const segment of segments) await segment.close();
  });

  const segmentPath = (folder: string, id: number): string =>
    join(folder, 'segments', `${id.toString(16).padStart(8, '0')}.segment`);
  /** Recovers from a folder as a start does; its segments are closed after the test, or by the caller. */
  const recoverFrom = (folder: string, assumedLeaseBytes = 0): Found => {
    const { log, lines } = recordingLog();
    const table = new DigestTable({ seed: 1, expectedRows: 10 });
    const segmentFolder = join(folder, 'segments');
    const recovered = recover({
      ...{ folder: segmentFolder, files, log, table, assumedLeaseBytes, mark: world.parts.core.mark },
      quarantine: new Quarantine(files, join(segmentFolder, 'quarantine')),
      onOpened: (segments) => void opened.push(segments),
    });
    return { ...recovered, table, lines };
  };
  const touchedOf = ({ table }: Found, digest: Digest | undefined): number | undefined => {
    assert.ok(digest);
    const row = table.find(blobKey(digest));
    return row < 0 ? undefined : table.touched(row);
  };
  const has = (found: Found, digest: Digest | undefined): boolean => touchedOf(found, digest) !== undefined;
  /** Data of all records that rows refer to, sorted. Fails if one is not whole. */
  const textsOf = ({ table, segments }: Found): string[] => {
    const texts: string[] = [];
    table.forEachRow((row) => {
      const segment = segments.find(({ id }) => id === table.segment(row));
      const bytes = Buffer.alloc(recordBytes(table.payloadBytes(row)));
      assert.equal(segment?.read(bytes, table.offset(row)), bytes.length);
      const parsed = parseRecord(world.parts.core.mark, bytes);
      assert.ok(!('damage' in parsed));
      texts.push(parsed.data.toString());
    });
    return texts.sort();
  };

  describe('after a crash at any byte', () => {
    for (const [what, hasIndex] of [
      ['with a snapshot', true],
      ['without one', false],
    ] as const) {
      it(`has every record that is whole on disk and nothing else, ${what}`, async () => {
        const folder = world.folder;
        await world.putEntry('overwritten', 'before');
        await world.putEntry('deleted', 'x');
        const fromBytes = world.parts.segments.oldest?.sizeBytes ?? 0;
        if (hasIndex) await world.parts.checkpoints.write(false);
        // What is there after each of these records is whole, and where it ends.
        const states: [number, string[]][] = [];
        const note = (texts: string[]): void => {
          states.push([world.parts.segments.oldest?.sizeBytes ?? 0, texts.sort()]);
        };
        note(['before', 'x']);
        await world.putEntry('new', 'y'.repeat(100));
        note(['before', 'x', 'y'.repeat(100)]);
        await world.putEntry('overwritten', 'after');
        note(['after', 'x', 'y'.repeat(100)]);
        await world.entries.delete('deleted', noAbort());
        note(['after', 'y'.repeat(100)]);
        await world.putEntry('deleted', 'again');
        note(['after', 'again', 'y'.repeat(100)]);
        const copy = world.crashCopy();
        const whole = readFileSync(join(folder, 'segments', '00000001.segment'));
        for (let cut = fromBytes; cut <= whole.length; cut += 8) {
          writeFileSync(segmentPath(copy, 1), whole.subarray(0, cut));
          const found = recoverFrom(copy);
          const [endBytes, texts] = states.findLast(([end]) => end <= cut) ?? [0, []];
          assert.deepEqual(textsOf(found), texts, `${cut} bytes`);
          assert.deepEqual([found.segments[0]?.sizeBytes, found.damagedPlaces], [endBytes, 0], `${cut} bytes`);
          assert.equal(readFileSync(segmentPath(copy, 1)).length, endBytes);
          await found.segments[0]?.close();
          opened = [];
        }
      });
    }

    it('finds nothing to complain about in an empty folder', () => {
      const folder = join(world.folder, 'other');
      files.makeFolder(join(folder, 'segments'));
      const { segments, storeSeconds, nextSequence, replayedRecords, damagedPlaces, leaseFiles, lines } =
        recoverFrom(folder);
      assert.deepEqual([segments, storeSeconds, nextSequence, replayedRecords, damagedPlaces], [[], 0, 1, 0, 0]);
      assert.deepEqual([leaseFiles, lines], [[], []]);
    });
  });

  describe('with a snapshot', () => {
    it('reads only the records behind it, in later segments too', async () => {
      const before = await world.fill(10, 1);
      await world.parts.checkpoints.write(false);
      const after = await world.fill(10, 100);
      const found = recoverFrom(world.crashCopy());
      assert.equal(found.replayedRecords, after.length);
      assert.ok([...before, ...after].every((digest) => has(found, digest)));
      assert.equal(found.nextSequence, 21);
    });

    it('goes on with its time and its numbers, though nothing was written after it', async () => {
      await world.fill(3, 1);
      world.clock.advance(77_000);
      await world.parts.checkpoints.write(true);
      const { storeSeconds, nextSequence, replayedRecords } = recoverFrom(world.crashCopy());
      assert.deepEqual([storeSeconds, nextSequence, replayedRecords], [77, 4, 0]);
    });

    it('lets the later record count: overwritten, deleted and removed after it', async () => {
      for (const key of ['overwritten', 'deleted', 'kept']) await world.putEntry(key, `old ${key}`);
      const [damaged] = await world.fill(1, 1);
      assert.ok(damaged);
      await world.parts.checkpoints.write(false);
      await world.putEntry('overwritten', 'new');
      await world.entries.delete('deleted', noAbort());
      world.putAside(damaged);
      await world.parts.core.close();
      const found = recoverFrom(world.crashCopy());
      assert.deepEqual(textsOf(found), ['new', 'old kept']);
      assert.equal(found.replayedRecords, 3);
    });

    it('drops rows of records that are not there: of segments that are gone, and behind the end of one', async () => {
      const digests = await world.fill(20, 1);
      await world.parts.checkpoints.write(false);
      const copy = world.crashCopy();
      rmSync(segmentPath(copy, 1));
      truncateSync(segmentPath(copy, 2), SEGMENT_HEADER_BYTES + 2 * RECORD_BYTES + 10);
      const found = recoverFrom(copy);
      const kept = digests.filter((digest) => has(found, digest));
      assert.deepEqual(kept, [...digests.slice(7, 9), ...digests.slice(14)]);
    });

    it('does not believe it about what lies behind its position', async () => {
      await world.fill(2, 1);
      // A row enters its page while the snapshot is written, after the position was taken; then its record is damaged.
      let late: Promise<unknown> = Promise.resolve();
      world.files.onceBefore(
        (call, path) => call === 'open' && path.endsWith('index.new'),
        () => {
          const key = Buffer.alloc(32, 7);
          late = world.parts.core.append(
            { kind: 1, isRemoval: false, key, data: Buffer.from('late'), writtenMs: 0 },
            () => undefined,
          );
          world.index.table.add(blobKey({ function: 'sha256', hash: key.toString('hex'), sizeBytes: 4 }), {
            ...{ segment: 1, offset: SEGMENT_HEADER_BYTES + 2 * RECORD_BYTES, payloadBytes: 36, touched: 0 },
          });
        },
      );
      await world.parts.checkpoints.write(false);
      await late;
      const copy = world.crashCopy();
      assert.equal(recoverFrom(copy).table.size, 3);
      flipByte(segmentPath(copy, 1), SEGMENT_HEADER_BYTES + 2 * RECORD_BYTES + 66);
      assert.equal(recoverFrom(copy).table.size, 2);
    });

    for (const [what, lose] of [
      ['shorter than it says', (path: string) => truncateSync(path, SEGMENT_HEADER_BYTES + RECORD_BYTES)],
      ['gone', (path: string) => rmSync(path)],
    ] as const) {
      it(`goes on behind it if the newest segment is ${what}: what is acknowledged then is found again`, async () => {
        await world.fill(5, 1);
        await world.parts.checkpoints.write(true);
        const copy = world.crashCopy();
        lose(segmentPath(copy, 1));
        const again = await SegmentWorld.open({}, copy);
        const digest = await again.put(1000, 100);
        assert.equal(again.index.table.segment(again.rowOf(digest)), 2);
        assert.equal(await (await again.afterCrash()).missing([digest]), 0);
      });
    }

    it('counts what came after it as promised when it was written, and what was before as it says', async () => {
      const [before] = await world.fill(1, 1);
      world.clock.advance(50_000);
      await world.parts.checkpoints.write(false);
      world.clock.advance(5000);
      const [after] = await world.fill(1, 100);
      const found = recoverFrom(world.crashCopy());
      assert.deepEqual([touchedOf(found, before), touchedOf(found, after)], [0, 50]);
    });
  });

  describe('without a snapshot', () => {
    it('takes the newest segments, up to what it is told to, for promised', async () => {
      world.clock.advance(1000);
      const digests = await world.fill(21, 1);
      world.clock.advance(50_000);
      const [newest] = await world.fill(1, 100);
      const sizes = [...world.parts.segments].map(({ sizeBytes }) => sizeBytes);
      const lastTwo = (sizes.at(-1) ?? 0) + (sizes.at(-2) ?? 0);
      for (const [assumedBytes, promised] of [
        [0, 0],
        [lastTwo - 1, 1],
        [lastTwo, 8],
        [1_000_000, 22],
      ] as const) {
        const found = recoverFrom(world.crashCopy(), assumedBytes);
        assert.equal(found.storeSeconds, 51);
        const touched = [...digests, newest].map((digest) => touchedOf(found, digest));
        assert.deepEqual(touched, [...Array(22 - promised).fill(0), ...Array(promised).fill(51)]);
      }
    });

    it('puts a damaged one aside, counts it, and reads all segments', async () => {
      const digests = await world.fill(10, 1);
      await world.parts.checkpoints.write(false);
      const copy = world.crashCopy();
      flipByte(join(copy, 'segments', 'index'), 60);
      const found = recoverFrom(copy);
      assert.deepEqual([found.replayedRecords, found.damagedPlaces], [10, 1]);
      assert.ok(digests.every((digest) => has(found, digest)));
      assert.deepEqual(
        found.lines.map(({ level }) => level),
        ['error'],
      );
      assert.equal(files.list(join(copy, 'segments', 'quarantine')).length, 1);
      assert.equal(recoverFrom(copy).damagedPlaces, 0);
    });

    it('is not before any time that segments and lease logs tell of', async () => {
      const [digest] = await world.fill(1, 1);
      assert.ok(digest);
      world.clock.advance(40_000);
      await world.missing([digest]);
      assert.equal(recoverFrom(world.crashCopy()).storeSeconds, 40);
      world.clock.advance(10_000);
      await world.fill(10, 100);
      assert.equal(recoverFrom(world.crashCopy()).storeSeconds, 50);
    });
  });

  describe('lease logs', () => {
    it('renew what they name, of several logs the latest, and tell of blobs that have files', async () => {
      const [small, other] = await world.fill(2, 1);
      const large = await world.put(5000, 9);
      assert.ok(small && other);
      await world.parts.checkpoints.write(false);
      // Failed checkpoints leave several logs.
      world.files.failOn('EIO', (call, path) => call === 'open' && path.endsWith('index.new'));
      for (let time = 0; time < 3; time++) {
        world.clock.advance(30_000);
        await world.missing([small, large]);
        await world.parts.checkpoints.write(false);
      }
      const found = recoverFrom(world.crashCopy());
      assert.equal(found.leaseFiles.length, 4);
      assert.deepEqual([touchedOf(found, small), touchedOf(found, other)], [90, 0]);
      assert.equal(found.renewals.get(large.hash.slice(0, 16)), 90);
      assert.equal(found.storeSeconds, 90);
    });

    it('never take a promise back', async () => {
      const [digest] = await world.fill(1, 1);
      assert.ok(digest);
      world.clock.advance(30_000);
      await world.missing([digest]);
      const old = world.crashCopy();
      world.clock.advance(30_000);
      await world.missing([digest]);
      await world.parts.checkpoints.write(false);
      const copy = world.crashCopy();
      const [name] = files.list(join(old, 'segments')).filter((each) => each.startsWith('leases'));
      assert.ok(name);
      writeFileSync(join(copy, 'segments', name), readFileSync(join(old, 'segments', name)));
      assert.equal(touchedOf(recoverFrom(copy), digest), 60);
    });
  });

  describe('damage', () => {
    it('passes over damaged records behind the snapshot, keeps all others and says so', async () => {
      const digests = await world.fill(5, 1);
      const copy = world.crashCopy();
      flipByte(segmentPath(copy, 1), SEGMENT_HEADER_BYTES + 2 * RECORD_BYTES + 100);
      const found = recoverFrom(copy);
      assert.deepEqual(
        digests.map((digest) => has(found, digest)),
        [true, true, false, true, true],
      );
      assert.equal(found.damagedPlaces, 1);
      assert.deepEqual(
        found.lines.map(({ level }) => level),
        ['error'],
      );
    });

    it('repairs segment headers, counts them, and loses no record', async () => {
      const digests = await world.fill(20, 1);
      const copy = world.crashCopy();
      for (const id of [1, 3]) flipByte(segmentPath(copy, id), 3);
      const found = recoverFrom(copy);
      assert.equal(found.damagedPlaces, 2);
      assert.ok(digests.every((digest) => has(found, digest)));
      assert.equal(recoverFrom(copy).damagedPlaces, 0);
    });

    it('takes what a crash left of a new segment for none', async () => {
      await world.fill(3, 1);
      const copy = world.crashCopy();
      writeFileSync(segmentPath(copy, 2), 'GANT');
      const { segments, damagedPlaces } = recoverFrom(copy);
      assert.deepEqual([segments.map(({ id }) => id), damagedPlaces], [[1, 2], 0]);
    });
  });

  it('takes a row of an entry by the hash of its key', async () => {
    await world.putEntry('key', 'value');
    const { table, segments } = recoverFrom(world.crashCopy());
    table.forEachRow((row) => assert.equal(table.kind(row), ENTRY_KIND));
    const keys: string[] = [];
    for (const segment of segments) {
      replaySegment(segment, { fromBytes: 0, verifies: true }, ({ key }) => keys.push(key.toString()));
    }
    assert.deepEqual(keys, ['key']);
  });

  it('hands over the segments before it reads, so that whoever opens can close them if it fails', async () => {
    await world.fill(20, 1);
    const copy = world.crashCopy();
    for (const path of ['leases', '00000002.segment']) {
      const before = openTemporaryFiles();
      let isFailing = false;
      files.failOn('EIO', (call, at) => {
        isFailing ||= call === 'open' && at.includes(path);
        return isFailing && call === 'read';
      });
      assert.throws(
        () => recoverFrom(copy),
        (error) => systemCode(error) === 'EIO',
      );
      files.mend();
      for (const segments of opened.splice(0)) for (const segment of segments) await segment.close();
      assert.equal(openTemporaryFiles(), before);
    }
  });
});
