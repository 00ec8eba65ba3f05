import assert from 'node:assert/strict';
import { isKind } from '../errors.ts';
import { abortable, discard, unlessAborted } from './abortable.ts';
import { type ByteStream, collect, streamOf } from './byte-stream.ts';

const NEVER = new AbortController().signal;

/** A source whose first chunk never comes; tells when it is told to stop. */
function hanging(onStop: () => void): ByteStream {
  return {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise(() => undefined),
      return: () => {
        onStop();
        return Promise.reject(new Error('of no interest'));
      },
    }),
  };
}

describe('abortable', () => {
  it('passes chunks and errors on', async () => {
    const bytes = await collect(abortable(streamOf(Buffer.from('a'), Buffer.from('b')), NEVER), 10);
    assert.equal(Buffer.from(bytes).toString(), 'ab');
    const failing = async function* (): ByteStream {
      yield Buffer.from('a');
      throw new Error('broken');
    };
    await assert.rejects(collect(abortable(failing(), NEVER), 10), /broken/);
  });

  it('releases a consumer of a source that hangs, and tells the source to stop', async () => {
    const abort = new AbortController();
    let stops = 0;
    const waiting = collect(
      abortable(
        hanging(() => stops++),
        abort.signal,
      ),
      10,
    );
    abort.abort();
    await assert.rejects(waiting, (error) => isKind(error, 'cancelled'));
    assert.equal(stops, 1);
  });

  it('reads nothing when the signal is aborted already', async () => {
    let isStopped = false;
    const source = hanging(() => {
      isStopped = true;
    });
    await assert.rejects(collect(abortable(source, AbortSignal.abort()), 10), (error) => isKind(error, 'cancelled'));
    assert.equal(isStopped, true);
  });

  it('tells the source to stop when the consumer does', async () => {
    let isStopped = false;
    const source = async function* (): ByteStream {
      try {
        for (;;) yield Buffer.from('a');
      } finally {
        isStopped = true;
      }
    };
    for await (const chunk of abortable(source(), NEVER)) {
      assert.equal(chunk.length, 1);
      break;
    }
    assert.equal(isStopped, true);
  });
});

describe('discard', () => {
  it('tells a source to stop, and ignores one that cannot', () => {
    let stops = 0;
    discard(hanging(() => stops++));
    discard({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error('not read')) }) });
    assert.equal(stops, 1);
  });
});

describe('unlessAborted', () => {
  it('waits for the promise, or for the signal, whichever is first', async () => {
    await unlessAborted(Promise.resolve(), NEVER);
    const abort = new AbortController();
    const waiting = unlessAborted(new Promise(() => undefined), abort.signal);
    abort.abort();
    await assert.rejects(waiting, (error) => isKind(error, 'cancelled'));
    await assert.rejects(unlessAborted(Promise.resolve(), abort.signal), (error) => isKind(error, 'cancelled'));
  });
});
