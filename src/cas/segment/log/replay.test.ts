import assert from 'node:assert/strict';
import fc from 'fast-check';
import { TEST_MARK } from '../../../../test/support/record-mark.ts';
import { temporaryFolder } from '../../../../test/support/temporary-folder.ts';
import { type FileSystem, NODE_FILE_SYSTEM } from '../../../system/file-system.ts';
import { RECORD_HEADER_BYTES, RecordMark, recordBytes, SEGMENT_HEADER_BYTES, writeRecordStart } from './format.ts';
import { type ReplayedSegment, replaySegment } from './replay.ts';
import { SegmentFile } from './segment-file.ts';

/** The best a client can do who knows the layout: even the first half of the mark is right. */
const GUESSED_MARK = new RecordMark(Buffer.from('GRECgues'));

function record(dataBytes: number, at = 0, mark = TEST_MARK): Buffer {
  const data = Buffer.alloc(dataBytes, at + 1);
  const bytes = Buffer.alloc(recordBytes(1 + dataBytes));
  const start = { kind: 1, isRemoval: false, key: Buffer.of(at), data, sequence: at, writtenMs: 0 };
  data.copy(bytes, writeRecordStart(mark, start, bytes, 0));
  return bytes;
}

function replay(
  bytes: Buffer,
  options = { verifies: true },
  files: FileSystem = NODE_FILE_SYSTEM,
): ReplayedSegment & { readonly found: number[] } {
  const segment = SegmentFile.create(files, temporaryFolder(), {
    id: 1,
    createdSeconds: 0,
    mark: TEST_MARK,
  });
  segment.write([bytes]);
  segment.extend(bytes.length);
  const found: number[] = [];
  const result = replaySegment(segment, { fromBytes: 0, ...options }, ({ key }) => found.push(key[0] ?? -1));
  segment.close();
  return { ...result, found };
}

describe('replaySegment', () => {
  it('finds all records of a whole segment, of all sizes, across what it reads at a time', () => {
    const sizes = [0, 1, 1_000_000, 7, 1_048_576, 2_000_000, 3];
    const { found, endBytes, damagedPlaces } = replay(Buffer.concat(sizes.map((size, at) => record(size, at))));
    assert.deepEqual(found, [0, 1, 2, 3, 4, 5, 6]);
    assert.equal(damagedPlaces, 0);
    assert.equal(
      endBytes,
      sizes.reduce((sum, size) => sum + recordBytes(1 + size), SEGMENT_HEADER_BYTES),
    );
  });

  it('stops at a torn end, wherever it is torn, and counts no damage', () => {
    const whole = Buffer.concat([record(100), record(100, 1)]);
    for (let cut = record(100).length; cut < whole.length - 8; cut++) {
      const { found, endBytes, damagedPlaces } = replay(whole.subarray(0, cut));
      assert.deepEqual([found, damagedPlaces], [[0], 0], `${cut} bytes`);
      assert.equal(endBytes, SEGMENT_HEADER_BYTES + record(100).length);
    }
  });

  it('takes zeros and old bytes behind the end for none', () => {
    assert.deepEqual(replay(Buffer.concat([record(10), Buffer.alloc(3_000_000)])).found, [0]);
    assert.deepEqual(replay(Buffer.concat([record(10), Buffer.alloc(4000, 'GREC')])).found, [0]);
    assert.deepEqual(replay(Buffer.alloc(0)).found, []);
  });

  it('law: one damaged record hides no other, and is noticed if others follow', () => {
    const sizes = [20, 0, 300, 5000, 64];
    const records = sizes.map((size, at) => record(size, at));
    fc.assert(
      fc.property(fc.nat(sizes.length - 1), fc.nat(), fc.integer({ min: 1, max: 255 }), (which, where, mask) => {
        const rotten = Buffer.from(records[which] ?? '');
        const payloadEnd = RECORD_HEADER_BYTES + 1 + (sizes[which] ?? 0);
        const at = where % payloadEnd;
        rotten[at] = (rotten[at] ?? 0) ^ mask;
        const { found, damagedPlaces } = replay(Buffer.concat(records.with(which, rotten)));
        assert.deepEqual(
          found,
          [0, 1, 2, 3, 4].filter((each) => each !== which),
        );
        assert.equal(damagedPlaces, which === sizes.length - 1 ? 0 : 1);
      }),
    );
  });

  it('trusts the data, and only that, if it is told not to verify', () => {
    const rotten = record(1000, 1);
    rotten[500] = 0;
    const bytes = Buffer.concat([record(10), rotten, record(10, 2)]);
    assert.deepEqual(replay(bytes).found, [0, 2]);
    assert.deepEqual(replay(bytes, { verifies: false }).found, [0, 1, 2]);
  });

  describe('a damaged blob that contains what looks like records', () => {
    /** A record with that data, damaged in its header, so that its data is searched. */
    const damagedWith = (data: Buffer): Buffer => {
      const bytes = record(data.length);
      data.copy(bytes, RECORD_HEADER_BYTES + 1 + 7);
      bytes[8] = 7;
      return bytes;
    };

    it('has none of them taken for one', () => {
      const { found, damagedPlaces } = replay(Buffer.concat([damagedWith(record(50, 9, GUESSED_MARK)), record(10, 1)]));
      assert.deepEqual([found, damagedPlaces], [[1], 1]);
    });

    it('is searched in one go, however many there are and however long they say they are', () => {
      // Each says that it takes most of the segment, and begins where the search may find it.
      const header = record(900_000, 9, GUESSED_MARK).subarray(0, RECORD_HEADER_BYTES);
      const bytes = Buffer.concat([damagedWith(Buffer.alloc(300_000, header)), record(2_000_000, 1)]);
      let readBytes = 0;
      const files: FileSystem = {
        ...NODE_FILE_SYSTEM,
        read: (fd, into, position) => {
          const count = NODE_FILE_SYSTEM.read(fd, into, position);
          readBytes += count;
          return count;
        },
      };
      const { found } = replay(bytes, { verifies: true }, files);
      assert.deepEqual(found, [1]);
      assert.ok(readBytes < 2 * bytes.length, `${readBytes} bytes`);
    });
  });
});
