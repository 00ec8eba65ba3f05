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
  it('marks an empty folder, and accepts it ever after', () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'lock'), '');
    claimFormat(NODE_FILE_SYSTEM, folder, WANTED);
    assert.equal(readFileSync(join(folder, 'format'), 'utf8'), '{"format":"test","version":2}\n');
    writeFileSync(join(folder, 'content'), '');
    claimFormat(NODE_FILE_SYSTEM, folder, WANTED);
  });

  it('accepts an older version, so that a newer program may migrate', () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'format'), '{"format":"test","version":1}');
    claimFormat(NODE_FILE_SYSTEM, folder, WANTED);
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
    it(`refuses the marker ${JSON.stringify(content)}`, () => {
      const folder = temporaryFolder();
      writeFileSync(join(folder, 'format'), content);
      assert.throws(
        () => claimFormat(NODE_FILE_SYSTEM, folder, WANTED),
        (error) => isKind(error, 'precondition'),
      );
      assert.equal(readFileSync(join(folder, 'format'), 'utf8'), content);
    });
  }

  it('says which version a newer folder has', () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'format'), '{"format":"test","version":7}');
    assert.throws(() => claimFormat(NODE_FILE_SYSTEM, folder, WANTED), /newer program: test version 7.*up to 2/);
  });

  it('leaves an unmarked folder or a good marker, never half of one, wherever the disk fails', () => {
    for (const lasts of ['once', 'always'] as const) {
      const folder = temporaryFolder();
      const files = new FaultyFileSystem();
      let atCall = 0;
      for (let hasFailed = true; hasFailed; ) {
        atCall++;
        files.plan({ atCall, lasts, code: 'ENOSPC' });
        try {
          claimFormat(files, folder, WANTED);
        } catch (error) {
          assert.ok(isKind(error, 'quota-exceeded'));
        }
        hasFailed = files.calls >= atCall;
        assert.ok(readdirSync(folder).every((name) => name === 'format' || name === 'format.new'));
        assert.equal(openTemporaryFiles(), 0);
      }
      claimFormat(NODE_FILE_SYSTEM, folder, WANTED);
    }
  });
});
