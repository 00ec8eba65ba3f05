import assert from 'node:assert/strict';
import { turns } from '../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { BytePipe } from './byte-pipe.ts';

describe('BytePipe', () => {
  it('hands chunks over in order, one at a time, and leaves out empty ones', async () => {
    const pipe = new BytePipe();
    const seen: string[] = [];
    const reading = (async () => {
      for await (const chunk of pipe.read()) seen.push(Buffer.from(chunk).toString());
    })();
    for (const text of ['one', '', 'two', 'three']) {
      await pipe.room(noAbort());
      pipe.put(Buffer.from(text));
    }
    pipe.end();
    await reading;
    assert.deepEqual(seen, ['one', 'two', 'three']);
  });

  it('holds the writer back until the reader takes the chunk', async () => {
    const pipe = new BytePipe();
    const chunks = pipe.read()[Symbol.asyncIterator]();
    pipe.put(Buffer.from('one'));
    assert.equal(pipe.hasRoom, false);
    let hasRoom = false;
    const room = pipe.room(noAbort()).then(() => {
      hasRoom = true;
    });
    await turns(2);
    assert.equal(hasRoom, false);
    await chunks.next();
    await room;
    assert.equal(pipe.hasRoom, true);
  });

  it('releases a writer whose call is cancelled, and one whose call already was', async () => {
    const pipe = new BytePipe();
    pipe.put(Buffer.from('one'));
    const abort = new AbortController();
    const waiting = pipe.room(abort.signal);
    abort.abort();
    await assert.rejects(waiting, ofKind('cancelled'));
    await assert.rejects(pipe.room(abort.signal), ofKind('cancelled'));
    assert.equal(pipe.hasRoom, false);
  });

  it('releases the writer when the reader stops, and swallows what follows', async () => {
    const pipe = new BytePipe();
    const chunks = pipe.read()[Symbol.asyncIterator]();
    pipe.put(Buffer.from('one'));
    await chunks.next();
    pipe.put(Buffer.from('two'));
    const room = pipe.room(noAbort());
    await chunks.return?.();
    await room;
    pipe.put(Buffer.from('three'));
    assert.equal(pipe.hasRoom, true);
  });

  it('ends for a reader that waits when it is stopped from outside', async () => {
    const pipe = new BytePipe();
    const next = pipe.read()[Symbol.asyncIterator]().next();
    await turns(1);
    pipe.stop();
    assert.equal((await next).done, true);
  });

  it('gives the reader an error at once, instead of the chunk that waits', async () => {
    const pipe = new BytePipe();
    const chunks = pipe.read()[Symbol.asyncIterator]();
    const next = chunks.next();
    await turns(1);
    pipe.fail(new Error('broken'));
    pipe.fail(new Error('later'));
    await assert.rejects(next, /broken/);
    const other = new BytePipe();
    other.put(Buffer.from('one'));
    other.fail(new Error('broken'));
    await assert.rejects(Promise.resolve(other.read()[Symbol.asyncIterator]().next()), /broken/);
  });
});
