import assert from 'node:assert/strict';
import fc from 'fast-check';
import { digestOfKey, RowKey } from './row-key.ts';

const HASH = '00ff10e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b78';

describe('RowKey', () => {
  it('holds a hash with the first byte highest', () => {
    const key = new RowKey().setHex(1, HASH);
    assert.equal(key.kind, 1);
    assert.deepEqual([...key.words.subarray(0, 2)], [0x00ff10e3, 0xb0c44298]);
    assert.equal(key.hex(), HASH);
  });

  it('takes the first 64 characters of a longer hash and fills a shorter one with zeros', () => {
    assert.equal(new RowKey().setHex(1, `${HASH}${HASH}`).hex(), HASH);
    assert.equal(new RowKey().setHex(1, HASH.slice(0, 32)).hex(), `${HASH.slice(0, 32)}${'0'.repeat(32)}`);
  });

  it('keeps nothing of what it was before', () => {
    const key = new RowKey().setHex(1, 'f'.repeat(64)).setHex(128, '12'.repeat(16));
    assert.equal(key.kind, 128);
    assert.equal(key.hex(), `${'12'.repeat(16)}${'0'.repeat(32)}`);
  });

  it('refuses bytes that are too few', () => {
    assert.throws(() => new RowKey().setBytes(1, new Uint8Array(32), 1), /32 bytes/);
  });

  it('gives the digest back whose whole hash it holds, and none for an entry or a function it does not know', () => {
    const digest = { function: 'sha256' as const, hash: HASH, sizeBytes: 7 };
    assert.deepEqual(digestOfKey(new RowKey().setHex(1, HASH), 7), digest);
    for (const kind of [128, 2]) assert.throws(() => digestOfKey(new RowKey().setHex(kind, HASH), 7), /whole hash/);
  });

  it('law: hex, bytes and words are the same hash', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.nat(9), (bytes, offset) => {
        const hex = Buffer.from(bytes).toString('hex');
        const shifted = new Uint8Array(offset + 32 + 3);
        shifted.set(bytes, offset);
        assert.equal(new RowKey().setBytes(1, shifted, offset).hex(), hex);
        assert.deepEqual(new RowKey().setHex(1, hex).words, new RowKey().setBytes(1, bytes).words);
      }),
    );
  });

  it('law: the order of hex is the order of words', () => {
    const hex = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
    fc.assert(
      fc.property(hex, hex, (a, b) => {
        const wordsOfA = [...new RowKey().setHex(1, a).words];
        const wordsOfB = [...new RowKey().setHex(1, b).words];
        const differing = wordsOfA.findIndex((word, index) => word !== wordsOfB[index]);
        assert.equal((wordsOfA[differing] ?? 0) < (wordsOfB[differing] ?? 0), a < b);
      }),
    );
  });
});
