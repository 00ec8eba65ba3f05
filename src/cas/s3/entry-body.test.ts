import assert from 'node:assert/strict';
import fc from 'fast-check';
import { BugError } from '../../errors.ts';
import { decodeEntryBody, encodeEntryBody, MAX_ENTRY_KEY_BYTES } from './entry-body.ts';

const BODY = encodeEntryBody('k', Buffer.from('v'), 0x010203040506);

describe('the body of an entry', () => {
  it('keeps its layout, which is in buckets', () => {
    assert.equal(BODY.toString('hex'), '010006050403020177d98ad06b76');
  });

  it('law: comes back as it was written', () => {
    const texts = fc.string({ unit: 'grapheme', maxLength: 40 });
    const moments = fc.nat({ max: 2 ** 48 - 1 });
    fc.assert(
      fc.property(texts, fc.uint8Array({ maxLength: 100 }), moments, (key, value, writtenMs) => {
        const body = decodeEntryBody(encodeEntryBody(key, value, writtenMs));
        assert.ok(!('damage' in body));
        assert.equal(body.key, key);
        assert.deepEqual([...body.value], [...value]);
        assert.equal(body.writtenMs, writtenMs);
      }),
    );
  });

  it('is read where it stands in a larger array', () => {
    const around = new Uint8Array(BODY.length + 20);
    around.set(BODY, 7);
    const body = decodeEntryBody(around.subarray(7, 7 + BODY.length));
    assert.ok(!('damage' in body));
    assert.equal(body.key, 'k');
    assert.equal(Buffer.from(body.value).toString(), 'v');
  });

  it('shows every flipped bit, also of its time and of the length of its key', () => {
    for (let bit = 0; bit < BODY.length * 8; bit++) {
      const rotten = Buffer.from(BODY);
      rotten[bit >> 3] = (rotten[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.deepEqual(decodeEntryBody(rotten), { damage: 'its bytes do not have their checksum' }, `bit ${bit}`);
    }
  });

  it('shows when its end is cut off', () => {
    for (let bytes = 0; bytes < BODY.length; bytes++) {
      assert.ok('damage' in decodeEntryBody(BODY.subarray(0, bytes)), `${bytes} bytes`);
    }
  });

  it('is refused if its key is longer than it, although the checksum is right', () => {
    const wrong = Buffer.from('020006050403020170cc28dc6b', 'hex');
    assert.deepEqual(decodeEntryBody(wrong), { damage: 'its key is longer than it' });
  });

  it('takes the longest key and none that is longer', () => {
    const longest = 'k'.repeat(MAX_ENTRY_KEY_BYTES);
    const body = decodeEntryBody(encodeEntryBody(longest, Buffer.alloc(0), 0));
    assert.ok(!('damage' in body) && body.key === longest);
    assert.throws(() => encodeEntryBody(`${longest}k`, Buffer.alloc(0), 0), BugError);
    assert.throws(() => encodeEntryBody('é'.repeat(MAX_ENTRY_KEY_BYTES / 2 + 1), Buffer.alloc(0), 0), BugError);
  });
});
