import assert from 'node:assert/strict';
import fc from 'fast-check';
import { covers, oldestBatch, type Span } from './read-batch.ts';

const LIMITS = { maxGapBytes: 10, maxRequestBytes: 100 };

function span(offset: number, lengthBytes: number): Span {
  return { offset, endOffset: offset + lengthBytes };
}

describe('oldestBatch', () => {
  for (const [title, queued, expected] of [
    ['takes a single one', [span(5, 3)], [5, 8, 1]],
    ['joins neighbours in order of offset', [span(10, 5), span(0, 10), span(15, 5)], [0, 20, 3]],
    ['reads over a gap of the limit', [span(0, 5), span(15, 5)], [0, 20, 2]],
    ['does not read over a longer gap', [span(0, 5), span(16, 5)], [0, 5, 1]],
    ['stops at the longest request', [span(0, 50), span(50, 50), span(100, 1)], [0, 100, 2]],
    ['takes the batch of the oldest, not the first one', [span(200, 5), span(0, 5), span(205, 5)], [200, 210, 2]],
    ['takes a span longer than a request alone', [span(0, 500), span(500, 5)], [0, 500, 1]],
    ['joins what lies within a long span', [span(40, 5), span(0, 500), span(0, 500)], [0, 500, 3]],
    ['joins what begins where a long span does', [span(0, 5), span(0, 500)], [0, 500, 2]],
    ['joins what overlaps', [span(0, 20), span(10, 20)], [0, 30, 2]],
  ] as const) {
    it(title, () => {
      const batch = oldestBatch(queued, LIMITS);
      assert.deepEqual([batch.offset, batch.endOffset, batch.spans.length], expected);
    });
  }

  it('law: serves each span once, never exceeds a limit, and needs no more requests than spans', () => {
    const spans = fc.array(fc.tuple(fc.nat(600), fc.integer({ min: 1, max: 150 })), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(spans, (raw) => {
        const queued = new Set(raw.map(([offset, lengthBytes]) => span(offset, lengthBytes)));
        for (let requests = 0; queued.size > 0; requests++) {
          assert.ok(requests < raw.length);
          const [oldest] = queued;
          const batch = oldestBatch(queued, LIMITS);
          assert.ok(oldest !== undefined && batch.spans.includes(oldest));
          const lengthBytes = batch.endOffset - batch.offset;
          assert.ok(lengthBytes <= LIMITS.maxRequestBytes || batch.spans.some((each) => covers(each, batch)));
          for (const each of batch.spans) {
            assert.ok(covers(batch, each));
            assert.ok(queued.delete(each));
          }
        }
      }),
    );
  });

  it('law: all batches together are as few as any that read in order can be', () => {
    const spans = fc.array(fc.tuple(fc.nat(600), fc.integer({ min: 1, max: 50 })), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(spans, (raw) => {
        const queued = new Set(raw.map(([offset, lengthBytes]) => span(offset, lengthBytes)));
        const inOrder = [...queued].sort((a, b) => a.offset - b.offset || b.endOffset - a.endOffset);
        let expected = 0;
        let current = { offset: 0, endOffset: Number.NEGATIVE_INFINITY };
        for (const { offset, endOffset } of inOrder) {
          const joined = Math.max(current.endOffset, endOffset);
          if (offset - current.endOffset <= 10 && joined - current.offset <= 100) current.endOffset = joined;
          else {
            current = { offset, endOffset };
            expected++;
          }
        }
        let requests = 0;
        for (; queued.size > 0; requests++) for (const each of oldestBatch(queued, LIMITS).spans) queued.delete(each);
        assert.ok(requests <= expected, `${requests} > ${expected}`);
      }),
    );
  });
});

describe('covers', () => {
  for (const [inner, isCovered] of [
    [span(10, 10), true],
    [span(12, 3), true],
    [span(9, 3), false],
    [span(15, 6), false],
  ] as const) {
    it(`${isCovered ? 'holds' : 'does not hold'} for ${inner.offset} to ${inner.endOffset} in 10 to 20`, () => {
      assert.equal(covers(span(10, 10), inner), isCovered);
    });
  }
});
