import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { digestOf } from '../../digest/hasher.ts';
import { isWellFormed, MIN_SKETCHED_BYTES, mayHold } from '../../platform/locality.ts';
import { CacheReporter } from './cache-report.ts';
import { type CachedFile, FileCache } from './file-cache.ts';

describe('CacheReporter', () => {
  let folder: string;
  let cache: FileCache;
  let clock: FakeClock;
  let reporter: CacheReporter;
  let files: number;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'cache-report-'));
    cache = new FileCache(folder, { maxBytes: 1e9, maxEntries: 1000 });
    clock = new FakeClock();
    reporter = new CacheReporter(cache, clock);
    files = 0;
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** Files that differ and have so many bytes. */
  function add(count: number, sizeBytes = MIN_SKETCHED_BYTES): CachedFile[] {
    return Array.from({ length: count }, () => {
      const bytes = Buffer.alloc(sizeBytes);
      bytes.writeUInt32LE(files++);
      const file = { digest: digestOf('sha256', bytes), isExecutable: false };
      const temporary = cache.temporaryPath();
      writeFileSync(temporary, bytes);
      cache.add(file, temporary);
      return file;
    });
  }

  it('tells of the large files once, for all slots', () => {
    const [large] = add(1);
    const [small] = add(1, MIN_SKETCHED_BYTES - 1);
    const sketch = reporter.take();
    assert.ok(sketch && large && small);
    assert.ok(isWellFormed(sketch.bits, sketch.hashes));
    assert.equal(mayHold(sketch, large.digest.hash), true);
    assert.equal(mayHold(sketch, small.digest.hash), false);
    assert.equal(reporter.take(), undefined);
  });

  it('tells of an empty cache as well: the scheduler may remember a fuller one', () => {
    assert.ok(reporter.take());
  });

  it('tells of a tenth at once, and of less after a minute', () => {
    add(20);
    reporter.take();
    const [one] = add(1);
    assert.equal(reporter.take(), undefined);
    clock.advance(59_999);
    assert.equal(reporter.take(), undefined);
    clock.advance(1);
    const sketch = reporter.take();
    assert.ok(sketch && one);
    assert.equal(mayHold(sketch, one.digest.hash), true);
    add(3);
    assert.ok(reporter.take());
  });

  it('counts what was dropped as a change', () => {
    const kept = add(20);
    reporter.take();
    for (const file of kept.slice(0, 2)) {
      writeFileSync(join(folder, 'v1', file.digest.hash.slice(0, 2), nameOf(file)), 'tampered');
      cache.verify(file);
    }
    assert.equal(cache.largeFiles, 18);
    assert.ok(reporter.take());
  });

  it('says nothing for small files', () => {
    reporter.take();
    add(50, 10);
    clock.advance(60_000);
    assert.equal(reporter.take(), undefined);
  });

  it('says it again, without making it anew, after a call was lost, and every five minutes', () => {
    add(5);
    const sketch = reporter.take();
    reporter.lost();
    assert.equal(reporter.take(), sketch);
    assert.equal(reporter.take(), undefined);
    clock.advance(300_000);
    assert.equal(reporter.take(), sketch);
  });

  const nameOf = ({ digest }: CachedFile): string => `sha256-${digest.hash}-${digest.sizeBytes}`;
});
