import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CONTRACT_MAX_ENTRY_BYTES, entryStoreContract } from '../../test/support/entry-store-contract.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FaultyFileSystem } from '../../test/support/faulty-file-system.ts';
import { openTemporaryFiles, temporaryFolder } from '../../test/support/temporary-folder.ts';
import { isKind } from '../errors.ts';
import { NO_LOG } from '../system/log.ts';
import { FileEntryStore, type FileEntryStoreOptions } from './file-entry-store.ts';

const NEVER = new AbortController().signal;

function open(folder: string, options: Partial<FileEntryStoreOptions> = {}): Promise<FileEntryStore> {
  return FileEntryStore.open(folder, {
    clock: new FakeClock(),
    log: NO_LOG,
    maxBytes: 10_000_000,
    maxFiles: 1000,
    maxEntryBytes: CONTRACT_MAX_ENTRY_BYTES,
    sync: 'none',
    ...options,
  });
}

function pathOf(folder: string, key: string): string {
  const name = hash('sha256', key, 'hex');
  return join(folder, 'files', name.slice(0, 2), name);
}

async function text(store: FileEntryStore, key: string): Promise<string | undefined> {
  const value = await store.get(key, NEVER);
  return value && Buffer.from(value).toString();
}

describe('FileEntryStore', () => {
  describe('with sync none', () => {
    entryStoreContract(() => open(temporaryFolder()));
  });

  describe('with sync file', () => {
    entryStoreContract(() => open(temporaryFolder(), { sync: 'file', minRetentionMs: 0 }));
  });

  it('keeps what was acknowledged over clean and unclean stops', async () => {
    const folder = temporaryFolder();
    const first = await open(folder);
    await first.put('a', Buffer.from('old'), NEVER);
    await first.put('a', Buffer.from('new'), NEVER);
    await first.put('b', Buffer.from('gone'), NEVER);
    await first.delete('b', NEVER);
    const second = await open(folder);
    assert.equal(await text(second, 'a'), 'new');
    await second.close();
    const third = await open(folder);
    assert.deepEqual([await text(third, 'a'), await text(third, 'b')], ['new', undefined]);
    assert.equal(third.stats().files, 1);
  });

  it('accounts for a replaced value once', async () => {
    const store = await open(temporaryFolder(), { blockBytes: 1 });
    await store.put('a', Buffer.alloc(1000), NEVER);
    await store.put('a', Buffer.alloc(10), NEVER);
    assert.deepEqual([store.stats().files, store.stats().bytes], [1, 48 + 1 + 10]);
  });

  it('forgets the least recently used entry first, by number and by bytes', async () => {
    for (const limit of [{ maxFiles: 3 }, { maxBytes: 3 * 4096 }]) {
      const store = await open(temporaryFolder(), { ...limit, minRetentionMs: 0 });
      for (const key of ['a', 'b', 'c']) await store.put(key, Buffer.from(key), NEVER);
      await store.get('a', NEVER);
      await store.put('d', Buffer.from('d'), NEVER);
      const present = [];
      for (const key of ['a', 'b', 'c', 'd']) present.push(await text(store, key));
      assert.deepEqual(present, ['a', undefined, 'c', 'd']);
    }
  });

  const damages: readonly (readonly [string, (path: string, folder: string) => void])[] = [
    ['cut short', (path) => truncateSync(path, 20)],
    ['made longer', (path) => writeFileSync(path, 'x', { flag: 'a' })],
    ['overwritten', (path) => writeFileSync(path, readFileSync(path).fill(1, 50))],
    ['replaced by another entry', (path, folder) => renameSync(pathOf(folder, 'other'), path)],
  ];
  for (const [what, damage] of damages) {
    it(`answers data-loss once for an entry that was ${what}, then it is absent and can be put again`, async () => {
      const folder = temporaryFolder();
      const store = await open(folder);
      await store.put('key', Buffer.from('value'), NEVER);
      await store.put('other', Buffer.from('value'), NEVER);
      damage(pathOf(folder, 'key'), folder);
      await assert.rejects(store.get('key', NEVER), (error) => isKind(error, 'data-loss'));
      assert.equal(await store.get('key', NEVER), undefined);
      assert.equal(store.stats().quarantined, 1);
      assert.equal(existsSync(join(folder, 'quarantine', hash('sha256', 'key', 'hex'))), true);
      await store.put('key', Buffer.from('again'), NEVER);
      assert.equal(await text(store, 'key'), 'again');
      assert.equal(openTemporaryFiles(), 0);
    });
  }

  for (const lasts of ['once', 'always'] as const) {
    it(`shows the old or the new value after a fault ${lasts} at any call of a put that replaces one`, async () => {
      const folder = temporaryFolder();
      const files = new FaultyFileSystem();
      const store = await open(folder, { files });
      let last = 'start';
      await store.put('key', Buffer.from(last), NEVER);
      let atCall = 0;
      for (let hasFailed = true; hasFailed; ) {
        atCall++;
        files.plan({ atCall, lasts, code: 'ENOSPC' });
        const [result] = await Promise.allSettled([store.put('key', Buffer.from(`value ${atCall}`), NEVER)]);
        hasFailed = files.calls >= atCall;
        files.plan(undefined);
        if (result.status === 'fulfilled') last = `value ${atCall}`;
        else assert.ok(isKind(result.reason, 'quota-exceeded'));
        assert.equal(await text(store, 'key'), last);
        assert.equal(openTemporaryFiles(), 0);
        assert.deepEqual([store.stats().files, store.stats().reservedBytes], [1, 0]);
      }
      assert.ok(atCall >= 4);
      assert.equal(await text(await open(folder), 'key'), last);
    });
  }

  it('answers unavailable for a file it may not open, and keeps the entry', async () => {
    const files = new FaultyFileSystem();
    const store = await open(temporaryFolder(), { files });
    await store.put('key', Buffer.from('value'), NEVER);
    files.plan({ atCall: 1, lasts: 'once', code: 'EACCES' });
    await assert.rejects(store.get('key', NEVER), (error) => isKind(error, 'unavailable'));
    assert.equal(await text(store, 'key'), 'value');
    files.plan({ atCall: 2, lasts: 'once', code: 'EIO' });
    await assert.rejects(store.get('key', NEVER), (error) => isKind(error, 'data-loss'));
    assert.equal(await text(store, 'key'), undefined);
  });

  it('refuses calls after close', async () => {
    const store = await open(temporaryFolder());
    await store.close();
    await assert.rejects(store.get('key', NEVER), (error) => isKind(error, 'unavailable'));
    await assert.rejects(store.delete('key', NEVER), (error) => isKind(error, 'unavailable'));
  });
});
