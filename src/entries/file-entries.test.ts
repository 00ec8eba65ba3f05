import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FaultyFileSystem } from '../../test/support/faulty-file-system.ts';
import { openTemporaryFiles, temporaryFolder } from '../../test/support/temporary-folder.ts';
import { encodeRecord, pathOfEntry, writeFileEntry } from '../../test/support/version-1-entries.ts';
import { isKind, ReapiError, throwIfAborted } from '../errors.ts';
import { type FileSystem, NODE_FILE_SYSTEM } from '../system/file-system.ts';
import { NO_LOG } from '../system/log.ts';
import { type EntryImport, migrateFileEntries } from './file-entries.ts';

const NEVER = new AbortController().signal;
const WRITTEN_MS = Date.parse('2026-01-01');

/** What was put, in order; refuses keys that are told to fail. */
class Target implements EntryImport {
  readonly entries: [string, string, number][] = [];
  refuse: (key: string) => ReapiError | undefined = () => undefined;

  async putWritten(key: string, value: Uint8Array, writtenMs: number, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    const error = this.refuse(key);
    if (error !== undefined) throw error;
    this.entries.push([key, Buffer.from(value).toString(), writtenMs]);
  }

  get keys(): readonly string[] {
    return this.entries.map(([key]) => key);
  }
}

function migrate(folder: string, into: EntryImport, files: FileSystem = NODE_FILE_SYSTEM): Promise<number> {
  return migrateFileEntries(folder, into, { files, log: NO_LOG, signal: NEVER, onProgress: () => undefined });
}

/** A folder as version 1 left it, with entries of which later keys are older. */
function versionOne(keys: readonly string[]): string {
  const folder = join(temporaryFolder(), 'entries');
  for (const name of ['files', 'tmp', 'quarantine']) mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, 'format'), '{"format":"gantry-files","version":1}\n');
  writeFileSync(join(folder, 'tmp', '7'), 'half an entry');
  for (const [at, key] of keys.entries()) {
    writeFileEntry(folder, key, Buffer.from(`value of ${key}`), WRITTEN_MS - at * 1000);
  }
  return folder;
}

describe('migrateFileEntries', () => {
  it('moves all entries with their times, the oldest first, and removes the folder', async () => {
    const folder = versionOne(['a', 'b', 'c']);
    const into = new Target();
    const progress: number[][] = [];
    const onProgress = (...each: number[]): unknown => progress.push(each);
    assert.equal(
      await migrateFileEntries(folder, into, { files: NODE_FILE_SYSTEM, log: NO_LOG, signal: NEVER, onProgress }),
      3,
    );
    assert.deepEqual(into.entries, [
      ['c', 'value of c', WRITTEN_MS - 2000],
      ['b', 'value of b', WRITTEN_MS - 1000],
      ['a', 'value of a', WRITTEN_MS],
    ]);
    assert.deepEqual(progress, [[3, 3]]);
    assert.equal(existsSync(folder), false);
    assert.equal(await migrate(folder, into), 0);
  });

  it('puts many in batches that stay in order', async () => {
    const keys = Array.from({ length: 600 }, (_, at) => `key ${at}`);
    const into = new Target();
    assert.equal(await migrate(versionOne(keys), into), 600);
    assert.deepEqual(into.keys, keys.toReversed());
  });

  const damages: readonly (readonly [string, (path: string, folder: string) => void])[] = [
    ['cut short', (path) => truncateSync(path, 20)],
    ['empty', (path) => truncateSync(path, 0)],
    ['huge', (path) => truncateSync(path, 9 * 1024 * 1024)],
    ['no entry at all', (path) => writeFileSync(path, 'x'.repeat(100))],
    ['of a bad checksum', (path) => writeFileSync(path, encodeRecord('bad', Buffer.of(1)).fill(7, 20, 21))],
    ['under a wrong name', (path) => renameSync(path, `${path.slice(0, -1)}x`)],
  ];
  for (const [what, damage] of damages) {
    it(`leaves out a file that is ${what}, and takes the others over`, async () => {
      const folder = versionOne(['good']);
      damage(writeFileEntry(folder, 'bad', Buffer.from('value'), WRITTEN_MS - 9000), folder);
      const into = new Target();
      assert.equal(await migrate(folder, into), 1);
      assert.deepEqual(into.keys, ['good']);
      assert.equal(existsSync(folder), false);
    });
  }

  it('drops an entry the store finds too large; any other refusal ends it with the entry still there', async () => {
    const folder = versionOne(['a', 'large', 'refused']);
    const into = new Target();
    into.refuse = (key) => {
      if (key === 'large') return new ReapiError('too-large', 'no');
      return key === 'refused' ? new ReapiError('quota-exceeded', 'not now') : undefined;
    };
    await assert.rejects(migrate(folder, into), (error) => isKind(error, 'quota-exceeded'));
    assert.equal(existsSync(pathOfEntry(folder, 'refused')), true);
    into.refuse = (key) => (key === 'large' ? new ReapiError('too-large', 'no') : undefined);
    await migrate(folder, into);
    assert.deepEqual(new Set(into.keys), new Set(['a', 'refused']));
    assert.equal(existsSync(folder), false);
  });

  it('goes on after it ended anywhere, without losing an entry', async () => {
    for (const code of ['EACCES', 'EMFILE']) {
      const files = new FaultyFileSystem();
      let atCall = 0;
      for (let hasFailed = true; hasFailed; ) {
        const folder = versionOne(['a', 'b', 'c']);
        const into = new Target();
        files.plan({ atCall: ++atCall, lasts: 'always', code });
        const [result] = await Promise.allSettled([migrate(folder, into, files)]);
        hasFailed = files.calls >= atCall;
        if (result.status === 'rejected') assert.ok(isKind(result.reason, 'unavailable'));
        assert.equal(openTemporaryFiles(), 0);
        await migrate(folder, into);
        assert.deepEqual(new Set(into.keys), new Set(['a', 'b', 'c']));
        assert.equal(existsSync(folder), false);
      }
      assert.ok(atCall > 10);
    }
  });

  it('goes on where removing the folder was interrupted', async () => {
    const folder = versionOne([]);
    for (const name of readdirSync(folder).filter((each) => each !== 'files')) {
      renameSync(join(folder, name), join(temporaryFolder(), name));
    }
    assert.equal(await migrate(folder, new Target()), 0);
    assert.equal(existsSync(folder), false);
  });

  it('ends when its signal aborts, with everything still there', async () => {
    const folder = versionOne(['a', 'b']);
    const into = new Target();
    const options = { files: NODE_FILE_SYSTEM, log: NO_LOG, signal: AbortSignal.abort(), onProgress: () => undefined };
    await assert.rejects(migrateFileEntries(folder, into, options), (error) => isKind(error, 'cancelled'));
    assert.equal(await migrate(folder, into), 2);
  });

  it('takes an entry on a bad sector for damaged', async () => {
    const folder = versionOne(['a', 'b']);
    const files = new FaultyFileSystem();
    let reads = 0;
    files.read = (fd, into, position) => {
      if (++reads === 1) throw Object.assign(new Error('EIO'), { code: 'EIO' });
      return NODE_FILE_SYSTEM.read(fd, into, position);
    };
    const into = new Target();
    assert.equal(await migrate(folder, into, files), 1);
    assert.deepEqual(into.keys, ['a']);
  });
});
