import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '../../digest/hasher.ts';
import { isKind } from '../../errors.ts';
import { MIN_SKETCHED_BYTES } from '../../platform/locality.ts';
import { type CachedFile, FileCache } from './file-cache.ts';

describe('FileCache', () => {
  let folder: string;
  let targets: number;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'file-cache-'));
    targets = 0;
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const open = (maxBytes = 1000, maxEntries = 100): FileCache =>
    new FileCache(join(folder, 'cache'), { maxBytes, maxEntries });

  function add(cache: FileCache, text: string, isExecutable = false): CachedFile {
    const file = { digest: digestOf('sha256', Buffer.from(text)), isExecutable };
    const temporary = cache.temporaryPath();
    writeFileSync(temporary, text);
    cache.add(file, temporary);
    return file;
  }

  const target = (): string => join(folder, `target${targets++}`);

  /** Where a file was linked to, or undefined if it is not cached. */
  function link(cache: FileCache, file: CachedFile): string | undefined {
    const path = target();
    return cache.link(file, path) ? path : undefined;
  }

  it('links files read-only, with the executable bit asked for (R-CM-12, R-CM-22)', () => {
    const cache = open();
    const file = add(cache, 'text');
    const plain = link(cache, file) ?? '';
    const executable = link(cache, { ...file, isExecutable: true }) ?? '';
    assert.equal(readFileSync(plain, 'utf8'), 'text');
    assert.equal(readFileSync(executable, 'utf8'), 'text');
    assert.equal(statSync(plain).mode & 0o777, 0o444);
    assert.equal(statSync(executable).mode & 0o777, 0o555);
    assert.notEqual(statSync(plain).ino, statSync(executable).ino, 'mode bits belong to the inode');
    assert.equal(statSync(plain).ino, statSync(link(cache, file) ?? '').ino);
  });

  it('has only what was added', () => {
    const cache = open();
    assert.equal(link(cache, { digest: digestOf('sha256', Buffer.from('x')), isExecutable: false }), undefined);
  });

  it('drops the least recently used files beyond its size, and links stay whole', () => {
    const cache = open(20);
    const [a, b, c] = ['a', 'b', 'c'].map((letter) => add(cache, letter.repeat(10)));
    assert.ok(a && b && c);
    const linked = link(cache, a);
    cache.shrink();
    assert.equal(cache.sizeBytes, 20);
    assert.equal(link(cache, b), undefined, 'a was used after b');
    assert.ok(link(cache, c));
    assert.equal(readFileSync(linked ?? '', 'utf8'), 'a'.repeat(10));
  });

  it('bounds the number of files as well', () => {
    const cache = open(1000, 2);
    for (const text of ['a', 'b', 'c']) add(cache, text);
    cache.shrink();
    assert.equal(cache.entries, 2);
  });

  it('knows its files again after a restart, and forgets unfinished ones', () => {
    const before = open();
    const file = add(before, 'kept');
    const unfinished = before.temporaryPath();
    writeFileSync(unfinished, 'half');
    const after = open();
    assert.equal(after.sizeBytes, 4);
    assert.ok(link(after, file));
    assert.equal(existsSync(unfinished), false);
  });

  it('drops at a start what a crash of the machine left incomplete', () => {
    const whole = add(open(), 'whole');
    const torn = add(open(), 'torn');
    const shard = join(folder, 'cache/v1', torn.digest.hash.slice(0, 2));
    writeFileSync(join(shard, `sha256-${torn.digest.hash}-4`), '');
    const after = open();
    assert.equal(link(after, torn), undefined);
    assert.ok(link(after, whole));
    assert.equal(after.sizeBytes, 5);
  });

  it('remembers over a restart which files were used last', async () => {
    const before = open();
    const files: CachedFile[] = [];
    for (const letter of ['a', 'b', 'c']) files.push(add(before, letter.repeat(10)));
    const [a, b, c] = files;
    assert.ok(a && b && c);
    const changeOf = (path: string): number => statSync(path).ctimeMs;
    // The file system's clock has ticks of some milliseconds; a use counts once it has moved on.
    const last = changeOf(link(before, c) ?? '');
    let used = last;
    while (used <= last) used = changeOf(link(before, a) ?? '');
    const after = open(20);
    assert.equal(after.entries, 2);
    assert.ok(link(after, a), 'a was used last');
  });

  it('refuses a folder that holds what is not its own', () => {
    const { digest } = add(open(), 'x');
    writeFileSync(join(folder, 'cache/v1', digest.hash.slice(0, 2), 'alien'), '');
    assert.throws(
      () => open(),
      (error) => isKind(error, 'internal'),
    );
  });

  for (const [what, tamper] of Object.entries({
    content: (path: string) => {
      chmodSync(path, 0o644);
      writeFileSync(path, 'evil');
      chmodSync(path, 0o444);
    },
    mode: (path: string) => chmodSync(path, 0o666),
    size: (path: string) => writeFileSync(path, 'longer than before', { flag: 'a' }),
  })) {
    it(`drops a file whose ${what} was changed through a link (T-21)`, () => {
      const cache = open();
      const file = add(cache, 'good');
      cache.verify(file);
      assert.equal(cache.quarantined, 0);
      tamper(link(cache, file) ?? '');
      cache.verify(file);
      assert.equal(cache.quarantined, 1);
      assert.equal(link(cache, file), undefined);
      assert.equal(cache.sizeBytes, 0);
    });
  }

  it('knows what it has, in either variant', () => {
    const cache = open();
    const file = add(cache, 'text');
    assert.equal(cache.has(file), true);
    assert.equal(cache.has({ ...file, isExecutable: true }), true);
    assert.equal(cache.has({ digest: digestOf('sha256', Buffer.from('other')), isExecutable: false }), false);
  });

  it('lists its large files, those used last first, over a restart as well, and counts how they come and go', () => {
    const size = MIN_SKETCHED_BYTES;
    const cache = open(3 * size);
    const [a, b] = ['a', 'b'].map((letter) => add(cache, letter.repeat(size)));
    assert.ok(a && b);
    add(cache, 's'.repeat(size - 1));
    link(cache, a);
    assert.deepEqual([...cache.largeHashes()], [a.digest.hash, b.digest.hash]);
    assert.deepEqual([cache.largeFiles, cache.largeChanges], [2, 2]);
    assert.deepEqual([...open(3 * size).largeHashes()].sort(), [a.digest.hash, b.digest.hash].sort());
    const c = add(cache, 'c'.repeat(size));
    cache.shrink();
    assert.deepEqual([...cache.largeHashes()], [c.digest.hash, a.digest.hash]);
    assert.equal(cache.largeChanges, 4);
  });

  it('notices that a file was removed behind its back', () => {
    const cache = open();
    const file = add(cache, 'gone');
    rmSync(join(folder, 'cache/v1', file.digest.hash.slice(0, 2)), { recursive: true });
    assert.equal(link(cache, file), undefined);
    assert.equal(cache.entries, 0);
  });
});
