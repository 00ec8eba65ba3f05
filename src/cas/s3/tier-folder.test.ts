import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FaultyFileSystem } from '../../../test/support/faulty-file-system.ts';
import { openTemporaryFiles, temporaryFolder } from '../../../test/support/temporary-folder.ts';
import { systemCode } from '../../errors.ts';
import { NODE_FILE_SYSTEM } from '../../system/file-system.ts';
import { forgetMarks, TierFolder } from './tier-folder.ts';

const RANDOM = { fraction: () => 0, uuid: () => '', token: (bytes: number) => 'ab'.repeat(bytes) };
const NAME = 'ab'.repeat(8);

function newFolder() {
  const path = join(temporaryFolder(), 's3');
  return { path, folder: new TierFolder(NODE_FILE_SYSTEM, path) };
}

async function* chunksOf(...chunks: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield Buffer.from(chunk);
}

async function indexOf(folder: TierFolder): Promise<string | undefined> {
  const chunks = folder.readIndex();
  if (chunks === undefined) return undefined;
  const found: Uint8Array[] = [];
  for await (const chunk of chunks) found.push(chunk);
  return Buffer.concat(found).toString();
}

describe('TierFolder', () => {
  it('names the data folder once', async () => {
    const { path, folder } = newFolder();
    assert.equal(await folder.writer(RANDOM), NAME);
    const other = { ...RANDOM, token: (bytes: number) => 'cd'.repeat(bytes) };
    assert.equal(await new TierFolder(NODE_FILE_SYSTEM, path).writer(other), NAME);
    assert.equal(readFileSync(join(path, 'writer'), 'utf8'), NAME);
  });

  for (const damage of ['', 'AB'.repeat(8), `${NAME}\n`, 'x'.repeat(3_000_000)]) {
    it(`makes a new name if the kept one has ${damage.length} characters and is none`, async () => {
      const { path, folder } = newFolder();
      writeFileSync(join(path, 'writer'), damage);
      assert.equal(await folder.writer(RANDOM), NAME);
      assert.equal(await folder.writer({ ...RANDOM, token: () => '' }), NAME);
    });
  }

  it('knows how it was left', async () => {
    const { path, folder } = newFolder();
    const fresh = { wasRunning: false, wasIdle: false, isTakenOver: false };
    assert.deepEqual(await folder.markRunning(), fresh);
    assert.deepEqual(await new TierFolder(NODE_FILE_SYSTEM, path).markRunning(), { ...fresh, wasRunning: true });
    await folder.markStopped(false);
    await folder.markStopped(false);
    assert.deepEqual(await folder.markRunning(), fresh);
    await folder.markTakenOver();
    await folder.markStopped(true);
    assert.deepEqual(await folder.markRunning(), { wasRunning: false, wasIdle: true, isTakenOver: true });
  });

  it('forgets its marks for a time without a bucket, also where there are none', async () => {
    const { path, folder } = newFolder();
    await folder.markTakenOver();
    await folder.markStopped(true);
    forgetMarks(NODE_FILE_SYSTEM, path);
    assert.deepEqual(await folder.markRunning(), { wasRunning: false, wasIdle: false, isTakenOver: false });
    forgetMarks(NODE_FILE_SYSTEM, join(path, 'nowhere'));
  });

  it('does not take for idle what was left open since', async () => {
    const { folder } = newFolder();
    await folder.markRunning();
    await folder.markStopped(true);
    await folder.markRunning();
    assert.deepEqual(await folder.markRunning(), { wasRunning: true, wasIdle: false, isTakenOver: false });
    await folder.markStopped(false);
    assert.equal((await folder.markRunning()).wasIdle, false);
  });

  it('has no index before one was written, and then the last one', async () => {
    const { folder } = newFolder();
    assert.equal(await indexOf(folder), undefined);
    assert.equal(await folder.writeIndex(chunksOf('first', ' index')), 11);
    assert.equal(await indexOf(folder), 'first index');
    assert.equal(await folder.writeIndex(chunksOf('2nd')), 3);
    assert.equal(await indexOf(folder), '2nd');
  });

  it('reads an index of several buffers', async () => {
    const { folder } = newFolder();
    const text = 'abc'.repeat(1_000_000);
    assert.equal(await folder.writeIndex(chunksOf(text)), text.length);
    assert.equal(await indexOf(folder), text);
  });

  it('closes the index if its reader stops early', async () => {
    const { folder } = newFolder();
    await folder.writeIndex(chunksOf('abc'.repeat(1_000_000)));
    const before = openTemporaryFiles();
    for await (const chunk of folder.readIndex() ?? []) {
      assert.ok(chunk.length > 0);
      break;
    }
    assert.equal(openTemporaryFiles(), before);
  });

  it('keeps the old index, and no part of the new one, if what makes the new one fails', async () => {
    const { path, folder } = newFolder();
    await folder.writeIndex(chunksOf('old'));
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('ne');
      throw new Error('no more');
    }
    await assert.rejects(folder.writeIndex(failing()), /no more/);
    assert.equal(await indexOf(folder), 'old');
    assert.deepEqual(readdirSync(path), ['index']);
  });

  const operations: Readonly<Record<string, (folder: TierFolder) => Promise<unknown>>> = {
    writeIndex: (folder) => folder.writeIndex(chunksOf('new', ' index')),
    writer: (folder) => folder.writer(RANDOM),
    markRunning: (folder) => folder.markRunning(),
    markStopped: (folder) => folder.markStopped(true),
    markTakenOver: (folder) => folder.markTakenOver(),
    readIndex: (folder) => indexOf(folder),
  };
  for (const [name, operation] of Object.entries(operations)) {
    for (const lasts of ['once', 'always'] as const) {
      it(`survives that any one call of ${name} fails, ${lasts}`, async () => {
        const files = new FaultyFileSystem();
        for (let atCall = 1; ; atCall++) {
          files.plan(undefined);
          const path = join(temporaryFolder(), 's3');
          const folder = new TierFolder(files, path);
          await folder.writeIndex(chunksOf('old'));
          const before = openTemporaryFiles();
          files.plan({ atCall, lasts, code: 'ENOSPC' });
          const error: unknown = await operation(folder).then(
            () => undefined,
            (thrown: unknown) => thrown,
          );
          const isOver = files.calls < atCall;
          files.plan(undefined);
          assert.ok(error === undefined || systemCode(error) === 'ENOSPC');
          assert.equal(openTemporaryFiles(), before, `descriptors after call ${atCall}`);
          assert.match((await indexOf(folder)) ?? 'none', /^(old|new index)$/, 'an index is whole');
          if (lasts === 'once')
            assert.deepEqual(
              readdirSync(path).filter((file) => file.endsWith('.new')),
              [],
            );
          await operation(folder);
          await folder.writeIndex(chunksOf('last'));
          assert.equal(await folder.writer(RANDOM), NAME);
          assert.deepEqual(
            readdirSync(path).filter((file) => file.endsWith('.new')),
            [],
          );
          if (isOver) {
            assert.equal(error, undefined);
            break;
          }
        }
      });
    }
  }
});
