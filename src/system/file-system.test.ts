import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import { systemCode } from '../errors.ts';
import { NODE_FILE_SYSTEM, withoutFirst } from './file-system.ts';

describe('NODE_FILE_SYSTEM', () => {
  it('appends what is written, by both ways, in order', async () => {
    const path = join(temporaryFolder(), 'file');
    const fd = NODE_FILE_SYSTEM.open(path, 'create');
    NODE_FILE_SYSTEM.write(fd, Buffer.from('a'));
    await NODE_FILE_SYSTEM.writeAsync(fd, []);
    await NODE_FILE_SYSTEM.writeAsync(
      fd,
      Array.from({ length: 3000 }, (_, at) => Buffer.from(String(at % 10))),
    );
    NODE_FILE_SYSTEM.write(fd, Buffer.from('z'));
    await NODE_FILE_SYSTEM.syncData(fd);
    NODE_FILE_SYSTEM.close(fd);
    assert.equal(readFileSync(path, 'utf8'), `a${'0123456789'.repeat(300)}z`);
  });

  it('reads as much as there is from a position, by both ways', async () => {
    const path = join(temporaryFolder(), 'file');
    writeFileSync(path, '0123456789');
    const fd = NODE_FILE_SYSTEM.open(path, 'read');
    for (const [position, sizeBytes, expected] of [
      [0, 4, '0123'],
      [8, 4, '89'],
      [10, 4, ''],
    ] as const) {
      const into = Buffer.alloc(sizeBytes);
      assert.equal(into.toString('utf8', 0, NODE_FILE_SYSTEM.read(fd, into, position)), expected);
      const count = await NODE_FILE_SYSTEM.readAsync(fd, into.fill(0), position);
      assert.equal(into.toString('utf8', 0, count), expected);
    }
    NODE_FILE_SYSTEM.close(fd);
  });

  it('creates a file only where there is none, for its owner alone', () => {
    const path = join(temporaryFolder(), 'file');
    NODE_FILE_SYSTEM.close(NODE_FILE_SYSTEM.open(path, 'create'));
    assert.throws(
      () => NODE_FILE_SYSTEM.open(path, 'create'),
      (error) => systemCode(error) === 'EEXIST',
    );
    assert.equal(NODE_FILE_SYSTEM.stat(path).sizeBytes, 0);
  });

  it('knows the free space and syncs a folder', async () => {
    const folder = temporaryFolder();
    assert.ok(NODE_FILE_SYSTEM.freeBytes(folder) > 0);
    await NODE_FILE_SYSTEM.syncFolder(folder);
    await assert.rejects(
      NODE_FILE_SYSTEM.syncFolder(join(folder, 'absent')),
      (error) => systemCode(error) === 'ENOENT',
    );
  });
});

describe('withoutFirst', () => {
  it('law: what was written and what is left are together what there was', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 8 }), { maxLength: 6 }), fc.nat(48), (chunks, written) => {
        const whole = Buffer.concat(chunks);
        assert.deepEqual(Buffer.concat(withoutFirst(chunks, written)), whole.subarray(written));
      }),
    );
  });

  it('leaves no chunk once everything is written, so that writing ends', () => {
    assert.deepEqual(withoutFirst([Buffer.from('ab'), Buffer.alloc(0)], 2), []);
  });
});
