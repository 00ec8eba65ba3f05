import assert from 'node:assert/strict';
import fc from 'fast-check';
import { inPieces, someBytes } from '../../../test/support/blob-store-contract.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { BugError } from '../../errors.ts';
import { MAX_PARTS, PART_BYTES, partBytesOf, pieces, sendParts } from './s3-multipart.ts';

describe('partBytesOf', () => {
  it('law: parts are never too many, and as short as allowed', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 * 2 ** 40 }), (sizeBytes) => {
        const partBytes = partBytesOf(sizeBytes);
        assert.ok(Math.ceil(sizeBytes / partBytes) <= MAX_PARTS);
        assert.ok(partBytes === PART_BYTES || Math.ceil(sizeBytes / (partBytes - 1)) >= MAX_PARTS);
      }),
    );
  });
});

describe('pieces', () => {
  it('law: they are the stream, all of the same length but the last, whatever the chunks', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(300),
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 320 }),
        async (size, chunk, piece) => {
          const bytes = someBytes(size);
          const all: Uint8Array[] = [];
          for await (const one of pieces(inPieces(bytes, chunk), size, piece)) all.push(one);
          assert.equal(Buffer.compare(Buffer.concat(all), bytes), 0);
          assert.equal(all.length, Math.max(1, Math.ceil(size / piece)));
          assert.ok(all.slice(0, -1).every(({ length }) => length === piece));
        },
      ),
    );
  });

  it('refuses more and fewer bytes than announced', async () => {
    for (const announced of [9, 11]) {
      await assert.rejects(async () => {
        for await (const piece of pieces(inPieces(someBytes(10), 4), announced, 4)) assert.ok(piece.length <= 4);
      }, BugError);
    }
  });
});

describe('sendParts', () => {
  const SIZE = 6 * PART_BYTES;
  const stream = () => inPieces(Buffer.alloc(SIZE), PART_BYTES);

  it('sends a few at once, and gives the parts in order however they end', async () => {
    let running = 0;
    let most = 0;
    const ends: (() => void)[] = [];
    const send = async (number: number) => {
      running += 1;
      most = Math.max(most, running);
      await new Promise<void>((resolve) => ends.push(resolve));
      running -= 1;
      return { PartNumber: number, ETag: `e${number}` };
    };
    const sending = sendParts(stream(), SIZE, send, noAbort());
    for (let ended = 0; ended < 6; ) {
      const end = ends.pop();
      end?.();
      if (end !== undefined) ended += 1;
      await new Promise(setImmediate);
    }
    assert.deepEqual(
      (await sending).map(({ PartNumber }) => PartNumber),
      [1, 2, 3, 4, 5, 6],
    );
    assert.equal(most, 4);
  });

  it('stops reading and the other parts when one fails, and throws that failure after all have ended', async () => {
    const failure = new Error('part 2 failed');
    let ended = 0;
    const send = async (number: number, _body: Uint8Array, signal: AbortSignal) => {
      if (number === 2) throw failure;
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
      ended += 1;
      throw new Error('stopped');
    };
    async function* endless() {
      yield* inPieces(Buffer.alloc(3 * PART_BYTES), PART_BYTES);
      await new Promise(() => undefined);
    }
    await assert.rejects(sendParts(endless(), SIZE, send, noAbort()), failure);
    assert.ok(ended >= 1);
  });

  it('throws what the source throws', async () => {
    const failure = new Error('the source failed');
    async function* broken() {
      yield Buffer.alloc(PART_BYTES);
      throw failure;
    }
    const send = async (PartNumber: number) => ({ PartNumber });
    await assert.rejects(sendParts(broken(), SIZE, send, noAbort()), failure);
  });

  it('ends when the caller leaves', async () => {
    const controller = new AbortController();
    const send = async (PartNumber: number) => {
      controller.abort();
      return { PartNumber };
    };
    await assert.rejects(sendParts(stream(), SIZE, send, controller.signal), ofKind('cancelled'));
  });
});
