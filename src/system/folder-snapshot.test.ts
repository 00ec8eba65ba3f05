import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { FaultyFileSystem } from '../../test/support/faulty-file-system.ts';
import { openTemporaryFiles, temporaryFolder } from '../../test/support/temporary-folder.ts';
import { NODE_FILE_SYSTEM } from './file-system.ts';
import { takeSnapshot, writeSnapshot } from './folder-snapshot.ts';

const FILES = [
  { name: 'aa-1', sizeBytes: 1, touchedMs: 100.4 },
  { name: 'bb-2', sizeBytes: 22, touchedMs: 200 },
];

describe('folder snapshot', () => {
  it('stands on disk as documented', async () => {
    const folder = temporaryFolder();
    await writeSnapshot(NODE_FILE_SYSTEM, folder, FILES, { wallSkewMs: 5000, isSynced: true });
    const text = readFileSync(join(folder, 'order'), 'utf8');
    assert.match(text, /^gantry-order 1\n1 5100 aa-1\n22 5200 bb-2\nend 2 [0-9a-f]+\n$/);
    await writeSnapshot(NODE_FILE_SYSTEM, folder, FILES, { wallSkewMs: 5000, isSynced: false });
    assert.match(readFileSync(join(folder, 'order'), 'utf8'), /^gantry-order 1 unsynced\n1 5100 aa-1\n/);
  });

  it('is read once, in order', async () => {
    const folder = temporaryFolder();
    for (const isSynced of [true, false]) {
      await writeSnapshot(NODE_FILE_SYSTEM, folder, FILES, { wallSkewMs: 0, isSynced });
      const taken = takeSnapshot(NODE_FILE_SYSTEM, folder);
      assert.deepEqual([...(taken?.files.values() ?? [])], [{ ...FILES[0], touchedMs: 100 }, FILES[1]]);
      assert.equal(taken?.isSynced, isSynced);
      assert.equal(takeSnapshot(NODE_FILE_SYSTEM, folder), undefined);
      assert.deepEqual(readdirSync(folder), []);
    }
  });

  it('law: with any byte changed or cut off nothing of it is believed', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'order');
    await writeSnapshot(NODE_FILE_SYSTEM, folder, FILES, { wallSkewMs: 0, isSynced: false });
    const good = readFileSync(path);
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), fc.boolean(), (at, flip, isCut) => {
        const bad = Buffer.from(good);
        bad.writeUInt8(bad.readUInt8(at) ^ flip, at);
        writeFileSync(path, isCut ? good.subarray(0, at) : bad);
        assert.equal(takeSnapshot(NODE_FILE_SYSTEM, folder), undefined);
      }),
    );
  });

  it('leaves the whole snapshot or none wherever the disk fails', async () => {
    const folder = temporaryFolder();
    const files = new FaultyFileSystem();
    let atCall = 0;
    for (let hasFailed = true; hasFailed; ) {
      atCall++;
      files.plan({ atCall, lasts: 'once', code: 'ENOSPC' });
      const [result] = await Promise.allSettled([
        writeSnapshot(files, folder, FILES, { wallSkewMs: 0, isSynced: true }),
      ]);
      hasFailed = files.calls >= atCall;
      assert.equal(openTemporaryFiles(), 0);
      const taken = takeSnapshot(NODE_FILE_SYSTEM, folder);
      assert.equal(taken?.files.size, result.status === 'fulfilled' ? 2 : undefined);
    }
    assert.ok(atCall > 4);
  });
});
