import assert from 'node:assert/strict';
import { existsSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import { NODE_FILE_SYSTEM } from './file-system.ts';
import { Quarantine } from './quarantine.ts';

const MIB = 1024 * 1024;

/** A sparse file: large without taking space. */
function file(name: string, sizeBytes: number): string {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
  return path;
}

describe('Quarantine', () => {
  it('moves a file and counts it', () => {
    const folder = join(temporaryFolder(), 'quarantine');
    const quarantine = new Quarantine(NODE_FILE_SYSTEM, folder);
    const path = file('a', 10);
    quarantine.take(path, 'a');
    assert.deepEqual([existsSync(path), readdirSync(folder), quarantine.count], [false, ['a'], 1]);
  });

  it('drops the oldest above its bytes, those of an earlier run first', () => {
    const folder = join(temporaryFolder(), 'quarantine');
    new Quarantine(NODE_FILE_SYSTEM, folder).take(file('a', 30 * MIB), 'a');
    const quarantine = new Quarantine(NODE_FILE_SYSTEM, folder);
    quarantine.take(file('b', 30 * MIB), 'b');
    assert.deepEqual(readdirSync(folder).sort(), ['a', 'b']);
    quarantine.take(file('c', 30 * MIB), 'c');
    assert.deepEqual(readdirSync(folder).sort(), ['b', 'c']);
  });

  it('keeps one file of a name, and counts its bytes once', () => {
    const folder = join(temporaryFolder(), 'quarantine');
    const quarantine = new Quarantine(NODE_FILE_SYSTEM, folder);
    for (let n = 0; n < 5; n++) quarantine.take(file('a', 30 * MIB), 'a');
    quarantine.take(file('b', 30 * MIB), 'b');
    assert.deepEqual(readdirSync(folder).sort(), ['a', 'b']);
  });

  it('deletes a file that is larger than all it may keep', () => {
    const folder = join(temporaryFolder(), 'quarantine');
    const quarantine = new Quarantine(NODE_FILE_SYSTEM, folder);
    const path = file('a', 65 * MIB);
    quarantine.take(path, 'a');
    assert.deepEqual([existsSync(path), readdirSync(folder), quarantine.count], [false, [], 1]);
  });
});
