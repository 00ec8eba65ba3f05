import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type Digest, emptyDigest } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { DirectoryNeedsCache, distinctBlobs } from './directory-needs.ts';

const digest = (text: string): Digest => digestOf('sha256', Buffer.from(text));
const digests: fc.Arbitrary<Digest> = fc
  .tuple(fc.stringMatching(/^[0-9a-f]{64}$/), fc.maxSafeNat())
  .map(([hash, sizeBytes]) => ({ function: 'sha256', hash, sizeBytes }));

describe('DirectoryNeedsCache', () => {
  it('law: gives back what was put, for digests of any size', () => {
    const law = fc.property(fc.array(digests), fc.nat(), (needed, directories) => {
      const cache = new DirectoryNeedsCache(100_000);
      cache.set('tree', digest('t'), { digests: needed, directories });
      assert.deepEqual(cache.get('tree', digest('t')), { digests: needed, directories });
    });
    fc.assert(law, { numRuns: 100 });
  });

  it('keeps the two ways to read a blob apart, and sizes', () => {
    const cache = new DirectoryNeedsCache(100_000);
    cache.set('tree', digest('t'), { digests: [digest('a')], directories: 0 });
    assert.equal(cache.get('root-directory', digest('t')), undefined);
    assert.equal(cache.get('tree', { ...digest('t'), sizeBytes: 2 }), undefined);
  });

  it('law: never takes more than its limit, and forgets the least recently used', () => {
    const law = fc.property(fc.array(fc.tuple(fc.nat({ max: 9 }), fc.nat({ max: 40 }))), (steps) => {
      const cache = new DirectoryNeedsCache(4000);
      for (const [name, count] of steps) {
        const needed = Array.from({ length: count }, (_, index) => digest(`${name}-${index}`));
        cache.set('tree', digest(`${name}`), { digests: needed, directories: 0 });
        assert.ok(cache.bytes <= 4000);
        assert.deepEqual(cache.get('tree', digest(`${name}`))?.digests, needed);
      }
    });
    fc.assert(law, { numRuns: 50 });
    const cache = new DirectoryNeedsCache(1200);
    for (const name of ['a', 'b']) cache.set('tree', digest(name), { digests: [], directories: 1 });
    cache.get('tree', digest('a'));
    cache.set('tree', digest('c'), { digests: [], directories: 1 });
    assert.deepEqual(
      ['a', 'b', 'c'].map((name) => cache.get('tree', digest(name)) !== undefined),
      [true, false, true],
    );
  });

  it('does not keep what is larger than all of it', () => {
    const cache = new DirectoryNeedsCache(1000);
    cache.set('tree', digest('small'), { digests: [], directories: 0 });
    cache.set('tree', digest('t'), { digests: Array.from({ length: 30 }, () => digest('a')), directories: 0 });
    assert.equal(cache.get('tree', digest('t')), undefined);
    assert.notEqual(cache.get('tree', digest('small')), undefined);
  });

  it('remembers nothing with a limit of zero', () => {
    const cache = new DirectoryNeedsCache(0);
    cache.set('tree', digest('t'), { digests: [], directories: 0 });
    assert.equal(cache.get('tree', digest('t')), undefined);
    assert.equal(cache.bytes, 0);
  });
});

describe('distinctBlobs', () => {
  it('lists every digest once, and never the empty blob', () => {
    const [a, b] = [digest('a'), digest('b')];
    const larger = { ...a, sizeBytes: 7 };
    assert.deepEqual(distinctBlobs([a, b, emptyDigest('sha256'), a, larger]), [a, b, larger]);
  });
});
