import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  decodeLocalEntry,
  encodeLocalEntry,
  keyOfLocalEntry,
  LOCAL_ENTRY_OVERHEAD_BYTES,
  localEntryKey,
} from './local-entry.ts';

const WRITER = '0123456789abcdef';

describe('localEntryKey', () => {
  it('is told apart from the keys of a time without a bucket', () => {
    assert.equal(localEntryKey('ac/x'), 's3:ac/x');
    assert.equal(keyOfLocalEntry('s3:ac/x'), 'ac/x');
    assert.equal(keyOfLocalEntry(localEntryKey('s3:')), 's3:');
    assert.equal(keyOfLocalEntry('ac/x'), undefined);
  });
});

describe('decodeLocalEntry', () => {
  it('keeps its layout, which is on disks', () => {
    const version = { sequence: 0x060504030201, writer: WRITER };
    const value = encodeLocalEntry({ version, isRemoval: false, value: Buffer.from('v') });
    assert.equal(value.toString('hex'), `0100010203040506${WRITER}76`);
    const removal = encodeLocalEntry({ version, isRemoval: true, value: new Uint8Array() });
    assert.equal(removal.toString('hex'), `0101010203040506${WRITER}`);
    assert.equal(removal.length, LOCAL_ENTRY_OVERHEAD_BYTES);
  });

  it('is undefined for what is shorter, or of another layout', () => {
    assert.equal(decodeLocalEntry(new Uint8Array()), undefined);
    assert.equal(decodeLocalEntry(Buffer.from(`01${'00'.repeat(14)}`, 'hex')), undefined);
    assert.equal(decodeLocalEntry(Buffer.from(`02${'00'.repeat(15)}`, 'hex')), undefined);
    assert.notEqual(decodeLocalEntry(Buffer.from(`01${'00'.repeat(15)}`, 'hex')), undefined);
  });

  it('law: gives what was encoded, wherever it lies in its buffer', () => {
    const sequence = fc.nat({ max: 2 ** 48 - 1 });
    fc.assert(
      fc.property(sequence, fc.boolean(), fc.uint8Array(), fc.nat({ max: 9 }), (number, isRemoval, value, before) => {
        const entry = { version: { sequence: number, writer: WRITER }, isRemoval, value };
        const stored = Buffer.concat([Buffer.alloc(before, 7), encodeLocalEntry(entry)]).subarray(before);
        const decoded = decodeLocalEntry(new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength));
        assert.deepEqual(decoded && { ...decoded, value: new Uint8Array(decoded.value) }, entry);
      }),
    );
  });
});
