import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HookedFileSystem } from '../../../test/support/hooked-file-system.ts';
import { TEST_MARK } from '../../../test/support/record-mark.ts';
import { openTemporaryFiles, temporaryFolder } from '../../../test/support/temporary-folder.ts';
import { systemCode } from '../../errors.ts';
import { SystemRandom } from '../../system/random.ts';
import { SegmentFile } from './log/segment-file.ts';
import { openMark } from './mark-file.ts';

describe('openMark', () => {
  let files: HookedFileSystem;
  let folder: string;
  let path: string;

  beforeEach(() => {
    files = new HookedFileSystem();
    folder = temporaryFolder();
    path = join(folder, 'mark');
  });

  const open = async (where = folder): Promise<string> =>
    (await openMark(files, where, new SystemRandom())).bytes.toString('hex');
  const createSegment = async (id: number): Promise<void> =>
    SegmentFile.create(files, folder, { id, createdSeconds: 0, mark: TEST_MARK }).close();
  const testMark = TEST_MARK.bytes.toString('hex');

  it('makes one for a new store, another one for each, and finds it again', async () => {
    const mark = await open();
    assert.match(mark, /^[0-9a-f]{16}$/);
    assert.equal(readFileSync(path, 'latin1'), mark);
    assert.deepEqual([await open(), readdirSync(folder)], [mark, ['mark']]);
    assert.notEqual(await open(temporaryFolder()), mark);
  });

  for (const [what, damage] of [
    ['empty', ''],
    ['too short', '0123456789abcde'],
    ['too long', '0123456789abcdef0'],
    ['no hex', '0123456789abcdeg'],
  ] as const) {
    it(`takes that of the segments if its file is ${what}, and writes it anew`, async () => {
      await createSegment(1);
      writeFileSync(path, damage);
      assert.deepEqual([await open(), readFileSync(path, 'latin1')], [testMark, testMark]);
    });
  }

  it('takes that of the first segment that still has one if its file is gone', async () => {
    for (const id of [1, 2, 3]) await createSegment(id);
    writeFileSync(join(folder, '00000001.segment'), 'rubbish');
    writeFileSync(join(folder, '00000002.segment'), '');
    assert.equal(await open(), testMark);
  });

  it('believes its file rather than a segment', async () => {
    const mark = await open();
    await createSegment(1);
    assert.equal(await open(), mark);
  });

  it('is on the device under its name before the store goes on', async () => {
    const calls: string[] = [];
    files.before = (call) => void calls.push(call);
    await open();
    assert.deepEqual(calls.slice(-4), ['write', 'fdatasync', 'rename', 'fsync']);
  });

  it('leaves no half file and no descriptor when it fails, and succeeds at the next attempt', async () => {
    const before = openTemporaryFiles();
    for (const failing of ['open', 'write', 'fdatasync', 'rename'] as const) {
      files.failOn('EIO', (call) => call === failing);
      await assert.rejects(open(), (error) => systemCode(error) === 'EIO');
      assert.deepEqual([existsSync(path), openTemporaryFiles()], [false, before], failing);
    }
    files.mend();
    const mark = await open();
    assert.deepEqual([readFileSync(path, 'latin1'), readdirSync(folder)], [mark, ['mark']]);
  });

  it('reports a file that cannot be read: another mark would lose what damage hides', async () => {
    await open();
    const before = openTemporaryFiles();
    files.failOn('EIO', (call) => call === 'read');
    await assert.rejects(open(), (error) => systemCode(error) === 'EIO');
    assert.equal(openTemporaryFiles(), before);
  });
});
