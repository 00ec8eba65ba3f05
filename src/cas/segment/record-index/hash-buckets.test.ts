import assert from 'node:assert/strict';
import fc from 'fast-check';
import { BugError } from '../../../errors.ts';
import { HashBuckets } from './hash-buckets.ts';

/** Links that probing for a hash comes upon. */
function probed(buckets: HashBuckets, hash: number): number[] {
  const links: number[] = [];
  for (let at = buckets.start(hash); buckets.link(at) !== 0; at = buckets.next(at)) links.push(buckets.link(at));
  return links;
}

describe('HashBuckets', () => {
  it('has room for the expected links from the start, and doubles later', () => {
    assert.equal(new HashBuckets({ seed: 1, expectedLinks: 1_000_000 }).count, 2 ** 21);
    const buckets = new HashBuckets({ seed: 1, expectedLinks: 0 });
    const { count } = buckets;
    for (let link = 1; link <= count * 0.6; link++) buckets.insert(link, link * 7);
    assert.equal(buckets.count, count);
    buckets.insert(count, 3);
    assert.equal(buckets.count, count * 2);
    for (let link = 1; link <= count * 0.6; link++) assert.ok(probed(buckets, link * 7).includes(link));
  });

  it('keeps its size while links come and go', () => {
    const buckets = new HashBuckets({ seed: 1, expectedLinks: 0 });
    const { count } = buckets;
    for (let link = 1; link <= count * 3; link++) {
      buckets.insert(link, link);
      if (link > 100) buckets.remove(link - 100, link - 100);
    }
    assert.equal(buckets.count, count);
  });

  it('takes removing what is not there for a bug', () => {
    const buckets = new HashBuckets({ seed: 1, expectedLinks: 0 });
    buckets.insert(1, 5);
    assert.throws(() => buckets.remove(2, 5), BugError);
    assert.deepEqual(probed(buckets, 5), [1]);
  });

  it('spreads keys that collide under one seed when the seed is another', () => {
    const under = (seed: number): HashBuckets => new HashBuckets({ seed, expectedLinks: 0 });
    const known = under(1);
    const chosen = Array.from({ length: 200_000 }, (_, word) => word).filter(
      (word) => known.start(known.hash(word, 9)) === 0,
    );
    assert.ok(chosen.length > 100);
    for (const seed of [0, 2, 0xffffffff]) {
      const secret = under(seed);
      const starts = new Set(chosen.map((word) => secret.start(secret.hash(word, 9))));
      assert.ok(starts.size > chosen.length * 0.8);
    }
  });

  it('spreads words that differ in any one bit', () => {
    const buckets = new HashBuckets({ seed: 7, expectedLinks: 0 });
    const starts = new Set<number>();
    for (let bit = 0; bit < 32; bit++) {
      starts.add(buckets.start(buckets.hash(1 << bit, 0)));
      starts.add(buckets.start(buckets.hash(0, 1 << bit)));
    }
    assert.ok(starts.size > 55);
  });

  it('law: everything that is in is found past what was taken out, also round the end', () => {
    // Few hashes, near the last bucket: long runs, and gaps within them.
    const hash = fc.integer({ min: 1010, max: 1034 });
    const steps = fc.array(fc.record({ isRemoval: fc.boolean(), hash, pick: fc.nat() }), { maxLength: 80 });
    fc.assert(
      fc.property(steps, (list) => {
        const buckets = new HashBuckets({ seed: 1, expectedLinks: 0 });
        const links = new Map<number, number>();
        for (const [index, step] of list.entries()) {
          const [link, known] = [...links][step.pick % Math.max(1, links.size)] ?? [0, 0];
          if (step.isRemoval && link !== 0) {
            buckets.remove(link, known);
            links.delete(link);
          } else {
            buckets.insert(index + 1, step.hash);
            links.set(index + 1, step.hash);
          }
          for (const [each, at] of links) assert.equal(probed(buckets, at).filter((found) => found === each).length, 1);
        }
        for (const link of links.keys()) buckets.remove(link, links.get(link) ?? 0);
        for (let bucket = 0; bucket < buckets.count; bucket++) assert.equal(buckets.link(bucket), 0);
      }),
    );
  });
});
