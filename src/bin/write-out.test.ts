import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { writeOut } from './write-out.ts';

const BYTES = Buffer.from('bytes');

function sink(write: (done: (error?: Error | null) => void) => void): Writable {
  return new Writable({ write: (_chunk, _encoding, done) => write(done) });
}

describe('writeOut', () => {
  it('waits until the stream has taken the bytes, and leaves no listener', async () => {
    let taken: (() => void) | undefined;
    const stream = sink((done) => {
      taken = done;
    });
    let isOver = false;
    const writing = writeOut(stream, BYTES).then((goesOn) => {
      isOver = true;
      return goesOn;
    });
    await Promise.resolve();
    assert.equal(isOver, false);
    taken?.();
    assert.equal(await writing, true);
    assert.equal(stream.listenerCount('error'), 0);
  });

  it('says that nobody reads any more', async () => {
    const stream = sink((done) => done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })));
    assert.equal(await writeOut(stream, BYTES), false);
  });

  it('throws other errors', async () => {
    const stream = sink((done) => done(Object.assign(new Error('no space left'), { code: 'ENOSPC' })));
    await assert.rejects(writeOut(stream, BYTES), /no space left/);
  });
});
