import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openTemporaryFiles, temporaryFolder } from '../../../test/support/temporary-folder.ts';
import { isKind } from '../../errors.ts';
import { TraceRecord } from '../../gen/gantry/v1/trace.ts';
import { type FileSystem, NODE_FILE_SYSTEM } from '../../system/file-system.ts';
import { TraceFile } from './trace-file.ts';
import { decodeFrames } from './trace-frame.ts';

const record = (text: string): TraceRecord => TraceRecord.fromPartial({ event: { $case: 'text', value: text } });

/** The texts of a file of frames. */
function textsIn(path: string): readonly string[] {
  const frames = [...decodeFrames(readFileSync(path))];
  return frames.flat().flatMap(({ event }) => (event?.$case === 'text' ? [event.value] : []));
}

describe('TraceFile', () => {
  function fileFor(maxFileBytes: number, fs: Partial<FileSystem> = {}) {
    const path = join(temporaryFolder(), 'trace');
    const errors: unknown[] = [];
    const onFailed = (error: unknown): void => void errors.push(error);
    return { path, errors, file: new TraceFile({ ...NODE_FILE_SYSTEM, ...fs }, { path, maxFileBytes, onFailed }) };
  }

  it('writes frames in order, and leaves no file open', async () => {
    const { path, file } = fileFor(1e6);
    file.begin();
    for (const text of ['a', 'b', 'c']) file.write([record(text)]);
    assert.equal(file.backlog, 'some');
    await file.close();
    assert.equal(file.backlog, 'none');
    assert.deepEqual(textsIn(path), ['a', 'b', 'c']);
    assert.equal(openTemporaryFiles(), 0);
  });

  it('says when a file is full, and keeps it beside the next', async () => {
    const { path, file } = fileFor(30);
    file.begin();
    file.write([record('first')]);
    await file.idle();
    assert.equal(file.isFull, false);
    file.write([record('second')]);
    await file.idle();
    assert.equal(file.isFull, true);
    file.begin();
    assert.equal(file.isFull, false);
    file.write([record('third')]);
    await file.close();
    assert.deepEqual([textsIn(`${path}.1`), textsIn(path)], [['first', 'second'], ['third']]);
  });

  it('does not take the next file for full because of frames that belong to the one before', async () => {
    const { path, file } = fileFor(1);
    file.begin();
    for (const text of ['a', 'b', 'c']) file.write([record(text)]);
    file.begin();
    await file.idle();
    assert.equal(file.isFull, false);
    await file.close();
    assert.deepEqual([textsIn(`${path}.1`), textsIn(path)], [['a', 'b', 'c'], []]);
  });

  for (const call of ['open', 'writeAsync', 'rename'] as const) {
    it(`writes nothing more once ${call} failed, and says so once`, async () => {
      const failure = (): never => {
        throw Object.assign(new Error('no'), { code: 'EIO' });
      };
      const { path, file, errors } = fileFor(1e6, { [call]: failure });
      file.begin();
      file.write([record('a')]);
      file.begin();
      file.write([record('b')]);
      await file.close();
      assert.equal(file.hasFailed, true);
      assert.equal(errors.length, 1);
      assert.ok(isKind(errors[0], 'unavailable'));
      assert.equal(existsSync(`${path}.1`), false);
      assert.equal(openTemporaryFiles(), 0);
    });
  }
});
