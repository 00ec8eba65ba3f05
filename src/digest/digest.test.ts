import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ofKind } from '../../test/support/expectations.ts';
import { ReapiError } from '../errors.ts';
import {
  type Digest,
  digestFromKey,
  digestFromWire,
  digestKey,
  digestPath,
  digestToWire,
  emptyDigest,
  isEmptyBlob,
  isLowerHex,
  parseDigest,
  sameDigest,
} from './digest.ts';

const HASH = 'a'.repeat(64);

const anyDigest: fc.Arbitrary<Digest> = fc
  .record({
    bytes: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    sizeBytes: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  })
  .map(({ bytes, sizeBytes }) => parseDigest('sha256', Buffer.from(bytes).toString('hex'), sizeBytes));

describe('parseDigest', () => {
  it('accepts 64 lower-case hex characters and a size, as number or bigint (R-DIG-01)', () => {
    const expected = { function: 'sha256', hash: HASH, sizeBytes: 7 };
    assert.deepEqual(parseDigest('sha256', HASH, 7), expected);
    assert.deepEqual(parseDigest('sha256', HASH, 7n), expected);
  });

  for (const [what, hash] of [
    ['upper case', 'A'.repeat(64)],
    ['one character short', 'a'.repeat(63)],
    ['one character long', 'a'.repeat(65)],
    ['empty', ''],
    ['not hex', 'g'.repeat(64)],
    ['a newline at the end', `${'a'.repeat(63)}\n`],
    ['the length of SHA-1', 'a'.repeat(40)],
    ['digits of another script', '٠'.repeat(64)],
    ['a path', `${'../'.repeat(21)}a`],
  ] as const) {
    it(`refuses a hash that is ${what} (R-DIG-01)`, () => {
      assert.throws(() => parseDigest('sha256', hash, 1), ofKind('invalid-argument'));
    });
  }

  for (const size of [
    -1,
    -1n,
    0.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    2 ** 53,
    2n ** 53n,
    2n ** 53n + 1n,
    2n ** 63n - 1n,
  ]) {
    it(`refuses the size ${size} (R-DIG-02)`, () => {
      assert.throws(() => parseDigest('sha256', HASH, size), ofKind('invalid-argument'));
    });
  }

  it('shows a hostile hash in the message without control characters and cut', () => {
    assert.throws(
      () => parseDigest('sha256', `\x1b[31m\n${'x'.repeat(500)}`, 1),
      (error) => error instanceof ReapiError && /^[\x20-\x7e…]{1,150}$/.test(error.message),
    );
  });
});

describe('digestFromWire', () => {
  it('names the field that is wrong or absent', () => {
    for (const wire of [undefined, { hash: 'x', sizeBytes: 1n }, { hash: HASH, sizeBytes: -1n }]) {
      assert.throws(
        () => digestFromWire('sha256', wire, 'action_digest'),
        (error) =>
          ofKind('invalid-argument')(error) && error instanceof Error && error.message.startsWith('action_digest'),
      );
    }
  });

  it('law: undoes digestToWire', () => {
    fc.assert(
      fc.property(anyDigest, (digest) => {
        assert.deepEqual(digestFromWire('sha256', digestToWire(digest), 'digest'), digest);
      }),
    );
  });
});

describe('sameDigest', () => {
  it('compares hash and size, for all of them are its identity (R-DIG-02)', () => {
    const one = parseDigest('sha256', HASH, 1);
    assert.equal(sameDigest(one, parseDigest('sha256', HASH, 1)), true);
    assert.equal(sameDigest(one, parseDigest('sha256', HASH, 2)), false);
    assert.equal(sameDigest(one, parseDigest('sha256', 'b'.repeat(64), 1)), false);
  });
});

describe('digestKey', () => {
  it('spells function, hash and size, in a form that is on disk and must not change (R-DIG-04)', () => {
    assert.equal(digestKey(parseDigest('sha256', HASH, 12)), `sha256/${HASH}/12`);
  });

  it('law: digestFromKey undoes it, and keys are equal exactly for equal digests', () => {
    fc.assert(
      fc.property(anyDigest, anyDigest, (a, b) => {
        assert.deepEqual(digestFromKey(digestKey(a)), a);
        assert.equal(digestKey(a) === digestKey(b), sameDigest(a, b));
      }),
    );
  });
});

describe('digestFromKey', () => {
  for (const key of [
    '',
    'sha256',
    `sha256/${HASH}`,
    `sha256/${HASH}/`,
    `sha256/${HASH}/-1`,
    `sha256/${HASH}/1e3`,
    `sha256/${HASH}/007`,
    `sha256/${HASH}/9007199254740992`,
    `sha256/${HASH}/1/2`,
    `md5/${HASH}/1`,
    `SHA256/${HASH}/1`,
    `sha256/${HASH.toUpperCase()}/1`,
  ]) {
    it(`refuses "${key}", which no digestKey is`, () => {
      assert.throws(() => digestFromKey(key), ofKind('invalid-argument'));
    });
  }

  it('law: whatever it accepts is the key of what it returns', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('sha256', 'sha1', ''),
        fc.stringMatching(/^[0-9a-f]{64}$/),
        fc.stringMatching(/^[0-9]{1,17}$/),
        (fn, hash, size) => {
          const key = `${fn}/${hash}/${size}`;
          try {
            assert.equal(digestKey(digestFromKey(key)), key);
          } catch (error) {
            assert.ok(ofKind('invalid-argument')(error), String(error));
          }
        },
      ),
    );
  });
});

describe('digestPath', () => {
  it('is hash and size, without a segment for SHA-256 (R-EX-40)', () => {
    assert.equal(digestPath(parseDigest('sha256', HASH, 12)), `${HASH}/12`);
  });
});

describe('isEmptyBlob', () => {
  it('knows the digest of nothing and no other (R-CAS-01)', () => {
    const empty = emptyDigest('sha256');
    assert.equal(isEmptyBlob(empty), true);
    assert.equal(isEmptyBlob({ ...empty, sizeBytes: 1 }), false);
    assert.equal(isEmptyBlob(parseDigest('sha256', HASH, 0)), false);
  });
});

describe('isLowerHex', () => {
  it('knows exactly the sixteen characters', () => {
    const accepted = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) =>
      isLowerHex(Uint8Array.of(byte), 0, 1),
    );
    assert.equal(String.fromCharCode(...accepted), '0123456789abcdef');
  });

  it('looks at the range and no further', () => {
    const bytes = Buffer.from('-0af-');
    assert.equal(isLowerHex(bytes, 1, 4), true);
    assert.equal(isLowerHex(bytes, 0, 4), false);
    assert.equal(isLowerHex(bytes, 1, 5), false);
    assert.equal(isLowerHex(bytes, 2, 2), true);
  });
});
