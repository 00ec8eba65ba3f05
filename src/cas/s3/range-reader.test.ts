import assert from 'node:assert/strict';
import fc from 'fast-check';
import { turns } from '../../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { RangeObjects } from '../../../test/support/range-objects.ts';
import { isKind, ReapiError } from '../../errors.ts';
import { type ObjectRange, RangeReader, type RangeReaderOptions } from './range-reader.ts';

const KIB = 1024;
const SIZE_BYTES = 100_000;

/** A reader over two objects. */
function setUp(options: Partial<RangeReaderOptions> = {}) {
  const objects = new RangeObjects();
  const whole = objects.add('a', SIZE_BYTES);
  objects.add('b', SIZE_BYTES);
  const reader = new RangeReader(objects, new FakeClock(), { maxConcurrent: 4, ...options });
  const read = (objectKey: string, offset: number, lengthBytes: number, signal = noAbort()) =>
    reader.read({ objectKey, offset, lengthBytes }, signal);
  const asked = () => objects.requests.map(({ key, offset, lengthBytes }) => [key, offset, lengthBytes]);
  const isIdle = () => {
    assert.deepEqual([reader.waitingReads, reader.bytesInFlight, objects.running], [0, 0, 0]);
  };
  return { objects, whole, reader, read, asked, isIdle };
}

/** Requests stay open until the test answers them. */
function held(options: Partial<RangeReaderOptions> = {}) {
  const world = setUp(options);
  world.objects.onRequest = () => undefined;
  return world;
}

describe('RangeReader, joining', () => {
  it('reads with one request what is asked for within a turn and lies close together', async () => {
    const { whole, read, asked, isIdle } = setUp();
    const parts = await Promise.all([read('a', 65_000, 300), read('a', 100, 50), read('a', 150, 10)]);
    assert.deepEqual(parts.map(hex), [
      hex(whole.subarray(65_000, 65_300)),
      hex(whole.subarray(100, 150)),
      hex(whole.subarray(150, 160)),
    ]);
    assert.deepEqual(asked(), [['a', 100, 65_200]]);
    isIdle();
  });

  it('asks per object, and apart for what lies far apart', async () => {
    const { read, asked } = setUp();
    await Promise.all([read('a', 0, 10), read('b', 10, 10), read('a', 10 + 64 * KIB + 1, 10)]);
    assert.deepEqual(asked(), [
      ['a', 0, 10],
      ['b', 10, 10],
      ['a', 64 * KIB + 11, 10],
    ]);
  });

  it('reads the same range once for all who want it, also while it is under way', async () => {
    const { objects, whole, read, asked } = held();
    const before = [read('a', 5, 10), read('a', 5, 10)];
    await turns(1);
    const later = [read('a', 5, 10), read('a', 7, 3)];
    await turns(1);
    assert.deepEqual(asked(), [['a', 5, 10]]);
    objects.requests[0]?.answer();
    for (const call of [...before, later[0]]) assert.equal(hex((await call) ?? whole), hex(whole.subarray(5, 15)));
    assert.equal(hex((await later[1]) ?? whole), hex(whole.subarray(7, 10)));
  });

  it('gathers what comes while all requests are taken', async () => {
    const { objects, read, asked, isIdle } = held({ maxConcurrent: 1 });
    const first = read('b', 0, 10);
    await turns(1);
    const others: Promise<Uint8Array>[] = [];
    for (let blob = 0; blob < 5; blob++) {
      others.push(read('a', blob * 100, 100));
      await turns(2);
    }
    objects.onRequest = (request) => request.answer();
    objects.requests[0]?.answer();
    await Promise.all([first, ...others]);
    assert.deepEqual(asked(), [
      ['b', 0, 10],
      ['a', 0, 500],
    ]);
    isIdle();
  });

  it('lets objects take turns, and begins with the oldest read of each', async () => {
    const { read, asked } = setUp({ maxConcurrent: 1, maxGapBytes: 0 });
    await Promise.all([read('a', 500, 1), read('a', 100, 1), read('a', 300, 1), read('b', 9, 1)]);
    assert.deepEqual(asked(), [
      ['a', 500, 1],
      ['b', 9, 1],
      ['a', 100, 1],
      ['a', 300, 1],
    ]);
  });

  it('answers a read of nothing without a request', async () => {
    const { read, asked } = setUp();
    assert.equal((await read('a', 5, 0)).length, 0);
    assert.deepEqual(asked(), []);
  });

  it('copies what is small beside what came with it, and nothing else', async () => {
    const { read } = setUp();
    const [small, large] = await Promise.all([read('a', 0, 300), read('a', 300, 9_000)]);
    assert.equal(small.buffer.byteLength, 300);
    assert.equal(large.buffer.byteLength, 9_300);
  });
});

describe('RangeReader, limits', () => {
  it('makes no more requests at a time than it may', async () => {
    const { objects, read, isIdle } = setUp({ maxConcurrent: 2, maxGapBytes: 0 });
    await Promise.all(Array.from({ length: 9 }, (_, index) => read('a', index * 10, 5)));
    assert.equal(objects.maxRunning, 2);
    assert.equal(objects.requests.length, 9);
    isIdle();
  });

  it('has no more bytes under way than it may, and lets a longer request go alone', async () => {
    const { objects, read, isIdle } = setUp({ maxBytesInFlight: 250, maxGapBytes: 0 });
    const reads = [0, 1000, 2000, 3000].map((offset) => read('a', offset, 100));
    await Promise.all(reads);
    assert.equal(objects.maxRunningBytes, 200);
    await Promise.all([read('a', 0, 100), read('a', 1000, 900), read('a', 2000, 100)]);
    assert.equal(objects.maxRunningBytes, 900);
    isIdle();
  });

  it('turns a read away when too many wait, with a time to come back', async () => {
    const { objects, read, isIdle } = held({ maxWaitingReads: 2 });
    const [first, second] = [read('a', 0, 1), read('a', 0, 1)];
    await assert.rejects(
      read('a', 0, 1),
      (error) => isKind(error, 'unavailable') && error.facts.retryAfterMs === 1_000,
    );
    await turns(1);
    objects.requests[0]?.answer();
    await Promise.all([first, second]);
    objects.onRequest = (request) => request.answer();
    await read('a', 0, 1);
    isIdle();
  });
});

describe('RangeReader, aborts and errors', () => {
  it('lets go of one caller alone, in the queue and under way', async () => {
    const { objects, whole, read, isIdle } = held();
    const aborts = [new AbortController(), new AbortController()];
    const queued = read('a', 0, 10, aborts[0]?.signal);
    const underWay = read('a', 20, 10, aborts[1]?.signal);
    const staying = read('a', 40, 10);
    aborts[0]?.abort();
    await assert.rejects(queued, ofKind('cancelled'));
    await turns(1);
    aborts[1]?.abort();
    await assert.rejects(underWay, ofKind('cancelled'));
    assert.equal(objects.requests[0]?.isAborted, false);
    objects.requests[0]?.answer();
    assert.equal(hex(await staying), hex(whole.subarray(40, 50)));
    isIdle();
  });

  it('makes no request for reads that have all gone', async () => {
    const { read, asked, isIdle } = held();
    const abort = new AbortController();
    const reads = [read('a', 0, 10, abort.signal), read('b', 0, 10, abort.signal)];
    abort.abort();
    for (const each of reads) await assert.rejects(each, ofKind('cancelled'));
    await assert.rejects(read('a', 0, 10, abort.signal), ofKind('cancelled'));
    await turns(2);
    assert.deepEqual(asked(), []);
    isIdle();
  });

  it('aborts a request nobody waits for any more; who comes then is read for anew', async () => {
    const { objects, read, isIdle } = held();
    const abort = new AbortController();
    const gone = [read('a', 0, 10, abort.signal), read('a', 10, 10, abort.signal)];
    await turns(1);
    abort.abort();
    const late = read('a', 0, 10);
    for (const each of gone) await assert.rejects(each, ofKind('cancelled'));
    assert.equal(objects.requests[0]?.isAborted, true);
    await turns(1);
    objects.requests[1]?.answer();
    assert.equal((await late).length, 10);
    isIdle();
  });

  it('gives the error of a request, as it is, to all who wait for it and to nobody else', async () => {
    const { objects, read, isIdle } = held();
    const failing = [read('a', 0, 10), read('a', 10, 10)];
    const fine = read('b', 0, 10);
    await turns(1);
    const error = new ReapiError('unavailable', 'the bucket is away', { retryAfterMs: 5 });
    objects.requests[0]?.fail(error);
    objects.requests[1]?.answer();
    for (const each of failing) await assert.rejects(each, (seen) => seen === error);
    assert.equal((await fine).length, 10);
    isIdle();
  });

  it('says whether an object is gone or too short', async () => {
    const { read, isIdle } = setUp();
    const reads = [read('gone', 0, 10), read('a', SIZE_BYTES - 5, 10)];
    await assert.rejects(Promise.resolve(reads[0]), ofKind('not-found'));
    await assert.rejects(Promise.resolve(reads[1]), ofKind('data-loss'));
    isIdle();
  });
});

describe('RangeReader, reading ahead', () => {
  /** Blobs of 1,000 bytes, one after another; those read ahead are in `taken`. */
  function sequential(options: Partial<RangeReaderOptions> = {}) {
    const taken = new Map<number, Uint8Array>();
    const asks: (readonly [string, number, number])[] = [];
    const readAhead = {
      after: (objectKey: string, endOffset: number, maxBytes: number) => {
        asks.push([objectKey, endOffset, maxBytes]);
        return Array.from({ length: Math.ceil(maxBytes / 1_000) }, (_, index) => ({
          offset: endOffset + index * 1_000,
          lengthBytes: 1_000,
          take: (bytes: Uint8Array) => void taken.set(endOffset + index * 1_000, bytes),
        }));
      },
    };
    return { ...setUp({ readAhead, ...options }), taken, asks };
  }

  it('does not read ahead of a first read', async () => {
    const { read, asked, asks } = sequential();
    await read('a', 0, 1_000);
    assert.deepEqual([asked(), asks], [[['a', 0, 1_000]], []]);
  });

  it('reads what fits into the window with the next read, in the same request', async () => {
    const { whole, read, asked, asks, taken } = sequential();
    await read('a', 0, 1_000);
    assert.equal(hex(await read('a', 1_000, 1_000)), hex(whole.subarray(1_000, 2_000)));
    assert.deepEqual(asks, [['a', 2_000, 64 * KIB]]);
    assert.deepEqual(asked()[1], ['a', 1_000, 66_000]);
    assert.equal(taken.size, 65);
    for (const [offset, bytes] of taken) assert.equal(hex(bytes), hex(whole.subarray(offset, offset + 1_000)));
    assert.equal(taken.get(2_000)?.buffer.byteLength, 1_000);
  });

  it('lets a read of what is being read ahead wait for that', async () => {
    const { objects, whole, read, asked } = sequential();
    await read('a', 0, 1_000);
    objects.onRequest = () => undefined;
    const first = read('a', 1_000, 1_000);
    await turns(1);
    const second = read('a', 5_000, 1_000);
    objects.requests[1]?.answer();
    await first;
    assert.equal(hex(await second), hex(whole.subarray(5_000, 6_000)));
    assert.equal(asked().length, 2);
  });

  it('takes along a read in the queue that lies within what it reads ahead', async () => {
    const { whole, read, asked, isIdle } = sequential({ maxGapBytes: 0 });
    await read('a', 0, 1_000);
    const [, second] = await Promise.all([read('a', 1_000, 1_000), read('a', 3_500, 100)]);
    assert.equal(hex(second), hex(whole.subarray(3_500, 3_600)));
    assert.equal(asked().length, 2);
    isIdle();
  });

  for (const [title, options, expected] of [
    ['the longest request', { maxRequestBytes: 10_000 }, 9_000],
    ['the bytes under way', { maxBytesInFlight: 8_000 }, 5_000],
    ['the next request', {}, 65_000],
  ] as const) {
    it(`stops at ${title}`, async () => {
      const { objects, read, asks } = sequential(options);
      objects.onRequest = () => undefined;
      const next = read('a', 67_000, 2_000);
      await turns(1);
      objects.onRequest = (request) => request.answer();
      await read('a', 0, 1_000);
      await read('a', 1_000, 1_000);
      assert.deepEqual(asks, [['a', 2_000, expected]]);
      objects.requests[0]?.answer();
      await next;
    });
  }

  it('reads again without, if the object ends within what it reads ahead', async () => {
    const { objects, read, asked, taken, isIdle } = sequential();
    objects.add('short', 2_500);
    await read('short', 0, 1_000);
    assert.equal((await read('short', 1_000, 1_000)).length, 1_000);
    assert.deepEqual(asked().slice(1), [
      ['short', 1_000, 66_000],
      ['short', 1_000, 1_000],
    ]);
    assert.equal(taken.size, 0);
    isIdle();
  });

  it('is not troubled by one that cannot use what it gets', async () => {
    const item = { offset: 2_000, lengthBytes: 10, take: () => assert.fail('no room') };
    const { read, asked, isIdle } = setUp({ readAhead: { after: () => [item] } });
    await read('a', 0, 1_000);
    assert.equal((await read('a', 1_000, 1_000)).length, 1_000);
    assert.deepEqual(asked()[1], ['a', 1_000, 1_010]);
    isIdle();
  });

  it('gives all callers the error of one that cannot say what follows', async () => {
    const { read, isIdle } = setUp({ readAhead: { after: () => assert.fail('a fault of its own') } });
    await read('a', 0, 1_000);
    await assert.rejects(read('a', 1_000, 1_000), /a fault of its own/);
    isIdle();
  });
});

describe('RangeReader, for all inputs', () => {
  const wanted = fc.record({
    objectKey: fc.constantFrom('a', 'b'),
    offset: fc.nat(3_000),
    lengthBytes: fc.integer({ min: 1, max: 400 }),
    turn: fc.nat(3),
    abortAfter: fc.option(fc.nat(4), { freq: 4 }),
  });

  it('law: every read gets its bytes or its own cancellation, within all limits, and nothing is left', async () => {
    const limits = fc.record({
      maxConcurrent: fc.integer({ min: 1, max: 3 }),
      maxBytesInFlight: fc.integer({ min: 1, max: 2_000 }),
      maxGapBytes: fc.nat(100),
      maxRequestBytes: fc.integer({ min: 1, max: 1_000 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(wanted, { maxLength: 25 }), limits, fc.boolean(), async (reads, options, isAhead) => {
        const { objects, reader, isIdle } = setUp({ ...options, ...(isAhead && { readAhead: someAhead }) });
        const results = await Promise.allSettled(
          reads.map(async ({ turn, abortAfter, ...range }) => {
            const abort = new AbortController();
            await turns(turn);
            if (abortAfter !== null) turns(abortAfter).then(() => abort.abort());
            return reader.read(range, abort.signal);
          }),
        );
        for (const [index, result] of results.entries()) {
          const { objectKey, offset, lengthBytes, abortAfter } = reads[index] ?? assert.fail();
          const expected = objects.objects.get(objectKey)?.subarray(offset, offset + lengthBytes) ?? assert.fail();
          if (result.status === 'fulfilled') assert.equal(hex(result.value), hex(expected));
          else assert.ok(ofKind('cancelled')(result.reason) && abortAfter !== null, String(result.reason));
        }
        await turns(1);
        isIdle();
        checkLimits(objects, reads, options);
      }),
    );
  });

  it('law: what is asked for at once needs no more requests than there are ranges', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(wanted, { maxLength: 25 }), async (reads) => {
        const { objects, reader } = setUp({ maxGapBytes: 50, maxRequestBytes: 600 });
        await Promise.all(reads.map((range) => reader.read(range, noAbort())));
        const ranges = new Set(
          reads.map(({ objectKey, offset, lengthBytes }) => `${objectKey} ${offset} ${lengthBytes}`),
        );
        assert.ok(objects.requests.length <= ranges.size);
      }),
    );
  });
});

/** Two small items, one of them after a gap. */
const someAhead = {
  after: (_objectKey: string, endOffset: number) =>
    [0, 30].map((gap) => ({
      offset: endOffset + gap,
      lengthBytes: 20,
      take: (bytes: Uint8Array) => assert.equal(bytes.length, 20),
    })),
};

/** No request is longer than allowed unless one range is, and the bytes under way are bounded unless one is alone. */
function checkLimits(
  objects: RangeObjects,
  reads: readonly ObjectRange[],
  options: { maxConcurrent: number; maxBytesInFlight: number; maxRequestBytes: number },
): void {
  const longest = Math.max(0, ...reads.map(({ lengthBytes }) => lengthBytes));
  const longestRequest = Math.max(0, ...objects.requests.map(({ lengthBytes }) => lengthBytes));
  assert.ok(longestRequest <= Math.max(longest, options.maxRequestBytes));
  assert.ok(objects.maxRunning <= options.maxConcurrent);
  assert.ok(objects.maxRunningBytes <= Math.max(options.maxBytesInFlight, longestRequest));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
