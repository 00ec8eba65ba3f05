import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ofKind } from '../../test/support/expectations.ts';
import { type ByteStream, collect, streamOf, WHOLE } from './byte-stream.ts';

describe('streamOf', () => {
  it('yields the chunks in order and leaves out empty ones', async () => {
    const seen: string[] = [];
    for await (const chunk of streamOf(Buffer.from('a'), new Uint8Array(), Buffer.from('bc'))) seen.push(String(chunk));
    assert.deepEqual(seen, ['a', 'bc']);
  });
});

describe('collect', () => {
  it('law: joins any chunking to the same bytes, up to exactly the limit', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 6 }), async (chunks) => {
        const whole = Buffer.concat(chunks);
        assert.deepEqual(Buffer.from(await collect(streamOf(...chunks), whole.length)), whole);
      }),
    );
  });

  it('does not copy a stream of one chunk', async () => {
    const only = Buffer.from('only');
    assert.equal(await collect(streamOf(only), 4), only);
  });

  it('stops reading, and ends the source, as soon as the limit is passed', async () => {
    let pulled = 0;
    let isEnded = false;
    async function* endless(): ByteStream {
      try {
        for (;;) {
          pulled++;
          yield new Uint8Array(10);
        }
      } finally {
        isEnded = true;
      }
    }
    await assert.rejects(collect(endless(), 25), ofKind('too-large'));
    assert.equal(pulled, 3);
    assert.equal(isEnded, true);
  });
});

describe('WHOLE', () => {
  it('starts at the beginning and has no limit', () => assert.deepEqual(WHOLE, { offset: 0 }));
});
