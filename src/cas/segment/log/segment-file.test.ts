import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deferred, turns } from '../../../../test/support/deferred.ts';
import { HookedFileSystem, systemError } from '../../../../test/support/hooked-file-system.ts';
import { TEST_MARK } from '../../../../test/support/record-mark.ts';
import { flipByte } from '../../../../test/support/segment-world.ts';
import { openTemporaryFiles, temporaryFolder } from '../../../../test/support/temporary-folder.ts';
import { BugError, systemCode } from '../../../errors.ts';
import { decodeSegmentHeader, encodeSegmentHeader, SEGMENT_HEADER_BYTES } from './format.ts';
import { FILE_OVERHEAD_BYTES, SegmentFile, segmentIdOf } from './segment-file.ts';

const ID = 0x1a;
const CREATED = 77;
const HEADER = { id: ID, createdSeconds: CREATED, mark: TEST_MARK };

function withCode(code: string): (error: unknown) => boolean {
  return (error) => systemCode(error) === code;
}

describe('segmentIdOf', () => {
  for (const [name, id] of [
    ['00000001.segment', 1],
    ['0000001a.segment', 26],
    ['ffffffff.segment', 0xffffffff],
    ['1.segment', undefined],
    ['0000001A.segment', undefined],
    ['00000001.segment.new', undefined],
    ['x00000001.segment', undefined],
    ['index', undefined],
  ] as const) {
    it(`knows ${name} as ${id ?? 'another file'}`, () => {
      assert.equal(segmentIdOf(name), id);
    });
  }
});

describe('SegmentFile', () => {
  let files: HookedFileSystem;
  let folder: string;
  let path: string;
  let opened: SegmentFile[];
  let openBefore: number;

  beforeEach(() => {
    openBefore = openTemporaryFiles();
    files = new HookedFileSystem();
    folder = temporaryFolder();
    path = join(folder, '0000001a.segment');
    opened = [];
  });
  afterEach(async () => {
    for (const segment of opened) await segment.close();
    assert.equal(openTemporaryFiles(), openBefore);
  });

  const keep = (segment: SegmentFile): SegmentFile => {
    opened.push(segment);
    return segment;
  };
  /** What its test closes, or retires, itself. */
  const createLoose = (): SegmentFile => SegmentFile.create(files, folder, HEADER);
  const create = (): SegmentFile => keep(createLoose());
  const open = (): ReturnType<typeof SegmentFile.open> => {
    const result = SegmentFile.open(files, folder, ID, TEST_MARK);
    keep(result.segment);
    return result;
  };
  const append = (segment: SegmentFile, text: string): void => {
    segment.write([Buffer.from(text)]);
    segment.extend(text.length);
  };
  const textAt = (segment: SegmentFile, position: number, bytes: number): string => {
    const into = Buffer.alloc(bytes);
    return into.toString('latin1', 0, segment.read(into, position));
  };

  describe('creating and opening', () => {
    it('makes a file named after its number that begins with a header', () => {
      const segment = create();
      assert.deepEqual(decodeSegmentHeader(readFileSync(path)), HEADER);
      assert.equal(segment.sizeBytes, SEGMENT_HEADER_BYTES);
      assert.equal(segment.diskBytes, SEGMENT_HEADER_BYTES + FILE_OVERHEAD_BYTES);
    });

    it('never writes over a file that exists', () => {
      writeFileSync(path, 'precious');
      assert.throws(createLoose, withCode('EEXIST'));
      assert.equal(readFileSync(path, 'latin1'), 'precious');
    });

    it('leaves neither a file nor a descriptor behind when its header cannot be written', () => {
      files.failOn('ENOSPC', (call) => call === 'write');
      assert.throws(createLoose, withCode('ENOSPC'));
      assert.equal(existsSync(path), false);
    });

    it('reports the first error if the half-made file cannot be removed either', () => {
      files.before = (call) => {
        if (call === 'write') throw systemError('ENOSPC');
        if (call === 'unlink') throw systemError('EIO');
        return undefined;
      };
      assert.throws(createLoose, withCode('ENOSPC'));
    });

    it('knows size and creation of one that exists', () => {
      append(create(), 'records');
      const { segment, isDamaged } = open();
      const { id, createdSeconds, sizeBytes } = segment;
      assert.deepEqual([id, createdSeconds, sizeBytes, isDamaged], [ID, CREATED, SEGMENT_HEADER_BYTES + 7, false]);
    });

    for (const [what, damage] of [
      ['with a changed byte', () => flipByte(path, 17)],
      ['with other bytes', () => writeFileSync(path, `${'x'.repeat(SEGMENT_HEADER_BYTES)}records`)],
      [
        'of another segment',
        () => writeFileSync(path, Buffer.concat([encodeSegmentHeader({ ...HEADER, id: 3 }), Buffer.from('records')])),
      ],
    ] as const) {
      it(`repairs a header ${what}, says so, and keeps the records`, () => {
        append(create(), 'records');
        damage();
        const { segment, isDamaged } = open();
        assert.deepEqual([isDamaged, segment.createdSeconds], [true, 0]);
        assert.equal(textAt(segment, SEGMENT_HEADER_BYTES, 100), 'records');
        assert.deepEqual(decodeSegmentHeader(readFileSync(path)), { ...HEADER, createdSeconds: 0 });
        assert.equal(open().isDamaged, false);
      });
    }

    for (const bytes of [0, 1, SEGMENT_HEADER_BYTES - 1]) {
      it(`takes a header of ${bytes} bytes for what a crash leaves, and no damage`, () => {
        writeFileSync(path, encodeSegmentHeader(HEADER).subarray(0, bytes));
        const { segment, isDamaged } = open();
        assert.deepEqual([isDamaged, segment.sizeBytes], [false, SEGMENT_HEADER_BYTES]);
        assert.equal(readFileSync(path).length, SEGMENT_HEADER_BYTES);
      });
    }

    it('leaves no descriptor behind when it cannot read or repair the header', () => {
      writeFileSync(path, 'rubbish');
      for (const failing of ['read', 'write']) {
        files.failOn('EIO', (call) => call === failing);
        assert.throws(() => SegmentFile.open(files, folder, ID, TEST_MARK), withCode('EIO'));
      }
    });
  });

  describe('writing', () => {
    it('has its end where it was told to, so that what a failed write left is overwritten', async () => {
      const segment = create();
      append(segment, 'first');
      segment.write([Buffer.from('given up, and long')]);
      assert.equal(segment.sizeBytes, SEGMENT_HEADER_BYTES + 5);
      await segment.writeAsync([Buffer.from('sec'), Buffer.from('ond')]);
      await segment.sync();
      segment.extend(6);
      assert.equal(textAt(segment, SEGMENT_HEADER_BYTES, 11), 'firstsecond');
      assert.equal(segment.diskBytes, SEGMENT_HEADER_BYTES + 11 + FILE_OVERHEAD_BYTES);
    });

    it('cuts off what is behind an end', () => {
      const segment = create();
      append(segment, 'kept, cut');
      segment.cutOff(SEGMENT_HEADER_BYTES + 4);
      assert.equal(readFileSync(path).length, segment.sizeBytes);
      assert.equal(textAt(segment, SEGMENT_HEADER_BYTES, 100), 'kept');
    });

    it('ends there also if the file cannot be cut', () => {
      const segment = create();
      append(segment, 'kept, cut');
      files.failOn('EIO', (call) => call === 'ftruncate');
      assert.throws(() => segment.cutOff(SEGMENT_HEADER_BYTES + 4), withCode('EIO'));
      assert.equal(segment.sizeBytes, SEGMENT_HEADER_BYTES + 4);
      append(segment, '!');
      assert.equal(textAt(segment, SEGMENT_HEADER_BYTES, 5), 'kept!');
    });
  });

  describe('retiring', () => {
    it('removes the file', async () => {
      await createLoose().retire();
      assert.equal(existsSync(path), false);
    });

    it('removes the name at once and ends when the last reader has, who can read on', async () => {
      const segment = createLoose();
      append(segment, 'records');
      segment.pin();
      segment.pin();
      let isRetired = false;
      const retiring = segment.retire().then(() => {
        isRetired = true;
      });
      segment.unpin();
      await turns(2);
      assert.deepEqual([existsSync(path), isRetired], [false, false]);
      const into = Buffer.alloc(7);
      await segment.readAsync(into, SEGMENT_HEADER_BYTES);
      assert.equal(into.toString(), 'records');
      segment.unpin();
      await retiring;
    });

    it('does not mind that someone else has removed the file', async () => {
      const segment = createLoose();
      rmSync(path);
      await segment.retire();
    });

    it('stays as it is if the file cannot be removed, and can be retired later', async () => {
      const segment = createLoose();
      append(segment, 'records');
      files.failOn('EIO', (call) => call === 'unlink');
      await assert.rejects(segment.retire(), withCode('EIO'));
      segment.pin();
      assert.equal(textAt(segment, SEGMENT_HEADER_BYTES, 7), 'records');
      segment.unpin();
      files.mend();
      await segment.retire();
      assert.equal(existsSync(path), false);
    });

    it('closes without removing, also only when readers have ended', async () => {
      const segment = createLoose();
      segment.pin();
      const closed = deferred();
      const closing = segment.close().then(closed.resolve);
      assert.equal(openTemporaryFiles(), openBefore + 1);
      segment.unpin();
      await closing;
      assert.ok(existsSync(path));
    });
  });

  describe('notices bugs of its users', () => {
    it('a read that waits without a pin', () => {
      assert.throws(() => create().readAsync(Buffer.alloc(1), 0), BugError);
    });

    it('an unpin too many', () => {
      const segment = create();
      assert.throws(() => segment.unpin(), BugError);
      segment.pin();
    });

    it('a reader that comes after it was retired, and a second retirement', async () => {
      const segment = createLoose();
      await segment.retire();
      assert.throws(() => segment.pin(), BugError);
      await assert.rejects(segment.retire(), BugError);
    });
  });
});
