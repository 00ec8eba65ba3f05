import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { deferred, turns } from '../../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { RangeObjects } from '../../../test/support/range-objects.ts';
import { ReapiError } from '../../errors.ts';
import { collect } from '../../system/byte-stream.ts';
import { PartBudget } from './part-budget.ts';
import { type PartStreamOptions, partStream } from './part-stream.ts';
import type { RangeSource } from './range-reader.ts';

/** An object of 1,000 bytes, read in parts of 100 after a first one of 10. */
function setUp(budgetBytes = 300) {
  const objects = new RangeObjects();
  const whole = objects.add('a', 1_000);
  const budget = new PartBudget(budgetBytes);
  const options: PartStreamOptions = { budget, partBytes: 100, firstPartBytes: 10, partsAhead: 3 };
  const open = (offset = 0, lengthBytes = 1_000, signal = noAbort()) => {
    const stream = partStream(objects, { objectKey: 'a', offset, lengthBytes }, options, signal);
    return stream[Symbol.asyncIterator]();
  };
  const asked = () => objects.requests.map(({ offset, lengthBytes }) => [offset, lengthBytes]);
  const isIdle = () => assert.deepEqual([objects.running, budget.freeBytes], [0, budgetBytes]);
  return { objects, whole, budget, options, open, asked, isIdle };
}

/** Requests stay open until the test answers them. */
function held(budgetBytes?: number) {
  const world = setUp(budgetBytes);
  world.objects.onRequest = () => undefined;
  return world;
}

describe('partStream', () => {
  it('requests nothing until somebody reads', async () => {
    const { open, asked, isIdle } = setUp();
    const abort = new AbortController();
    open(0, 1_000, abort.signal);
    await turns(1);
    assert.deepEqual(asked(), []);
    assert.equal(getEventListeners(abort.signal, 'abort').length, 0);
    isIdle();
  });

  it('requests a short first part, and others ahead of the consumer, who gets them in order', async () => {
    const { objects, whole, open, asked } = held();
    const stream = open();
    const first = stream.next();
    assert.deepEqual(asked(), [
      [0, 10],
      [10, 100],
      [110, 100],
      [210, 100],
    ]);
    for (const request of objects.requests.toReversed()) request.answer();
    assert.deepEqual((await first).value, whole.subarray(0, 10));
    assert.equal(asked().length, 4);
    assert.deepEqual((await stream.next()).value, whole.subarray(10, 110));
    assert.deepEqual(asked().length, 4, 'the budget of three parts is spent');
    assert.deepEqual((await stream.next()).value, whole.subarray(110, 210));
    assert.deepEqual(asked()[4], [310, 100]);
    await stream.return?.();
  });

  it('gives long parts in chunks', async () => {
    const objects = new RangeObjects();
    const whole = objects.add('a', 600 * 1024);
    const range = { objectKey: 'a', offset: 0, lengthBytes: whole.length };
    const sizes: number[] = [];
    for await (const chunk of partStream(objects, range, { budget: new PartBudget(0) }, noAbort()))
      sizes.push(chunk.length);
    assert.deepEqual(sizes, [256 * 1024, 256 * 1024, 88 * 1024]);
    assert.equal(objects.requests.length, 1);
  });

  it('is empty for a range of no bytes', async () => {
    const { open, asked } = setUp();
    const stream = open(5, 0);
    assert.deepEqual(await stream.next(), { done: true, value: undefined });
    assert.deepEqual(asked(), []);
  });

  it('goes on with short parts, one at a time, while others have the budget', async () => {
    const { objects, budget, open, asked } = setUp(100);
    assert.ok(budget.tryTake(100));
    const stream = open(0, 60);
    for (let part = 0; part < 3; part++) assert.equal((await stream.next()).value?.length, 10);
    assert.equal(objects.maxRunning, 1);
    budget.giveBack(100);
    assert.equal((await stream.next()).value?.length, 30);
    assert.deepEqual(asked().at(-1), [30, 30]);
    assert.equal((await stream.next()).done, true);
    assert.equal(budget.freeBytes, 100);
  });

  it('stops all requests when the consumer stops, also while it waits', async () => {
    const { objects, open, isIdle } = held();
    const abort = new AbortController();
    const stream = open(0, 1_000, abort.signal);
    const waiting = stream.next();
    await turns(1);
    await stream.return?.();
    assert.deepEqual(await waiting, { done: true, value: undefined });
    assert.ok(objects.requests.every(({ isAborted }) => isAborted));
    assert.deepEqual(await stream.next(), { done: true, value: undefined });
    assert.equal(getEventListeners(abort.signal, 'abort').length, 0);
    isIdle();
  });

  it('stops all requests when the signal aborts, whether or not somebody waits', async () => {
    const { objects, open, isIdle } = held();
    for (const isWaiting of [true, false]) {
      const abort = new AbortController();
      const stream = open(0, 1_000, abort.signal);
      const first = stream.next();
      if (!isWaiting) {
        objects.requests.at(-4)?.answer();
        await first;
      }
      abort.abort();
      await assert.rejects(isWaiting ? first : stream.next(), ofKind('cancelled'));
      await turns(1);
      isIdle();
    }
    await assert.rejects(open(0, 1_000, AbortSignal.abort()).next(), ofKind('cancelled'));
    assert.equal(objects.requests.length, 8);
  });

  it('gives back what it holds when the signal aborts and nobody reads on', async () => {
    const { objects, open, isIdle } = held();
    const abort = new AbortController();
    const stream = open(0, 1_000, abort.signal);
    const first = stream.next();
    objects.requests[0]?.answer();
    await first;
    abort.abort();
    await turns(1);
    isIdle();
  });

  it('counts the parts it has given up until their requests have ended', async () => {
    const { budget, options } = setUp();
    const gates = Array.from({ length: 4 }, () => deferred<Uint8Array>());
    let requests = 0;
    const stubborn: RangeSource = { getRange: () => gates[requests++]?.promise ?? assert.fail() };
    const range = { objectKey: 'a', offset: 0, lengthBytes: 1_000 };
    const stream = partStream(stubborn, range, options, noAbort())[Symbol.asyncIterator]();
    const first = stream.next();
    await stream.return?.();
    assert.equal(budget.freeBytes, 0);
    for (const gate of gates) gate.resolve(new Uint8Array());
    assert.equal((await first).done, true);
    await turns(1);
    assert.equal(budget.freeBytes, 300);
  });

  it('leaves nothing on the signal of a consumer that stopped before it began', async () => {
    const { open, asked } = setUp();
    const abort = new AbortController();
    const stream = open(0, 1_000, abort.signal);
    await stream.return?.();
    assert.equal((await stream.next()).done, true);
    assert.equal(getEventListeners(abort.signal, 'abort').length, 0);
    assert.deepEqual(asked(), []);
  });

  it('fails where the bytes are missing, after those before, and requests nothing after an error', async () => {
    const { objects, whole, open, asked, isIdle } = held();
    const stream = open();
    const first = stream.next();
    const error = new ReapiError('unavailable', 'the bucket is away');
    objects.requests[2]?.fail(error);
    await turns(1);
    for (const request of objects.requests) request.answer();
    assert.deepEqual((await first).value, whole.subarray(0, 10));
    assert.deepEqual((await stream.next()).value, whole.subarray(10, 110));
    await assert.rejects(stream.next(), (seen) => seen === error);
    assert.deepEqual(await stream.next(), { done: true, value: undefined });
    assert.equal(asked().length, 4);
    await turns(1);
    isIdle();
  });

  it('says that the object is gone, or ends before', async () => {
    const { objects, options, open, isIdle } = setUp();
    const gone = partStream(objects, { objectKey: 'gone', offset: 0, lengthBytes: 500 }, options, noAbort());
    await assert.rejects(collect(gone, 500), ofKind('not-found'));
    const stream = open(990, 50);
    assert.equal((await stream.next()).value?.length, 10);
    await assert.rejects(stream.next(), ofKind('data-loss'));
    await turns(1);
    isIdle();
  });

  it('law: gives exactly the range for all sizes of parts, and holds no more than it may', async () => {
    const sizes = fc.record({
      partBytes: fc.integer({ min: 1, max: 300 }),
      firstPartBytes: fc.integer({ min: 1, max: 300 }),
      partsAhead: fc.nat(4),
      budgetBytes: fc.nat(900),
    });
    await fc.assert(
      fc.asyncProperty(sizes, fc.nat(1_000), fc.nat(1_000), async ({ budgetBytes, ...sizesOfParts }, from, to) => {
        const { objects, whole } = setUp();
        const [offset, end] = [Math.min(from, to), Math.max(from, to)];
        const budget = new PartBudget(budgetBytes);
        const range = { objectKey: 'a', offset, lengthBytes: end - offset };
        const bytes = await collect(partStream(objects, range, { budget, ...sizesOfParts }, noAbort()), 1_000);
        assert.deepEqual(Buffer.from(bytes), Buffer.from(whole.subarray(offset, end)));
        const { partBytes, firstPartBytes, partsAhead } = sizesOfParts;
        assert.ok(objects.maxRunningBytes <= Math.min((partsAhead + 1) * partBytes, budgetBytes + firstPartBytes));
        assert.ok(objects.maxRunning <= partsAhead + 1);
        assert.equal(budget.freeBytes, budgetBytes);
      }),
    );
  });

  it('law: many streams share a budget, some of them left early, and all end', async () => {
    const reader = fc.record({ chunks: fc.option(fc.nat(12)), abortAfter: fc.option(fc.nat(12), { freq: 3 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(reader, { maxLength: 6 }), fc.nat(500), async (readers, budgetBytes) => {
        const { objects, whole, open, isIdle } = setUp(budgetBytes);
        const results = await Promise.allSettled(
          readers.map(async ({ chunks, abortAfter }) => {
            const abort = new AbortController();
            if (abortAfter !== null) turns(abortAfter).then(() => abort.abort());
            const stream = open(0, 1_000, abort.signal);
            const seen: Uint8Array[] = [];
            while (chunks === null || seen.length < chunks) {
              const { done, value } = await stream.next();
              if (done === true) break;
              seen.push(value);
            }
            await stream.return?.();
            const bytes = Buffer.concat(seen);
            assert.ok(bytes.equals(whole.subarray(0, bytes.length)));
            if (chunks === null) assert.equal(bytes.length, 1_000);
          }),
        );
        for (const [index, result] of results.entries()) {
          if (result.status === 'fulfilled') continue;
          assert.ok(ofKind('cancelled')(result.reason) && readers[index]?.abortAfter !== null, String(result.reason));
        }
        assert.ok(objects.maxRunningBytes <= budgetBytes + 10 * readers.length);
        await turns(1);
        isIdle();
      }),
    );
  });
});
