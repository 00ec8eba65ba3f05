import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FaultyFileSystem } from '../../test/support/faulty-file-system.ts';
import { openTemporaryFiles, temporaryFolder } from '../../test/support/temporary-folder.ts';
import { isKind, ReapiError } from '../errors.ts';
import { collect } from './byte-stream.ts';
import { FileReader, type FileReading, ownedHandle } from './file-reader.ts';
import { NODE_FILE_SYSTEM } from './file-system.ts';

const NEVER = new AbortController().signal;
const SIZE = 600_000;
const CONTENT = Buffer.alloc(SIZE, 'some content ');

function reader(reading: Partial<FileReading> = {}, signal = NEVER, files = NODE_FILE_SYSTEM): FileReader {
  const path = join(temporaryFolder(), 'file');
  writeFileSync(path, CONTENT);
  const fd = files.open(path, 'read');
  return new FileReader(files, ownedHandle(files, fd), { startBytes: 0, endBytes: SIZE, ...reading }, signal);
}

describe('FileReader', () => {
  afterEach(() => assert.equal(openTemporaryFiles(), 0));

  it('gives exactly the range, and closes the file with the last chunk', async () => {
    const bytes = await collect(reader({ startBytes: 5, endBytes: 500_001 }), SIZE);
    assert.equal(Buffer.compare(bytes, CONTENT.subarray(5, 500_001)), 0);
  });

  it('closes the file at once for an empty range and for an aborted signal', async () => {
    const empty = reader({ startBytes: SIZE });
    assert.equal(openTemporaryFiles(), 0);
    assert.equal((await empty.next()).done, true);
    const aborted = reader({}, AbortSignal.abort());
    assert.equal(openTemporaryFiles(), 0);
    await assert.rejects(aborted.next(), (error) => isKind(error, 'cancelled'));
  });

  it('shows chunks to inspect before the consumer, and marks the last', async () => {
    const seen: boolean[] = [];
    await collect(reader({ inspect: (_, isLast) => seen.push(isLast) }), SIZE);
    assert.deepEqual(seen, [false, false, true]);
  });

  it('hands out no chunk that inspect refuses, and tells of the damage once', async () => {
    const damages: ReapiError[] = [];
    const refused = new ReapiError('data-loss', 'refused');
    const inspect = (): void => {
      throw refused;
    };
    const stream = reader({ inspect, onDamage: (error) => damages.push(error) });
    await assert.rejects(stream.next(), refused);
    assert.equal((await stream.next()).done, true);
    assert.deepEqual(damages, [refused]);
  });

  it('releases a handle that others share exactly once, on whichever path it ends', async () => {
    const path = join(temporaryFolder(), 'file');
    writeFileSync(path, CONTENT);
    const fd = NODE_FILE_SYSTEM.open(path, 'read');
    let released = 0;
    const abort = new AbortController();
    const handle = { fd, release: () => released++ };
    const bounds = { startBytes: 0, endBytes: SIZE };
    const read = new FileReader(NODE_FILE_SYSTEM, handle, bounds, abort.signal);
    await collect(read, SIZE);
    assert.equal(released, 1);
    const left = new FileReader(NODE_FILE_SYSTEM, handle, bounds, abort.signal);
    abort.abort();
    assert.equal(released, 2);
    await left.return();
    await assert.rejects(left.next(), (error) => isKind(error, 'cancelled'));
    assert.equal(released, 2);
    assert.equal(openTemporaryFiles(), 1);
    NODE_FILE_SYSTEM.close(fd);
  });

  it('reports a file that ends too early, or cannot be read, as data-loss', async () => {
    const short = reader({ startBytes: 10, endBytes: SIZE + 1 });
    await assert.rejects(collect(short, SIZE), (error) => isKind(error, 'data-loss'));
    const files = new FaultyFileSystem();
    const broken = reader({}, NEVER, files);
    files.plan({ atCall: 1, lasts: 'once', code: 'EIO' });
    await assert.rejects(collect(broken, SIZE), (error) => isKind(error, 'data-loss'));
  });

  it('gives all bytes although closing the file reports an error', async () => {
    const files = new FaultyFileSystem();
    const stream = reader({}, NEVER, files);
    files.plan({ atCall: 4, lasts: 'once', code: 'EIO' });
    assert.equal((await collect(stream, SIZE)).length, SIZE);
    assert.equal(files.calls, 4);
  });

  it('closes the file after a read that is under way when the consumer stops or the signal aborts', async () => {
    const stopped = reader();
    const pending = stopped.next();
    await stopped.return();
    assert.equal(openTemporaryFiles(), 1);
    await pending;
    assert.equal(openTemporaryFiles(), 0);

    const abort = new AbortController();
    const damages: ReapiError[] = [];
    const aborted = reader({ onDamage: (error) => damages.push(error) }, abort.signal);
    const reading = aborted.next();
    abort.abort();
    await assert.rejects(reading, (error) => isKind(error, 'cancelled'));
    assert.deepEqual(damages, []);
  });
});
