import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { FaultyFileSystem } from '../../../../test/support/faulty-file-system.ts';
import { openTemporaryFiles, temporaryFolder } from '../../../../test/support/temporary-folder.ts';
import { BugError } from '../../../errors.ts';
import { type FileSystem, NODE_FILE_SYSTEM } from '../../../system/file-system.ts';
import { LeaseFile, MAX_LEASES_PER_BLOCK, readLeaseFile } from './lease-file.ts';

type Lease = readonly [number, number, number];

function leasesIn(path: string, files: FileSystem = NODE_FILE_SYSTEM): Lease[] {
  const found: Lease[] = [];
  readLeaseFile(files, path, (...lease) => found.push(lease));
  return found;
}

/** A block of `count` leases, all recognisable. */
function append(log: LeaseFile, count: number, storeSeconds: number): Lease[] {
  const keys = Uint32Array.from({ length: count * 2 }, (_, index) => 0xf0000000 + storeSeconds * 100 + index);
  log.append(keys, count, storeSeconds);
  return Array.from({ length: count }, (_, at) => [keys[at * 2] ?? 0, keys[at * 2 + 1] ?? 0, storeSeconds]);
}

describe('LeaseFile', () => {
  let path: string;
  beforeEach(() => {
    path = join(temporaryFolder(), 'leases');
  });

  /** Three blocks: where each ends, and what has been read when it has. */
  function threeBlocks(): {
    readonly bytes: Buffer;
    readonly ends: readonly number[];
    readonly leases: readonly Lease[][];
  } {
    const log = LeaseFile.create(NODE_FILE_SYSTEM, path);
    const ends = [log.sizeBytes];
    const leases: Lease[][] = [[]];
    for (const [index, count] of [2, 0, 3].entries()) {
      leases.push([...(leases.at(-1) ?? []), ...append(log, count, 7 + index)]);
      ends.push(log.sizeBytes);
    }
    log.close();
    return { bytes: readFileSync(path), ends, leases };
  }

  it('gives back what was added, in order', () => {
    const { bytes, ends, leases } = threeBlocks();
    assert.deepEqual(leasesIn(path), leases[3]);
    assert.equal(bytes.length, ends[3]);
    assert.equal(bytes.toString('latin1', 0, 8), 'GANTRYLS');
    assert.equal(bytes.toString('latin1', 16, 20), 'GRLS');
    assert.equal(openTemporaryFiles(), 0);
  });

  it('takes only as many keys as it is told, and no more than a block may have', () => {
    const log = LeaseFile.create(NODE_FILE_SYSTEM, path);
    log.append(Uint32Array.of(1, 2, 3, 4), 1, 5);
    assert.throws(() => log.append(Uint32Array.of(1), 1, 5), BugError);
    assert.throws(
      () => log.append(new Uint32Array(MAX_LEASES_PER_BLOCK * 2 + 2), MAX_LEASES_PER_BLOCK + 1, 5),
      BugError,
    );
    log.append(new Uint32Array(MAX_LEASES_PER_BLOCK * 2), MAX_LEASES_PER_BLOCK, 6);
    log.close();
    const leases = leasesIn(path);
    assert.deepEqual(leases[0], [1, 2, 5]);
    assert.equal(leases.length, 1 + MAX_LEASES_PER_BLOCK);
  });

  it('has no renewals where there is no file', () => {
    assert.deepEqual(leasesIn(path), []);
  });

  it('replaces an earlier log and what a broken attempt left', () => {
    threeBlocks();
    writeFileSync(`${path}.new`, 'left behind');
    LeaseFile.create(NODE_FILE_SYSTEM, path).close();
    assert.deepEqual(leasesIn(path), []);
    assert.equal(existsSync(`${path}.new`), false);
  });

  it('reads up to the last whole block of a log that is cut off anywhere', () => {
    const { bytes, ends, leases } = threeBlocks();
    for (let length = 0; length <= bytes.length; length++) {
      writeFileSync(path, bytes.subarray(0, length));
      const whole = ends.filter((end) => end <= length).length;
      assert.deepEqual(leasesIn(path), leases[Math.max(0, whole - 1)], `cut off after ${length} bytes`);
    }
  });

  it('stops before the block in which any byte is changed', () => {
    const { bytes, ends, leases } = threeBlocks();
    for (let at = 0; at < bytes.length; at++) {
      for (const flip of [1, 0x80, 0xff]) {
        const bad = Buffer.from(bytes);
        bad.writeUInt8(bad.readUInt8(at) ^ flip, at);
        writeFileSync(path, bad);
        const whole = ends.filter((end) => end <= at).length;
        assert.deepEqual(leasesIn(path), leases[Math.max(0, whole - 1)], `byte ${at} changed`);
      }
    }
  });

  it('stops at a block that is whole but stood elsewhere', () => {
    const { bytes, ends, leases } = threeBlocks();
    const [first, second, third] = [ends[0] ?? 0, ends[1] ?? 0, ends[2] ?? 0];
    writeFileSync(path, Buffer.concat([bytes.subarray(0, second), bytes.subarray(third)]));
    assert.deepEqual(leasesIn(path), leases[1]);
    writeFileSync(path, Buffer.concat([bytes.subarray(0, second), bytes.subarray(first, second)]));
    assert.deepEqual(leasesIn(path), leases[1]);
  });

  it('overwrites a block that the disk took only half of, also by a shorter one', () => {
    const files = new FaultyFileSystem();
    const log = LeaseFile.create(files, path);
    const before = append(log, 1, 1);
    const { sizeBytes } = log;
    files.plan({ atCall: 1, lasts: 'once', code: 'ENOSPC' });
    assert.throws(() => append(log, 50, 2), { code: 'ENOSPC' });
    assert.equal(log.sizeBytes, sizeBytes);
    assert.deepEqual(leasesIn(path), before);
    const after = append(log, 1, 3);
    assert.deepEqual(leasesIn(path), [...before, ...after]);
    log.close();
  });

  it('leaves the earlier log and no descriptor when a new one cannot be made, and makes it at the next attempt', () => {
    const { leases } = threeBlocks();
    const files = new FaultyFileSystem();
    for (const lasts of ['once', 'always'] as const) {
      for (let atCall = 1; atCall <= 4; atCall++) {
        files.plan({ atCall, lasts, code: 'EIO' });
        assert.throws(() => LeaseFile.create(files, path), { code: 'EIO' });
        assert.equal(openTemporaryFiles(), 0);
        assert.deepEqual(leasesIn(path), leases[3]);
        assert.equal(readdirSync(join(path, '..')).includes('leases.new'), lasts === 'always' && atCall > 2);
      }
    }
    files.plan(undefined);
    LeaseFile.create(files, path).close();
    assert.equal(files.calls, 5, 'no call is left that was not made to fail, but for closing');
    assert.deepEqual(leasesIn(path), []);
  });

  it('reports a log that cannot be read, and leaks nothing', () => {
    const { leases } = threeBlocks();
    const files = new FaultyFileSystem();
    let failures = 0;
    for (let atCall = 1; ; atCall++) {
      files.plan({ atCall, lasts: 'once', code: 'EIO' });
      try {
        assert.deepEqual(leasesIn(path, files), leases[3]);
      } catch (error) {
        assert.ok(error instanceof Error && 'code' in error && error.code === 'EIO');
        failures++;
      }
      assert.equal(openTemporaryFiles(), 0);
      if (files.calls < atCall) break;
    }
    assert.ok(failures > 3);
  });

  it('law: whatever follows the whole blocks, they are read and nothing else', () => {
    const { bytes, leases } = threeBlocks();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.boolean(), (rest, looksLikeBlock) => {
        const start = Buffer.from(looksLikeBlock ? 'GRLS' : '');
        writeFileSync(path, Buffer.concat([bytes, start, rest]));
        assert.deepEqual(leasesIn(path), leases[3]);
      }),
    );
  });
});
