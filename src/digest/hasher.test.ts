import assert from 'node:assert/strict';
import fc from 'fast-check';
import { emptyDigest } from './digest.ts';
import { DIGEST_FUNCTIONS } from './digest-function.ts';
import { createHasher, digestOf } from './hasher.ts';

/** FIPS 180-2, appendix B.1. */
const ABC = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';

describe('digestOf', () => {
  it('gives the published SHA-256 of "abc"', () => {
    assert.deepEqual(digestOf('sha256', Buffer.from('abc')), { function: 'sha256', hash: ABC, sizeBytes: 3 });
  });

  it('gives the digest of the empty blob for no bytes (R-CAS-01)', () => {
    for (const fn of DIGEST_FUNCTIONS) assert.deepEqual(digestOf(fn, new Uint8Array()), emptyDigest(fn));
  });

  it('reads only the view, not the memory around it', () => {
    const memory = Buffer.from('xxabcxx');
    assert.equal(digestOf('sha256', memory.subarray(2, 5)).hash, ABC);
  });
});

describe('createHasher', () => {
  it('law: any chunking of the bytes gives the digest of the whole', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 8 }), (chunks) => {
        for (const fn of DIGEST_FUNCTIONS) {
          const hasher = createHasher(fn);
          for (const chunk of chunks) hasher.update(chunk);
          assert.deepEqual(hasher.finish(), digestOf(fn, Buffer.concat(chunks)));
        }
      }),
    );
  });

  it('refuses to be used after finish', () => {
    const hasher = createHasher('sha256');
    hasher.finish();
    assert.throws(() => hasher.update(new Uint8Array(1)));
    assert.throws(() => hasher.finish());
  });
});
