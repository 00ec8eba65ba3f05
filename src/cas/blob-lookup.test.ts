import assert from 'node:assert/strict';
import fc from 'fast-check';
import { sha256, someBytes } from '../../test/support/blob-store-contract.ts';
import { emptyDigest, isEmptyBlob, sameDigest } from '../digest/digest.ts';
import { fileName, sizeFromName } from './blob-file-name.ts';
import { absentAmong, boundsOf, sliceOf } from './blob-lookup.ts';

const [A, B] = [sha256(someBytes(1)), sha256(someBytes(2))];

describe('absentAmong', () => {
  it('keeps order, drops duplicates and the empty blob, and asks about every present one', () => {
    const asked: string[] = [];
    const isPresent = (digest: typeof A): boolean => {
      asked.push(digest.hash);
      return digest.hash === A.hash;
    };
    assert.deepEqual(absentAmong([B, A, emptyDigest('sha256'), B, A], isPresent), [B]);
    assert.deepEqual(asked, [B.hash, A.hash, B.hash, A.hash]);
  });

  it('tells digests apart by size too (R-DIG-02)', () => {
    const other = { ...A, sizeBytes: 7 };
    assert.deepEqual(
      absentAmong([A, other], () => false),
      [A, other],
    );
  });
});

describe('absentAmong, against a naive model', () => {
  const digests = fc
    .array(fc.tuple(fc.nat(3), fc.nat(2)), { maxLength: 30 })
    .map((pairs) => pairs.map(([hash, sizeBytes]) => ({ ...sha256(someBytes(hash)), sizeBytes })));

  it('law: keeps the first of each absent digest, in order', () => {
    fc.assert(
      fc.property(digests, fc.nat(2), (asked, presentSize) => {
        const isPresent = ({ sizeBytes }: typeof A): boolean => sizeBytes === presentSize;
        const absent = asked.filter((digest) => !isEmptyBlob(digest) && !isPresent(digest));
        const expected = absent.filter((digest, index) => absent.findIndex((one) => sameDigest(one, digest)) === index);
        assert.deepEqual(absentAmong(asked, isPresent), expected);
      }),
    );
  });
});

describe('ranges', () => {
  it('law: are what Buffer.subarray says, also beyond the end', () => {
    const bytes = Buffer.from('0123456789');
    fc.assert(
      fc.property(fc.nat(15), fc.option(fc.nat(15), { nil: undefined }), (offset, limit) => {
        const range = limit === undefined ? { offset } : { offset, limit };
        const expected = bytes.subarray(offset, limit === undefined ? undefined : offset + limit);
        assert.deepEqual(Buffer.from(sliceOf(bytes, range)), expected);
        const { startBytes, endBytes } = boundsOf(range, 10);
        assert.equal(endBytes - startBytes, expected.length);
      }),
    );
  });
});

describe('names of blob files', () => {
  it('are frozen: stores on disk depend on them', () => {
    const hash = 'ab'.repeat(32);
    assert.equal(fileName({ function: 'sha256', hash, sizeBytes: 12 }), `${hash}-12-sha256`);
  });

  it('tell the size, and nothing else is a name', () => {
    const name = fileName(A);
    assert.equal(sizeFromName(name), 1);
    for (const wrong of [
      '',
      'x',
      name.slice(1),
      name.toUpperCase(),
      `${name}-x`,
      name.replace('-1-', '-01-'),
      name.replace('sha256', 'md5'),
    ]) {
      assert.equal(sizeFromName(wrong), undefined, wrong);
    }
  });
});
