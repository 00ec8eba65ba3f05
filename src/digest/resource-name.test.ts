import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ofKind } from '../../test/support/expectations.ts';
import { digestOf } from './hasher.ts';
import {
  type BlobName,
  formatBlobName,
  formatLogName,
  formatUploadName,
  type LogName,
  MAX_RESOURCE_NAME_LENGTH,
  parseBlobName,
  parseLogName,
  parseUploadName,
  resourceKind,
  type UploadName,
} from './resource-name.ts';

const HASH = 'a'.repeat(64);
const DIGEST = { function: 'sha256', hash: HASH, sizeBytes: 12 } as const;

const instances = fc
  .array(fc.constantFrom('main', 'project', 'a b', 'logstreams', '%', 'ü'), { maxLength: 4 })
  .map((segments) => segments.join('/'));
const digests = fc.uint8Array({ maxLength: 20 }).map((bytes) => digestOf('sha256', bytes));
const segments = fc.string({ minLength: 1, maxLength: 12 }).filter((text) => !text.includes('/'));
const blobNames: fc.Arbitrary<BlobName> = fc.record(
  { instance: instances, digest: digests, compressor: fc.constantFrom('zstd', 'deflate', 'brotli') },
  { requiredKeys: ['instance', 'digest'], noNullPrototype: true },
);
const uploadNames: fc.Arbitrary<UploadName> = fc
  .tuple(blobNames, segments, fc.option(fc.array(segments, { minLength: 1, maxLength: 3 }), { nil: undefined }))
  .map(([blob, upload, metadata]) => ({
    ...blob,
    upload,
    ...(metadata === undefined ? {} : { metadata: metadata.join('/') }),
  }));

describe('parseBlobName', () => {
  const accepted: readonly (readonly [string, BlobName])[] = [
    [`blobs/${HASH}/12`, { instance: '', digest: DIGEST }],
    [`/blobs/${HASH}/12`, { instance: '', digest: DIGEST }],
    [`main/blobs/${HASH}/12`, { instance: 'main', digest: DIGEST }],
    [`a/b/c/blobs/${HASH}/12`, { instance: 'a/b/c', digest: DIGEST }],
    [`/main/blobs/${HASH}/12`, { instance: 'main', digest: DIGEST }],
    [`compressed-blobs/zstd/${HASH}/12`, { instance: '', digest: DIGEST, compressor: 'zstd' }],
  ];
  for (const [name, expected] of accepted) {
    it(`reads ${name} (R-BS-01, R-BS-02)`, () => assert.deepEqual(parseBlobName(name), expected));
  }

  const refused: readonly (readonly [string, string])[] = [
    ['nothing', ''],
    ['no keyword', `main/${HASH}/12`],
    ['a name for writing', `uploads/u/blobs/${HASH}/12`],
    ['no size', `blobs/${HASH}`],
    ['a negative size', `blobs/${HASH}/-1`],
    ['a size with a sign', `blobs/${HASH}/+1`],
    ['a size with leading zeros', `blobs/${HASH}/007`],
    ['a size that is no number', `blobs/${HASH}/x`],
    ['a size beyond 2^53', `blobs/${HASH}/9999999999999999`],
    ['a short hash', `blobs/${HASH.slice(1)}/12`],
    ['an upper-case hash', `blobs/${HASH.toUpperCase()}/12`],
    ['more after the size', `blobs/${HASH}/12/more`],
    ['an unknown compressor (R-BS-04)', `compressed-blobs/lzma/${HASH}/12`],
    ['the identity compressor', `compressed-blobs/identity/${HASH}/12`],
    ['the segment of a function that may not be named', `blobs/sha256/${HASH}/12`],
    ['a function that is not offered', `blobs/blake3/${HASH}/12`],
    ['too many characters', `${'x/'.repeat(MAX_RESOURCE_NAME_LENGTH / 2)}blobs/${HASH}/12`],
  ];
  for (const [what, name] of refused) {
    it(`refuses a name with ${what} (R-BS-05)`, () => {
      assert.throws(() => parseBlobName(name), ofKind('invalid-argument'));
    });
  }

  it('names the function that is not offered', () => {
    assert.throws(() => parseBlobName(`blobs/blake3/${HASH}/12`), /blake3/);
  });

  it('law: parsing what was formatted gives the same', () => {
    fc.assert(fc.property(blobNames, (name) => assert.deepEqual(parseBlobName(formatBlobName(name)), name)));
  });

  it('law: any text is read or refused as invalid', () => {
    const pieces = fc.constantFrom('blobs', 'uploads', 'compressed-blobs', 'zstd', HASH, '12', '', 'x', 'blake3');
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 8 }), (parts) => {
        for (const parse of [parseBlobName, parseUploadName, parseLogName]) {
          try {
            parse(parts.join('/'));
          } catch (error) {
            assert.ok(ofKind('invalid-argument')(error), String(error));
          }
        }
      }),
    );
  });
});

describe('parseUploadName', () => {
  const accepted: readonly (readonly [string, UploadName])[] = [
    [`uploads/u-1/blobs/${HASH}/12`, { instance: '', upload: 'u-1', digest: DIGEST }],
    [`/uploads/u-1/blobs/${HASH}/12`, { instance: '', upload: 'u-1', digest: DIGEST }],
    [`a/b/uploads/u/blobs/${HASH}/12`, { instance: 'a/b', upload: 'u', digest: DIGEST }],
    [`uploads/u/blobs/${HASH}/12/out/a.o`, { instance: '', upload: 'u', digest: DIGEST, metadata: 'out/a.o' }],
    [`uploads/u/compressed-blobs/zstd/${HASH}/12`, { instance: '', upload: 'u', digest: DIGEST, compressor: 'zstd' }],
    [`uploads/u/blobs/${HASH}/12/blobs/x`, { instance: '', upload: 'u', digest: DIGEST, metadata: 'blobs/x' }],
  ];
  for (const [name, expected] of accepted) {
    it(`reads ${name} (R-BS-01, R-BS-03)`, () => assert.deepEqual(parseUploadName(name), expected));
  }

  for (const name of [
    `blobs/${HASH}/12`,
    `uploads/blobs/${HASH}/12`,
    `uploads//blobs/${HASH}/12`,
    'uploads',
    'uploads/u',
    `uploads/u/x/${HASH}/12`,
    'main',
  ]) {
    it(`refuses ${name} (R-BS-54)`, () => assert.throws(() => parseUploadName(name), ofKind('invalid-argument')));
  }

  it('law: parsing what was formatted gives the same', () => {
    fc.assert(fc.property(uploadNames, (name) => assert.deepEqual(parseUploadName(formatUploadName(name)), name)));
  });
});

describe('parseLogName', () => {
  const accepted: readonly (readonly [string, LogName])[] = [
    ['main/logstreams/id', { parent: 'main', id: 'id' }],
    ['a/b/logstreams/id/token', { parent: 'a/b', id: 'id', writeToken: 'token' }],
    ['logstreams/id', { parent: '', id: 'id' }],
  ];
  for (const [name, expected] of accepted) {
    it(`reads ${name}, and formats it again`, () => {
      assert.deepEqual(parseLogName(name), expected);
      assert.equal(formatLogName(expected), name);
    });
  }

  for (const name of [
    'main/logstreams',
    'main/logstreams/',
    'a/logstreams/id/',
    'a/logstreams/id/token/more',
    'a/b',
    `logstreams/blobs/${HASH}`,
  ]) {
    it(`refuses ${name}`, () => assert.throws(() => parseLogName(name), ofKind('invalid-argument')));
  }
});

describe('resourceKind', () => {
  it('takes a name for a log only if neither uploads nor blobs occurs (R-LS-13)', () => {
    assert.equal(resourceKind(`logstreams/blobs/${HASH}/12`), 'blob');
    assert.equal(resourceKind(`logstreams/uploads/u/blobs/${HASH}/12`), 'blob');
    assert.equal(resourceKind('main/logstreams/id'), 'log');
    assert.equal(resourceKind('main/something/id'), 'unknown');
    assert.equal(resourceKind(''), 'unknown');
  });
});
