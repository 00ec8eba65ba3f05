import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MemoryWorkerStore } from '../../../test/support/memory-worker-store.ts';
import { emptyDigest } from '../../digest/digest.ts';
import { digestOf } from '../../digest/hasher.ts';
import { isKind, ReapiError } from '../../errors.ts';
import type { OutputBlob } from './output-files.ts';
import { Uploader } from './upload.ts';

describe('Uploader', () => {
  const never = new AbortController().signal;
  let folder: string;
  let store: MemoryWorkerStore;
  let uploader: Uploader;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'upload-'));
    store = new MemoryWorkerStore({ maxSmallBytes: 10 });
    uploader = new Uploader({ maxTransfers: 2 });
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const inMemory = (text: string): OutputBlob => ({
    digest: digestOf('sha256', Buffer.from(text)),
    bytes: Buffer.from(text),
  });
  function onDisk(text: string, now = text): OutputBlob {
    const path = join(folder, digestOf('sha256', Buffer.from(text)).hash);
    writeFileSync(path, now);
    return { digest: digestOf('sha256', Buffer.from(text)), path };
  }

  it('sends what is missing, small blobs together and large ones by themselves, each once', async () => {
    const present = store.seed('present');
    const blobs = [inMemory('a'), inMemory('a'), onDisk('b'), onDisk('L'.repeat(50)), inMemory('M'.repeat(50))];
    await uploader.upload([...blobs, { digest: present, bytes: Buffer.from('present') }], store, never);
    assert.deepEqual(store.calls, ['findMissing', 'writeAll', 'write', 'write']);
    for (const { digest } of blobs) assert.ok(store.text(digest));
    assert.deepEqual(uploader.counters, { blobsUploaded: 4, bytesUploaded: 102 });
  });

  it('makes no call for nothing, nor for the empty blob', async () => {
    await uploader.upload([{ digest: emptyDigest('sha256'), bytes: new Uint8Array(0) }], store, never);
    assert.deepEqual(store.calls, []);
  });

  for (const [what, before, now] of [
    ['small file has other bytes', 'abc', 'abd'],
    ['large file grew', 'L'.repeat(50), 'L'.repeat(51)],
    ['large file shrank', 'L'.repeat(50), 'L'.repeat(49)],
  ] as const) {
    it(`says so when a ${what} since it was hashed`, async () => {
      await assert.rejects(uploader.upload([onDisk(before, now)], store, never), (error) =>
        isKind(error, 'precondition'),
      );
    });
  }

  for (const text of ['abc', 'L'.repeat(50)]) {
    it(`takes a directory in the place of a file of ${text.length} bytes for the doing of the action`, async () => {
      const blob = onDisk(text);
      assert.ok('path' in blob);
      rmSync(blob.path);
      mkdirSync(blob.path);
      await assert.rejects(uploader.upload([blob], store, never), (error) => isKind(error, 'precondition'));
    });
  }

  it('passes the first failure on and stops the other transfers', async () => {
    let stopped = false;
    store.before = (call, signal) => {
      if (call === 'writeAll') return Promise.reject(new ReapiError('quota-exceeded', 'full'));
      if (call !== 'write') return Promise.resolve();
      return new Promise((_, reject) =>
        signal.addEventListener('abort', () => {
          stopped = true;
          reject(new ReapiError('cancelled', 'c'));
        }),
      );
    };
    const blobs = [inMemory('a'), onDisk('L'.repeat(50))];
    await assert.rejects(uploader.upload(blobs, store, never), (error) => isKind(error, 'quota-exceeded'));
    assert.equal(stopped, true);
  });
});
