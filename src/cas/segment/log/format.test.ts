import assert from 'node:assert/strict';
import fc from 'fast-check';
import { TEST_MARK } from '../../../../test/support/record-mark.ts';
import {
  decodeSegmentHeader,
  ENTRY_KIND,
  encodeSegmentHeader,
  type NewRecord,
  nextRecordStart,
  parseRecord,
  RECORD_HEADER_BYTES,
  readRecordHeader,
  recordBytes,
  SEGMENT_HEADER_BYTES,
  writeRecordStart,
} from './format.ts';

const RECORD: NewRecord = {
  kind: 1,
  isRemoval: false,
  key: Buffer.alloc(32, 0xab),
  data: Buffer.from('hello'),
  sequence: 0x0102_0304_0506,
  writtenMs: 1_700_000_000_000,
};

function encode(record: NewRecord): Buffer {
  const bytes = Buffer.alloc(recordBytes(record.key.length + record.data.length));
  bytes.set(record.data, writeRecordStart(TEST_MARK, record, bytes, 0));
  return bytes;
}

describe('recordBytes', () => {
  for (const [payloadBytes, bytes] of [
    [0, 32],
    [1, 40],
    [8, 40],
    [9, 48],
    [1056, 1088],
  ] as const) {
    it(`is ${bytes} for ${payloadBytes} bytes of key and data`, () => assert.equal(recordBytes(payloadBytes), bytes));
  }
});

describe('a record', () => {
  it('keeps its layout, which is on disks', () => {
    assert.equal(
      encode(RECORD).toString('hex'),
      `47524543${encode(RECORD).toString('hex', 4, 8)}0100200005000000${encode(RECORD).toString('hex', 16, 20)}` +
        `0605040302010068e5cf8b01${'ab'.repeat(32)}68656c6c6f000000`,
    );
  });

  it('law: comes back as it was written', () => {
    const records = fc.record({
      kind: fc.constantFrom(1, 2, ENTRY_KIND),
      isRemoval: fc.boolean(),
      key: fc.uint8Array({ maxLength: 100 }),
      data: fc.uint8Array({ maxLength: 300 }),
      sequence: fc.nat({ max: 2 ** 48 - 1 }),
      writtenMs: fc.nat({ max: 2 ** 48 - 1 }),
    });
    fc.assert(
      fc.property(records, (record) => {
        const parsed = parseRecord(TEST_MARK, encode(record));
        assert.ok(!('damage' in parsed));
        const { kind, isRemoval, sequence, writtenMs } = parsed.header;
        const { key, data, ...facts } = record;
        assert.deepEqual({ kind, isRemoval, sequence, writtenMs }, facts);
        assert.deepEqual([...parsed.key], [...key]);
        assert.deepEqual([...parsed.data], [...data]);
      }),
    );
  });

  it('shows every flipped bit that is not padding', () => {
    const whole = encode(RECORD);
    const endBytes = RECORD_HEADER_BYTES + RECORD.key.length + RECORD.data.length;
    for (let at = 0; at < endBytes; at++) {
      const rotten = Buffer.from(whole);
      rotten[at] = (rotten[at] ?? 0) ^ 0x10;
      assert.ok('damage' in parseRecord(TEST_MARK, rotten), `byte ${at}`);
    }
  });

  it('shows when its end is cut off', () => {
    const whole = encode(RECORD);
    for (const bytes of [0, 31, 32, 68])
      assert.ok('damage' in parseRecord(TEST_MARK, whole.subarray(0, bytes)), `${bytes} bytes`);
    assert.equal(readRecordHeader(TEST_MARK, whole, whole.length - 8), undefined);
  });
});

describe('nextRecordStart', () => {
  it('finds the next beginning, at multiples of 8 only', () => {
    const bytes = Buffer.concat([Buffer.alloc(16, 0xff), encode(RECORD), Buffer.alloc(5)]);
    assert.equal(nextRecordStart(TEST_MARK, bytes, 0), 16);
    assert.equal(nextRecordStart(TEST_MARK, bytes, 16), 16);
    assert.equal(nextRecordStart(TEST_MARK, bytes, 24), bytes.length);
    assert.equal(
      nextRecordStart(TEST_MARK, Buffer.concat([Buffer.alloc(4), encode(RECORD)]), 0),
      4 + encode(RECORD).length,
    );
  });
});

describe('a segment header', () => {
  it('keeps its layout, which is on disks', () => {
    const bytes = encodeSegmentHeader({ id: 7, createdSeconds: 9, mark: TEST_MARK });
    assert.equal(bytes.length, SEGMENT_HEADER_BYTES);
    assert.equal(bytes.toString('hex', 0, 28), '47414e5452595347010000000700000009000000' + '4752454373656564');
    assert.deepEqual(decodeSegmentHeader(bytes), { id: 7, createdSeconds: 9, mark: TEST_MARK });
  });

  it('is none if a bit of it flipped, or it is too short', () => {
    const bytes = encodeSegmentHeader({ id: 7, createdSeconds: 9, mark: TEST_MARK });
    for (let at = 0; at < bytes.length; at++) {
      const rotten = Buffer.from(bytes);
      rotten[at] = (rotten[at] ?? 0) ^ 1;
      assert.equal(decodeSegmentHeader(rotten), undefined, `byte ${at}`);
    }
    assert.equal(decodeSegmentHeader(bytes.subarray(0, 31)), undefined);
  });
});
