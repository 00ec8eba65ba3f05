import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import {
  heldBytes,
  isWellFormed,
  LargestInputs,
  MAX_SKETCH_BYTES,
  MAX_SKETCHED_INPUTS,
  MIN_SKETCHED_BYTES,
  mayHold,
  sketchOf,
} from './locality.ts';

const hashOf = (text: string, algorithm = 'sha256'): string => createHash(algorithm).update(text).digest('hex');
const hashes = (count: number, prefix = ''): string[] =>
  Array.from({ length: count }, (_, index) => hashOf(`${prefix}${index}`));

describe('sketchOf', () => {
  it('grows with the number of files, by powers of two', () => {
    const sizes = [0, 6, 7, 100, 1_000, 10_000].map((count) => sketchOf(hashes(count)).bits.length);
    assert.deepEqual(sizes, [8, 8, 16, 128, 2_048, 16_384]);
  });

  it('stays within its limit and leaves out the last files', () => {
    const files = hashes(300);
    const sketch = sketchOf(files, { maxBytes: 300 });
    assert.equal(sketch.bits.length, 256);
    const fitting = Math.floor((256 * 8) / 10);
    assert.deepEqual(sketch, sketchOf(files.slice(0, fitting), { maxBytes: 256 }));
    assert.ok(files.slice(fitting).some((hash) => !mayHold(sketch, hash)));
  });

  it('never exceeds the largest sketch, whatever limit is asked for', () => {
    const endless = function* (): Generator<string> {
      for (let index = 0; ; index++) yield index.toString(16).padStart(64, '0');
    };
    const sketch = sketchOf(endless(), { maxBytes: 2 ** 30 });
    assert.equal(sketch.bits.length, MAX_SKETCH_BYTES);
    assert.ok(isWellFormed(sketch.bits, sketch.hashes));
  });

  it('puts the bits where another implementation expects them', () => {
    // a = 3, b = 4 | 1: bits 3, 8, 13, 18.
    const { bits, hashes: count } = sketchOf([`0000000300000004${'0'.repeat(48)}`]);
    assert.equal(count, 4);
    assert.deepEqual([...bits], [0b1000, 0b10_0001, 0b100, 0, 0, 0, 0, 0]);
  });
});

describe('mayHold', () => {
  for (const algorithm of ['md5', 'sha1', 'sha256', 'sha512']) {
    it(`finds few files by mistake: below 3 % at every size, with ${algorithm}`, () => {
      for (const count of [6, 51, 102, 409, 3_276]) {
        const sketch = sketchOf(Array.from({ length: count }, (_, index) => hashOf(`held ${index}`, algorithm)));
        let mistakes = 0;
        for (let index = 0; index < 4_000; index++) {
          if (mayHold(sketch, hashOf(`other ${index}`, algorithm))) mistakes++;
        }
        assert.ok(mistakes < 120, `${mistakes} of 4000 with ${count} files`);
      }
    });
  }

  it('law: what was put in is found, whatever it is', () => {
    const hash = fc.oneof(
      fc.string(),
      fc.string().map((text) => hashOf(text)),
    );
    fc.assert(
      fc.property(fc.array(hash, { maxLength: 200 }), (files) => {
        const sketch = sketchOf(files);
        assert.ok(isWellFormed(sketch.bits, sketch.hashes));
        for (const file of files) assert.ok(mayHold(sketch, file));
      }),
    );
  });
});

describe('heldBytes', () => {
  it('adds up the inputs that are there', () => {
    const [a, b, c] = hashes(3);
    assert.ok(a !== undefined && b !== undefined && c !== undefined);
    const inputs = [
      { hash: a, sizeBytes: 1_000_000 },
      { hash: b, sizeBytes: 200_000 },
      { hash: c, sizeBytes: 70_000 },
    ];
    assert.equal(heldBytes(sketchOf([a, c]), inputs), 1_070_000);
    assert.equal(heldBytes(sketchOf([]), inputs), 0);
    assert.equal(heldBytes(sketchOf([a]), []), 0);
  });
});

describe('isWellFormed', () => {
  const table: readonly (readonly [number, number, boolean])[] = [
    [1, 1, true],
    [8, 4, true],
    [MAX_SKETCH_BYTES, 16, true],
    [0, 4, false],
    [24, 4, false],
    [2 * MAX_SKETCH_BYTES, 4, false],
    [8, 0, false],
    [8, 17, false],
    [8, -1, false],
    [8, 1.5, false],
    [8, Number.NaN, false],
  ];
  for (const [bytes, count, isGood] of table) {
    it(`${isGood ? 'accepts' : 'refuses'} ${bytes} bytes with ${count} bits for a digest`, () => {
      assert.equal(isWellFormed(new Uint8Array(bytes), count), isGood);
    });
  }
});

describe('LargestInputs', () => {
  it('leaves small inputs out', () => {
    const largest = new LargestInputs();
    largest.add({ hash: 'small', sizeBytes: MIN_SKETCHED_BYTES - 1 });
    assert.deepEqual(largest.sketch, []);
    largest.add({ hash: 'large', sizeBytes: MIN_SKETCHED_BYTES });
    assert.deepEqual(largest.sketch, [{ hash: 'large', sizeBytes: MIN_SKETCHED_BYTES }]);
  });

  it('law: keeps the largest, sorted, of equals those that came first', () => {
    const sizes = fc.array(fc.integer({ min: MIN_SKETCHED_BYTES - 3, max: MIN_SKETCHED_BYTES + 20 }), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(sizes, (all) => {
        const inputs = all.map((sizeBytes, index) => ({ hash: String(index), sizeBytes }));
        const largest = new LargestInputs();
        for (const input of inputs) largest.add(input);
        const expected = inputs
          .filter(({ sizeBytes }) => sizeBytes >= MIN_SKETCHED_BYTES)
          .sort((a, b) => b.sizeBytes - a.sizeBytes)
          .slice(0, MAX_SKETCHED_INPUTS);
        assert.deepEqual(largest.sketch, expected);
      }),
    );
  });

  it('keeps only hash and size of what it is given', () => {
    const largest = new LargestInputs();
    const digest = { hash: 'a', sizeBytes: MIN_SKETCHED_BYTES, function: 'sha256' };
    largest.add(digest);
    assert.deepEqual(largest.sketch, [{ hash: 'a', sizeBytes: MIN_SKETCHED_BYTES }]);
  });
});
