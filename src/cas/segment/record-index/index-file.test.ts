import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { FaultyFileSystem } from '../../../../test/support/faulty-file-system.ts';
import { HookedFileSystem } from '../../../../test/support/hooked-file-system.ts';
import { openTemporaryFiles, temporaryFolder } from '../../../../test/support/temporary-folder.ts';
import { type FileSystem, NODE_FILE_SYSTEM } from '../../../system/file-system.ts';
import { DigestTable } from './digest-table.ts';
import { type IndexFacts, type IndexTarget, readIndexFile, writeIndexFile } from './index-file.ts';
import { RowKey } from './row-key.ts';

const FACTS: IndexFacts = {
  segment: 0xfffffffe,
  offset: 2 ** 32,
  storeSeconds: 0xfffffffd,
  nextSequence: 2 ** 47,
  isClean: true,
};

const key = new RowKey();

function add(table: DigestTable, id: number, kind = 1): number {
  key.kind = kind;
  for (let index = 0; index < 8; index++) key.words[index] = Math.imul(id * 8 + index, 0x9e3779b1);
  return table.add(key, { segment: id % 3, offset: id * 8, payloadBytes: id + 1, touched: id * 5 });
}

function tableOf(count: number): DigestTable {
  const table = new DigestTable({ seed: 5, expectedRows: count });
  for (let id = 0; id < count; id++) add(table, id, id % 2 === 0 ? 1 : 128);
  return table;
}

function rowsIn(table: DigestTable): string[] {
  const rows: string[] = [];
  table.forEachRow((row) => {
    table.readKey(row, key);
    const place = [table.segment(row), table.offset(row), table.payloadBytes(row), table.touched(row)];
    rows.push(`${key.kind} ${key.hex()} ${place.join(' ')}`);
  });
  return rows.sort();
}

interface Reading {
  readonly facts: ReturnType<typeof readIndexFile>;
  readonly rows: string[];
}

function readBack(folder: string, files: FileSystem = NODE_FILE_SYSTEM): Reading {
  const rows: string[] = [];
  const facts = readIndexFile(files, folder, (found, place) => {
    const { segment, offset, payloadBytes, touched } = place;
    rows.push(`${found.kind} ${found.hex()} ${[segment, offset, payloadBytes, touched].join(' ')}`);
  });
  return { facts, rows: rows.sort() };
}

/** That nothing of the file is believed. */
function assertDamaged(folder: string, why: string): void {
  const { facts, rows } = readBack(folder);
  assert.ok(typeof facts === 'object' && 'damage' in facts && facts.damage !== '', why);
  assert.deepEqual(rows, [], why);
}

describe('index file', () => {
  let folder: string;
  let path: string;
  /** Waits for no device. */
  const disk = new HookedFileSystem();
  beforeEach(() => {
    folder = temporaryFolder();
    path = join(folder, 'index');
  });
  const target = (files: FileSystem = disk): IndexTarget => ({ files, folder, beforeRename: () => Promise.resolve() });

  it('gives back facts and rows, and says how long it is', async () => {
    const table = tableOf(500);
    const sizeBytes = await writeIndexFile(target(), table, FACTS);
    assert.deepEqual(readBack(folder), { facts: FACTS, rows: rowsIn(table) });
    assert.equal(readFileSync(path).length, sizeBytes);
    assert.deepEqual(readdirSync(folder), ['index']);
    assert.equal(openTemporaryFiles(), 0);
  });

  it('holds several pages, and one of no rows', async () => {
    const table = tableOf(66_000);
    table.forEachRow((row) => {
      if (row < 65_536) table.remove(row);
    });
    await writeIndexFile(target(), table, { ...FACTS, isClean: false });
    const { facts, rows } = readBack(folder);
    assert.deepEqual(facts, { ...FACTS, isClean: false });
    assert.deepEqual(rows, rowsIn(table));
    assert.equal(rows.length, 464);
  });

  it('stands on disk as documented', async () => {
    await writeIndexFile(target(), tableOf(1), FACTS);
    const bytes = readFileSync(path);
    assert.equal(bytes.toString('latin1', 0, 8), 'GANTRYIX');
    assert.equal(bytes.toString('hex', 8, 36), '01000000feffffff000000000100000000000080fdffffff01000000');
    assert.equal(bytes.readUInt32LE(36), crc32(bytes.subarray(0, 36)));
    assert.equal(bytes.toString('latin1', 40, 44), 'PAGE');
    assert.equal(bytes.readUInt32LE(44), 49);
    assert.equal(bytes.toString('latin1', 101, 105), 'END!');
    assert.equal(bytes.readUInt32LE(105), 1);
    assert.equal(bytes.length, 113);
  });

  it('is absent before the first snapshot, and holds no rows for an empty table', async () => {
    assert.deepEqual(readBack(folder), { facts: 'absent', rows: [] });
    await writeIndexFile(target(), tableOf(0), FACTS);
    assert.deepEqual(readBack(folder), { facts: FACTS, rows: [] });
  });

  it('replaces the earlier snapshot and what a broken attempt left', async () => {
    await writeIndexFile(target(), tableOf(10), FACTS);
    writeFileSync(`${path}.new`, 'left behind');
    await writeIndexFile(target(), tableOf(3), FACTS);
    assert.equal(readBack(folder).rows.length, 3);
    assert.deepEqual(readdirSync(folder), ['index']);
  });

  it('may be written while the table changes: rows that stay are in it once, as they were at some moment', async () => {
    const table = tableOf(66_000);
    const writing = writeIndexFile(target(), table, FACTS);
    table.forEachRow((row) => {
      if (row % 64 === 0) table.remove(row);
    });
    for (let id = 66_000; id < 68_000; id++) add(table, id);
    await writing;
    const ids: number[] = [];
    assert.deepEqual(
      readIndexFile(NODE_FILE_SYSTEM, folder, (_, { offset }) => ids.push(offset / 8)),
      FACTS,
    );
    const written = new Set(ids);
    assert.equal(written.size, ids.length);
    for (let id = 0; id < 66_000; id++) assert.ok(id % 64 === 0 || written.has(id));
    assert.ok(written.has(0), 'the first page was taken before');
    assert.ok(!written.has(65_536), 'the second page was taken after');
  });

  it('is damaged when it is cut off anywhere or goes on after its end', async () => {
    await writeIndexFile(target(), tableOf(3), FACTS);
    const good = readFileSync(path);
    for (let length = 0; length < good.length; length++) {
      writeFileSync(path, good.subarray(0, length));
      assertDamaged(folder, `cut off after ${length} bytes`);
    }
    writeFileSync(path, Buffer.concat([good, Buffer.alloc(1)]));
    assertDamaged(folder, 'a byte too many');
    writeFileSync(path, good);
    assert.equal(readBack(folder).rows.length, 3);
  });

  it('is damaged when any byte of it is changed', async () => {
    await writeIndexFile(target(), tableOf(3), FACTS);
    const good = readFileSync(path);
    for (let at = 0; at < good.length; at++) {
      const bad = Buffer.from(good);
      bad.writeUInt8(bad.readUInt8(at) ^ (1 << (at % 8)), at);
      writeFileSync(path, bad);
      assertDamaged(folder, `byte ${at} changed`);
    }
  });

  it('is damaged when its pages are not those that were written with it', async () => {
    const table = tableOf(65_537);
    await writeIndexFile(target(), table, FACTS);
    const good = readFileSync(path);
    const end = good.length - 12;
    const second = end - 12 - 49;
    const pieces = { head: good.subarray(0, 40), one: good.subarray(40, second), two: good.subarray(second, end) };
    writeFileSync(path, Buffer.concat([pieces.head, pieces.two, pieces.one, good.subarray(end)]));
    assertDamaged(folder, 'pages in another order');
    writeFileSync(path, Buffer.concat([pieces.head, pieces.one, good.subarray(end)]));
    assertDamaged(folder, 'a page less');
    await writeIndexFile(target(), table, { ...FACTS, segment: 1 });
    writeFileSync(path, Buffer.concat([readFileSync(path).subarray(0, 40), good.subarray(40)]));
    assertDamaged(folder, 'the header of another');
  });

  it('is damaged when its end counts other pages than there are', async () => {
    await writeIndexFile(target(), tableOf(1), FACTS);
    const bytes = readFileSync(path);
    const end = bytes.length - 12;
    bytes.writeUInt32LE(2, end + 4);
    bytes.writeUInt32LE(crc32(bytes.subarray(end, end + 8), bytes.readUInt32LE(48)), end + 8);
    writeFileSync(path, bytes);
    assertDamaged(folder, 'a page too few');
  });

  it('gets its name when its bytes are on the device and what it names is, and the name is there before it is done', async () => {
    const calls: string[] = [];
    const recording: FileSystem = {
      ...NODE_FILE_SYSTEM,
      writeAt: (...args) => {
        calls.push('write');
        NODE_FILE_SYSTEM.writeAt(...args);
      },
      syncData: (fd) => {
        calls.push('sync data');
        return NODE_FILE_SYSTEM.syncData(fd);
      },
      rename: (from, to) => {
        calls.push('rename');
        NODE_FILE_SYSTEM.rename(from, to);
      },
      syncFolder: async (name) => {
        await NODE_FILE_SYSTEM.syncFolder(name);
        calls.push('sync folder');
      },
    };
    const beforeRename = async (): Promise<void> => void calls.push('before');
    await writeIndexFile({ ...target(recording), beforeRename }, tableOf(1), FACTS);
    assert.deepEqual(calls, ['write', 'write', 'sync data', 'before', 'rename', 'sync folder']);
  });

  it('does not take the place of the old one if what it names cannot be made safe', async () => {
    await writeIndexFile(target(), tableOf(2), FACTS);
    const beforeRename = (): Promise<void> => Promise.reject(new Error('not synced'));
    await assert.rejects(writeIndexFile({ ...target(), beforeRename }, tableOf(5), FACTS), /not synced/);
    assert.equal(readBack(folder).rows.length, 2);
    assert.deepEqual(readdirSync(folder), ['index']);
  });

  it('names the version it does not know', async () => {
    await writeIndexFile(target(), tableOf(1), FACTS);
    const bytes = readFileSync(path);
    bytes.writeUInt32LE(2, 8);
    bytes.writeUInt32LE(crc32(bytes.subarray(0, 36)), 36);
    writeFileSync(path, bytes);
    assert.deepEqual(readBack(folder), { facts: { damage: 'it is of version 2' }, rows: [] });
  });

  it('leaves the old snapshot or the new one wherever the disk fails, no descriptor, and nothing in the way', async () => {
    const before = tableOf(2);
    const after = tableOf(5);
    const files = new FaultyFileSystem();
    for (const lasts of ['once', 'always'] as const) {
      let atCall = 0;
      for (let hasFailed = true; hasFailed; ) {
        atCall++;
        await writeIndexFile(target(), before, FACTS);
        files.plan({ atCall, lasts, code: 'ENOSPC' });
        const [result] = await Promise.allSettled([writeIndexFile(target(files), after, FACTS)]);
        hasFailed = files.calls >= atCall;
        assert.equal(result.status, hasFailed ? 'rejected' : 'fulfilled');
        assert.equal(openTemporaryFiles(), 0);
        const { facts, rows } = readBack(folder);
        assert.deepEqual(facts, FACTS);
        assert.ok(rows.length === 5 || (hasFailed && rows.length === 2));
        if (lasts === 'once') assert.deepEqual(readdirSync(folder), ['index']);
      }
      assert.ok(atCall > 8);
    }
  });

  it('is damaged in the eyes of a reader who cannot read it, and leaks nothing', async () => {
    const table = tableOf(5);
    await writeIndexFile(target(), table, FACTS);
    const files = new FaultyFileSystem();
    const outcomes: string[] = [];
    for (let atCall = 1; outcomes.at(-1) !== 'whole'; atCall++) {
      files.plan({ atCall, lasts: 'once', code: 'EIO' });
      try {
        const { facts, rows } = readBack(folder, files);
        const isDamaged = typeof facts === 'object' && 'damage' in facts;
        assert.deepEqual(rows, isDamaged ? [] : rowsIn(table));
        outcomes.push(isDamaged ? 'damaged' : files.calls < atCall ? 'whole' : 'close failed');
      } catch (error) {
        assert.ok(error instanceof Error && 'code' in error && error.code === 'EIO');
        outcomes.push('failed in the second pass');
      }
      assert.equal(openTemporaryFiles(), 0);
    }
    assert.deepEqual([...new Set(outcomes)], ['damaged', 'failed in the second pass', 'close failed', 'whole']);
  });

  it('reports a file that changes between the passes', async () => {
    await writeIndexFile(target(), tableOf(5), FACTS);
    let reads = 0;
    const changing: FileSystem = {
      ...NODE_FILE_SYSTEM,
      read: (fd, into, position) => {
        const count = NODE_FILE_SYSTEM.read(fd, into, position);
        if (position === 0 && ++reads === 2) into.fill(0);
        return count;
      },
    };
    assert.throws(() => readBack(folder, changing), /changed while it was read/);
  });

  it('law: what is written is read', async () => {
    const u32 = fc.integer({ min: 0, max: 0xffffffff });
    const place = fc.record({ segment: u32, offset: u32, payloadBytes: u32, touched: u32 });
    const row = fc.record({
      kind: fc.integer({ min: 1, max: 255 }),
      hash: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      place,
    });
    const facts = fc.record({
      segment: u32,
      offset: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
      storeSeconds: u32,
      nextSequence: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
      isClean: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(row, { maxLength: 30 }), facts, async (rows, written) => {
        const table = new DigestTable({ seed: 1, expectedRows: 0 });
        for (const { kind, hash, place } of rows) {
          if (table.find(key.setBytes(kind, hash)) === -1) table.add(key, place);
        }
        await writeIndexFile(target(), table, written);
        assert.deepEqual(readBack(folder), { facts: { ...written }, rows: rowsIn(table) });
      }),
    );
  });
});
