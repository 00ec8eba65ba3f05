import assert from 'node:assert/strict';
import { SOME_BUCKET_STATS, SOME_STATS } from '../../../test/support/fake-store-control.ts';
import { checkText, pruneText, statsText } from './store-text.ts';

describe('statsText', () => {
  it('is a table', () => {
    assert.equal(
      statsText(SOME_STATS, true),
      `\
limit          50.0 GiB
used           12.3 GiB (24.5 %)
  segments     11.0 GiB in 88 files
  other blobs  1.2 GiB in 40 files of their own
  overhead     55.0 MiB for index, lease log and quarantine
live           10.1 GiB of the segments
leased         3.2 GiB of at most 40.0 GiB
records        1,200,000 blobs and 30,000 entries in segments
index          1,230,000 rows, 2,097,152 buckets, 77.1 MiB of memory
oldest         written 3 d 4 h ago
since start    1,234 blobs and 5 entries evicted, 7.0 MiB copied, 2 put aside as damaged
`,
    );
  });

  it('gives no limits of a store whose server does not run', () => {
    const text = statsText(SOME_STATS, false);
    assert.match(text, /^limit {10}that of its server\nused {11}12\.3 GiB\n/);
    assert.match(text, /^leased {9}as long as its server says$/m);
  });

  it('tells of the bucket, if there is one', () => {
    const text = statsText({ ...SOME_STATS, bucket: SOME_BUCKET_STATS }, true);
    assert.equal(
      text.slice(text.indexOf('bucket  ')),
      `\
bucket         S3 answers
  objects      300.0 GiB in 4,000 packs and 700 large blobs; 6 are about to be deleted
  live         240.0 GiB (80.0 %): 9,000,000 blobs and 80,000 entries
  DAMAGED      2 packs cannot be read
  backlog      5.0 MiB of at most 10.0 GiB, 40 uploads
  servers      1 others; news of them is 13 s old
  index        600.0 MiB of memory
  since start  1,500 packs stored, 8.0 MiB copied, 900 objects deleted, 3 writes refused
`,
    );
  });

  it('tells that S3 does not answer, and that there was no news of others yet', () => {
    const bucket = { ...SOME_BUCKET_STATS, isReachable: false, staleSeconds: undefined, damagedPacks: 0 };
    const text = statsText({ ...SOME_STATS, bucket }, true);
    assert.match(text, /^bucket {9}S3 DOES NOT ANSWER$/m);
    assert.match(text, /1 others; no news of them yet$/m);
    assert.doesNotMatch(text, /DAMAGED/);
  });

  it('gives no age of an empty store', () => {
    assert.match(statsText({ ...SOME_STATS, oldestAgeSeconds: 0 }, true), /^oldest {9}–$/m);
  });
});

describe('checkText', () => {
  const sum = { blobs: 1_000, entries: 20, bytes: 3 * 1024 ** 3 };

  it('says that nothing is damaged', () => {
    const text = checkText({ ...sum, damaged: 0, damage: [] });
    assert.equal(text, 'checked 1,000 blobs and 20 entries, 3.0 GiB: no damage\n');
  });

  it('lists the damage, and how much is not listed', () => {
    const damage = [
      { what: 'blob', name: 'sha256/aa/12', reason: 'its bytes have another hash' },
      { what: 'entry', name: 'ac/x\x1b', reason: 'torn' },
    ] as const;
    assert.equal(
      checkText({ ...sum, damaged: 1_002, damage }),
      `\
damaged blob sha256/aa/12: its bytes have another hash
damaged entry ac/x\\x1b: torn
… and 1,000 more
checked 1,000 blobs and 20 entries, 3.0 GiB: 1,002 damaged and put aside; they are missing from now on
`,
    );
  });
});

describe('pruneText', () => {
  const report = { freedBytes: 1024 ** 2, evictedBlobs: 12, evictedEntries: 1, sizeBytes: 1024 ** 3 };

  it('says what went and what is left', () => {
    const text = 'freed 1.0 MiB, 12 blobs and 1 entries; the store takes 1.0 GiB now\n';
    assert.equal(pruneText(report, 1024 ** 3), text);
  });

  it('says why more is left than was asked for', () => {
    assert.match(pruneText(report, 0), /1\.0 GiB now, more than asked for: the rest is leased or overhead\n$/);
  });
});
