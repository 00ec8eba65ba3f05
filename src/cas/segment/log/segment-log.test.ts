import assert from 'node:assert/strict';
import { deferred, turns } from '../../../../test/support/deferred.ts';
import { ofKind } from '../../../../test/support/expectations.ts';
import { FakeClock } from '../../../../test/support/fake-clock.ts';
import { FaultyFileSystem } from '../../../../test/support/faulty-file-system.ts';
import { HookedFileSystem, systemError } from '../../../../test/support/hooked-file-system.ts';
import { TEST_MARK } from '../../../../test/support/record-mark.ts';
import { temporaryFolder } from '../../../../test/support/temporary-folder.ts';
import { systemCode } from '../../../errors.ts';
import { recordBytes, SEGMENT_HEADER_BYTES } from './format.ts';
import { replaySegment } from './replay.ts';
import { SegmentFile } from './segment-file.ts';
import {
  type CopiedRecord,
  type FreshRecord,
  type LogHost,
  type LogOptions,
  type RecordPlace,
  SegmentLog,
} from './segment-log.ts';

const KEY_BYTES = 32;

describe('SegmentLog', () => {
  let files: FaultyFileSystem;
  let folder: string;
  let segments: SegmentFile[];
  let groups: number[];
  let places: [string, RecordPlace][];

  beforeEach(() => {
    files = new FaultyFileSystem();
    folder = temporaryFolder();
    segments = [];
    groups = [];
    places = [];
  });
  afterEach(async () => {
    for (const segment of segments) await segment.close();
  });

  const create = (): SegmentFile => {
    const segment = SegmentFile.create(files, folder, {
      id: segments.length + 1,
      createdSeconds: 0,
      mark: TEST_MARK,
    });
    segments.push(segment);
    return segment;
  };
  const open = (
    options: Partial<Pick<LogOptions, 'sync' | 'segmentBytes'>> & { onWasted?: LogHost['wasted'] } = {},
  ): SegmentLog => {
    const { onWasted = () => undefined } = options;
    const host = { createSegment: create, syncNames: () => files.syncFolder(folder), wasted: onWasted };
    const events = {
      committed: ({ records }: { records: number }) => groups.push(records),
      evicted: () => undefined,
      refused: () => undefined,
    };
    const { sync = 'group', segmentBytes = 1_000_000 } = options;
    return new SegmentLog(host, create(), { clock: new FakeClock(), events, sync, segmentBytes });
  };
  const fresh = (name: string, dataBytes = 100): FreshRecord => ({
    record: {
      kind: 1,
      isRemoval: false,
      key: Buffer.alloc(KEY_BYTES, name),
      data: Buffer.alloc(dataBytes, name),
      sequence: 1,
      writtenMs: 2,
    },
    committed: (place) => places.push([name, place]),
  });
  const copy = (name: string, options: { isWanted: boolean; skipped?: string[] }): CopiedRecord => ({
    raw: Buffer.alloc(recordBytes(KEY_BYTES + 100)),
    isWanted: () => options.isWanted,
    committed: (place) => places.push([name, place]),
    skipped: () => options.skipped?.push(name),
  });
  const foundIn = (segment: SegmentFile | undefined): string[] => {
    const names: string[] = [];
    assert.ok(segment !== undefined);
    replaySegment(segment, { fromBytes: 0, verifies: true }, ({ key }) => names.push(key.toString('latin1', 0, 1)));
    return names;
  };

  it('writes what comes in one turn as one group, in order, and syncs it once', async () => {
    const log = open();
    files.plan(undefined);
    await Promise.all(['a', 'b', 'c'].map((name) => log.append(fresh(name))));
    assert.deepEqual(groups, [3]);
    // One write, one sync of the data, and once the name of the segment.
    assert.equal(files.calls, 3);
    assert.deepEqual(foundIn(segments[0]), ['a', 'b', 'c']);
    const bytes = recordBytes(KEY_BYTES + 100);
    assert.deepEqual(
      places.map(([name, { offset }]) => [name, offset]),
      [
        ['a', SEGMENT_HEADER_BYTES],
        ['b', SEGMENT_HEADER_BYTES + bytes],
        ['c', SEGMENT_HEADER_BYTES + 2 * bytes],
      ],
    );
  });

  it('gathers what comes while a group is written into the next one', async () => {
    const log = open();
    const first = log.append(fresh('a'));
    await Promise.resolve();
    await Promise.resolve();
    const rest = ['b', 'c'].map((name) => log.append(fresh(name)));
    await Promise.all([first, ...rest]);
    assert.deepEqual(groups, [1, 2]);
  });

  it('writes large and small records of one group alike', async () => {
    const log = open({ segmentBytes: 10_000_000, sync: 'none' });
    const sizes = [1, 20_000, 3, 300_000, 16_384, 16_385, 0];
    await Promise.all(sizes.map((size, at) => log.append(fresh(String(at), size))));
    assert.deepEqual(foundIn(segments[0]), ['0', '1', '2', '3', '4', '5', '6']);
  });

  it('begins a segment when the old one is full', async () => {
    const log = open({ segmentBytes: 1000 });
    for (const name of 'abcdefg') await log.append(fresh(name));
    assert.deepEqual(segments.map(foundIn), [
      ['a', 'b', 'c', 'd', 'e'],
      ['f', 'g'],
    ]);
    assert.ok(segments.every(({ sizeBytes }) => sizeBytes <= 1000));
  });

  it('writes copies in groups of their own, and only those still wanted then', async () => {
    const log = open();
    const skipped: string[] = [];
    await Promise.all([
      log.append(fresh('a')),
      log.append(copy('b', { isWanted: true, skipped })),
      log.append(copy('c', { isWanted: false, skipped })),
      log.append(fresh('d')),
    ]);
    assert.deepEqual(
      places.map(([name]) => name),
      ['a', 'b', 'd'],
    );
    assert.deepEqual(groups, [1, 1, 1]);
    assert.deepEqual(skipped, ['c']);
  });

  it('rejects a group that cannot be written, cuts it off, and goes on', async () => {
    const log = open();
    await log.append(fresh('a'));
    files.plan({ atCall: 1, lasts: 'once', code: 'ENOSPC' });
    const failed = await Promise.allSettled([log.append(fresh('b')), log.append(fresh('c'))]);
    assert.ok(failed.every((result) => result.status === 'rejected' && ofKind('quota-exceeded')(result.reason)));
    await log.append(fresh('d'));
    assert.deepEqual(foundIn(segments[0]), ['a', 'd']);
    assert.deepEqual(
      places.map(([name]) => name),
      ['a', 'd'],
    );
  });

  it('does not continue a segment whose sync failed: the device may have lost any of it', async () => {
    const log = open();
    await log.append(fresh('a'));
    files.plan({ atCall: 2, lasts: 'once', code: 'EIO' });
    await assert.rejects(log.append(fresh('b')), ofKind('unavailable'));
    await log.append(fresh('c'));
    assert.deepEqual(segments.map(foundIn), [['a'], ['c']]);
  });

  it('acknowledges nothing in a segment whose name is not on the device', async () => {
    const log = open();
    await log.roll();
    // Write and sync of the data succeed, the sync of the folder does not.
    files.plan({ atCall: 3, lasts: 'once', code: 'EIO' });
    await assert.rejects(log.append(fresh('a')), ofKind('unavailable'));
    assert.deepEqual(places, []);
    await log.append(fresh('b'));
    assert.deepEqual(foundIn(segments[2]), ['b']);
  });

  it('syncs all that was left unsynced when it is told to', async () => {
    const log = open({ sync: 'none', segmentBytes: 1000 });
    for (const name of 'abcdefg') await log.append(fresh(name));
    files.plan(undefined);
    await log.syncAll();
    // Two segments and their names.
    assert.equal(files.calls, 3);
    await log.syncAll();
    assert.equal(files.calls, 3);
  });

  describe('while a sync is under way', () => {
    let hooked: HookedFileSystem;

    beforeEach(() => {
      hooked = new HookedFileSystem();
      files = hooked;
    });

    it('acknowledges nothing in a segment that is begun then before its name is synced, too', async () => {
      const log = open({ segmentBytes: 1000 });
      const names = deferred();
      const data = deferred();
      let isFull = false;
      let nameSyncs = 0;
      hooked.before = (call) => {
        if (call === 'fdatasync' && isFull) return data.promise;
        return call === 'fsync' && ++nameSyncs === 1 ? names.promise : undefined;
      };
      const syncing = log.syncAll();
      for (const name of 'abcde') await log.append(fresh(name));
      isFull = true;
      const next = log.append(fresh('f'));
      await turns(2);
      assert.equal(segments.length, 2);
      names.resolve();
      await syncing;
      data.resolve();
      await next;
      assert.equal(nameSyncs, 3);
    });

    it('has synced nothing for a second caller before the first is through', async () => {
      const log = open({ sync: 'none' });
      await log.append(fresh('a'));
      const device = deferred();
      hooked.before = (call) => (call === 'fdatasync' ? device.promise : undefined);
      let isDone = false;
      const both = [
        log.syncAll(),
        log.syncAll().then(() => {
          isDone = true;
        }),
      ];
      await turns(2);
      assert.equal(isDone, false);
      device.resolve();
      await Promise.all(both);
    });

    it('has nothing to sync any more of a segment that is retired then, though its sync fails', async () => {
      const log = open({ sync: 'none', segmentBytes: 1000 });
      for (const name of 'abcdef') await log.append(fresh(name));
      const device = deferred();
      hooked.before = (call) => {
        if (call !== 'fdatasync') return undefined;
        return device.promise.then(() => Promise.reject(systemError('EIO')));
      };
      const syncing = log.syncAll();
      await turns(2);
      const retired = segments.shift();
      assert.ok(retired);
      log.forget(retired);
      const retiring = retired.retire();
      device.resolve();
      await assert.rejects(syncing, (error) => systemCode(error) === 'EIO');
      await retiring;
      hooked.mend();
      await log.syncAll();
    });
  });

  it('counts what a failed group left as garbage if it cannot be cut off, and goes on in another segment', async () => {
    let wastedBytes = 0;
    const hooked = new HookedFileSystem();
    files = hooked;
    const log = open({
      onWasted: (bytes) => {
        wastedBytes += bytes;
      },
    });
    await log.append(fresh('a'));
    hooked.failOn('EIO', (call) => call === 'fdatasync' || call === 'ftruncate');
    await assert.rejects(log.append(fresh('b')), ofKind('unavailable'));
    hooked.mend();
    await log.append(fresh('c'));
    assert.equal(wastedBytes, recordBytes(KEY_BYTES + 100));
    assert.deepEqual(
      places.map(([name, { segment }]) => [name, segment]),
      [
        ['a', 1],
        ['c', 2],
      ],
    );
  });
});
