import assert from 'node:assert/strict';
import fc from 'fast-check';
import { encodeRecord } from '../../test/support/version-1-entries.ts';
import { decodeRecord } from './entry-record.ts';

describe('entry record', () => {
  it('stands on disk as documented', () => {
    const record = encodeRecord('key', Buffer.from('value'));
    // Computed independently: sha256sum of the first 16 bytes and the payload.
    const checksum = '20e341a3872d98da267abc55b9a25e2842f7662639f938c18ab33b6b45d75e88';
    assert.equal(record.subarray(0, 16).toString('hex'), '67656e74010000000300000005000000');
    assert.equal(record.subarray(16, 48).toString('hex'), checksum);
    assert.equal(record.subarray(48).toString(), 'keyvalue');
    assert.equal(record.length, 56);
  });

  it('law: decode reads what encode wrote', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.uint8Array({ maxLength: 500 }), (key, value) => {
        const decoded = decodeRecord(encodeRecord(key, value));
        assert.ok('key' in decoded);
        assert.deepEqual([decoded.key, [...decoded.value]], [key, [...value]]);
      }),
    );
  });

  it('law: one flipped bit, a cut or an addition is noticed', () => {
    const record = encodeRecord('some key', Buffer.from('some value'));
    for (let bit = 0; bit < record.length * 8; bit++) {
      const copy = Buffer.from(record);
      copy.writeUInt8(copy.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      assert.ok('damage' in decodeRecord(copy), `bit ${bit}`);
    }
    for (let length = 0; length < record.length; length++) {
      assert.ok('damage' in decodeRecord(record.subarray(0, length)));
    }
    assert.ok('damage' in decodeRecord(Buffer.concat([record, Buffer.of(0)])));
  });
});
