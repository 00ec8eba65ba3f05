import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FaultyFileSystem } from '../../test/support/faulty-file-system.ts';
import { openTemporaryFiles, temporaryFolder } from '../../test/support/temporary-folder.ts';
import { isKind } from '../errors.ts';
import { NODE_FILE_SYSTEM } from './file-system.ts';
import { claimFormat } from './format-marker.ts';

const WANTED = { file: 'format', format: 'test', version: 2, ignoring: (name: string): boolean => name === 'lock' };

describe('claimFormat', () => {
  it('marks an empty folder, and accepts it ever after', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'lock'), '');
    assert.equal(await claimFormat(NODE_FILE_SYSTEM, folder, WANTED), 2);
    assert.equal(readFileSync(join(folder, 'format'), 'utf8'), '{"format":"test","version":2}\n');
    writeFileSync(join(folder, 'content'), '');
    assert.equal(await claimFormat(NODE_FILE_SYSTEM, folder, WANTED), 2);
  });

  it('accepts an older version, says so, and marks the folder so that the older program refuses it', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'content'), '');
    writeFileSync(join(folder, 'format'), '{"format":"test","version":1}');
    assert.equal(await claimFormat(NODE_FILE_SYSTEM, folder, WANTED), 1);
    assert.equal(readFileSync(join(folder, 'format'), 'utf8'), '{"format":"test","version":2}\n');
    assert.deepEqual(readdirSync(folder).sort(), ['content', 'format']);
    await assert.rejects(claimFormat(NODE_FILE_SYSTEM, folder, { ...WANTED, version: 1 }), /newer program/);
  });

  it('leaves the old marker or the new one, whole, wherever the disk fails while replacing it', async () => {
    const older = '{"format":"test","version":1}\n';
    const files = new FaultyFileSystem();
    let atCall = 0;
    for (let hasFailed = true; hasFailed; ) {
      const folder = temporaryFolder();
      writeFileSync(join(folder, 'format'), older);
      files.plan({ atCall: ++atCall, lasts: 'always', code: 'EIO' });
      try {
        await claimFormat(files, folder, WANTED);
      } catch (error) {
        assert.ok(isKind(error, 'unavailable'));
      }
      hasFailed = files.calls >= atCall;
      assert.ok([older, '{"format":"test","version":2}\n'].includes(readFileSync(join(folder, 'format'), 'utf8')));
      assert.equal(openTemporaryFiles(), 0);
      await claimFormat(NODE_FILE_SYSTEM, folder, WANTED);
    }
    assert.ok(atCall > 6);
  });

  for (const content of [
    '',
    '{',
    '3',
    'null',
    '{"format":"test"}',
    '{"format":"test","version":"2"}',
    '{"format":"other","version":2}',
  ]) {
    it(`refuses the marker ${JSON.stringify(content)}`, async () => {
      const folder = temporaryFolder();
      writeFileSync(join(folder, 'format'), content);
      await assert.rejects(claimFormat(NODE_FILE_SYSTEM, folder, WANTED), (error) => isKind(error, 'precondition'));
      assert.equal(readFileSync(join(folder, 'format'), 'utf8'), content);
    });
  }

  it('says which version a newer folder has', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'format'), '{"format":"test","version":7}');
    await assert.rejects(claimFormat(NODE_FILE_SYSTEM, folder, WANTED), /newer program: test version 7.*up to 2/);
  });

  it('leaves an unmarked folder or a good marker, never half of one, wherever the disk fails', async () => {
    for (const lasts of ['once', 'always'] as const) {
      const folder = temporaryFolder();
      const files = new FaultyFileSystem();
      let atCall = 0;
      for (let hasFailed = true; hasFailed; ) {
        atCall++;
        files.plan({ atCall, lasts, code: 'ENOSPC' });
        try {
          await claimFormat(files, folder, WANTED);
        } catch (error) {
          assert.ok(isKind(error, 'quota-exceeded'));
        }
        hasFailed = files.calls >= atCall;
        assert.ok(readdirSync(folder).every((name) => name === 'format' || name === 'format.new'));
        assert.equal(openTemporaryFiles(), 0);
      }
      await claimFormat(NODE_FILE_SYSTEM, folder, WANTED);
    }
  });
});
