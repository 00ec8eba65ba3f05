import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ofKind } from '../../../test/support/expectations.ts';
import { PackBuilder } from './pack-builder.ts';
import {
  CONDEMNATION_BYTES,
  type Condemnation,
  decodeFooter,
  FOOTER_HEADER_BYTES,
  footerPlace,
  MAX_FOOTER_BYTES,
  MAX_PACK_CONDEMNATIONS,
  MAX_PACK_RECORDS,
  PACK_FORMAT_VERSION,
  PACK_TRAILER_BYTES,
  type PackHeader,
  type PackVisitor,
  tailBytes,
  writeTrailer,
} from './pack-format.ts';

const KEY_HASH = '8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a';

/** A small pack, byte for byte; its checksums were computed by another program. */
const GOLDEN = {
  bodies: `68656c6c6f${'78'.repeat(300)}010006050403020177d98ad06b76010007050403020101fbd2436b`,
  header: '01020304050607080c0b0a000000a1a2a3a4010000650100000004000000',
  condemnation: '1112131415161718020000000000b1b2b3b401000064',
  records:
    `01${'ab'.repeat(32)}05` +
    `02${'cd'.repeat(20)}${'00'.repeat(12)}ac02` +
    `80${KEY_HASH}0e0700000000002122232425262728` +
    `81${KEY_HASH}0d0900000000000102030405060708`,
  trailer: '47414e545259504b010000004c0100000000d9000000000000000000984d980f',
};
const GOLDEN_PACK = Buffer.from(Object.values(GOLDEN).join(''), 'hex');
const BODY_BYTES = GOLDEN.bodies.length / 2;
const RECORDS_AT = FOOTER_HEADER_BYTES + CONDEMNATION_BYTES;
const GOLDEN_FOOTER = Buffer.from(GOLDEN.header + GOLDEN.condemnation + GOLDEN.records, 'hex');

/** Writes down what it is shown. */
class Visits implements PackVisitor {
  readonly condemnations: Condemnation[] = [];
  readonly records: unknown[] = [];

  condemned(condemnation: Condemnation): void {
    this.condemnations.push(condemnation);
  }

  record(...[key, record]: Parameters<PackVisitor['record']>): void {
    assert.equal(key.kind, record.kind);
    const { kind, offset, lengthBytes, sequence, writer } = record;
    this.records.push([kind, key.hex(), offset, lengthBytes, sequence, writer]);
  }

  get count(): number {
    return this.condemnations.length + this.records.length;
  }
}

/** As a reader of the bucket does it. */
function readPack(pack: Buffer, visitor: PackVisitor): PackHeader {
  const trailer = pack.subarray(Math.max(0, pack.length - PACK_TRAILER_BYTES));
  const { offset, lengthBytes } = footerPlace(trailer, pack.length);
  return decodeFooter(pack.subarray(offset, offset + lengthBytes), trailer, visitor);
}

/** That a pack is refused before anything of it is visited. */
function assertRefused(pack: Buffer, why: string, expected: object = ofKind('data-loss')): void {
  const visits = new Visits();
  assert.throws(() => readPack(pack, visits), expected, why);
  assert.equal(visits.count, 0, why);
}

/** A pack with that footer and the checksum that belongs to it. */
function packOf(footer: Buffer, bodyBytes: number): Buffer {
  const trailer = Buffer.alloc(PACK_TRAILER_BYTES);
  writeTrailer(trailer, footer, bodyBytes);
  return Buffer.concat([Buffer.alloc(bodyBytes), footer, trailer]);
}

/** The golden footer, changed. */
function footerWith(change: (footer: Buffer) => void): Buffer {
  const footer = Buffer.from(GOLDEN_FOOTER);
  change(footer);
  return footer;
}

function flipped(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

const rotten = (error: unknown): boolean => ofKind('data-loss')(error) || ofKind('precondition')(error);

describe('decodeFooter', () => {
  it('reads a pack that was written by hand', () => {
    const visits = new Visits();
    const header = readPack(GOLDEN_PACK, visits);
    const id = { writer: '0102030405060708', number: 0x0a0b0c, nonce: 'a1a2a3a4' };
    assert.deepEqual(header, { id, createdSeconds: 0x65000001 });
    const condemned = { writer: '1112131415161718', number: 2, nonce: 'b1b2b3b4' };
    assert.deepEqual(visits.condemnations, [{ id: condemned, keepSinceSeconds: 0x64000001 }]);
    assert.deepEqual(visits.records, [
      [1, 'ab'.repeat(32), 0, 5, 0, ''],
      [2, `${'cd'.repeat(20)}${'00'.repeat(12)}`, 5, 300, 0, ''],
      [128, KEY_HASH, 305, 14, 7, '2122232425262728'],
      [129, KEY_HASH, 319, 13, 9, '0102030405060708'],
    ]);
  });

  it('shows every flipped bit of footer and trailer before anything is visited', () => {
    for (let bit = BODY_BYTES * 8; bit < GOLDEN_PACK.length * 8; bit++) {
      assertRefused(flipped(GOLDEN_PACK, bit), `bit ${bit}`, rotten);
    }
  });

  it('shows every length at which a pack is cut off, and bytes behind it', () => {
    for (let bytes = 0; bytes < GOLDEN_PACK.length; bytes++) {
      assertRefused(GOLDEN_PACK.subarray(0, bytes), `${bytes} bytes`);
    }
    assertRefused(Buffer.concat([GOLDEN_PACK, Buffer.alloc(1)]), 'a byte more');
    assertRefused(Buffer.concat([Buffer.alloc(1), GOLDEN_PACK]), 'a byte before');
  });

  it('refuses footer and trailer that are not of one pack', () => {
    const trailer = GOLDEN_PACK.subarray(-PACK_TRAILER_BYTES);
    const visits = new Visits();
    const short = GOLDEN_FOOTER.subarray(0, -1);
    assert.throws(() => decodeFooter(short, trailer, visits), /216 bytes of its footer were read and it has 217/);
    assert.throws(() => decodeFooter(Buffer.alloc(217), trailer, visits), /checksum/);
    assert.equal(visits.count, 0);
  });

  const nonsense: readonly (readonly [string, Buffer, RegExp])[] = [
    ['of kind 0', footerWith((footer) => footer.writeUInt8(0, RECORDS_AT)), /no record 0/],
    ['of kind 130', footerWith((footer) => footer.writeUInt8(130, RECORDS_AT + 34)), /no record 1/],
    ['more than it counts', footerWith((footer) => footer.writeUInt32LE(3, 26)), /not as long as its records/],
    ['fewer than it counts', footerWith((footer) => footer.writeUInt32LE(5, 26)), /no record 4/],
    ['above the limit', footerWith((footer) => footer.writeUInt32LE(MAX_PACK_RECORDS + 1, 26)), /65537 records/],
    ['with a byte behind them', Buffer.concat([GOLDEN_FOOTER, Buffer.of(0)]), /not as long as its records/],
    ['cut off in a version', GOLDEN_FOOTER.subarray(0, -1), /no record 3/],
    ['cut off in a length', GOLDEN_FOOTER.subarray(0, RECORDS_AT + 34 + 34), /no record 1/],
    ['cut off in a hash', GOLDEN_FOOTER.subarray(0, RECORDS_AT + 20), /no record 0/],
    ['of other lengths', footerWith((footer) => footer.writeUInt8(6, RECORDS_AT + 33)), /have 333 bytes .* 332/],
    [
      'with a length of 6 bytes',
      footerWith((footer) => footer.fill(0x80, RECORDS_AT + 33, RECORDS_AT + 39)),
      /record 0/,
    ],
  ];
  for (const [what, footer, message] of nonsense) {
    it(`refuses records ${what}, although the checksum is right`, () => {
      assertRefused(packOf(footer, BODY_BYTES), what, { kind: 'data-loss', message });
    });
  }

  it('refuses condemnations that are more than the footer has or may have', () => {
    const counting = (count: number) =>
      packOf(
        footerWith((footer) => footer.writeUInt32LE(count, 22)),
        BODY_BYTES,
      );
    assertRefused(counting(9), 'more than it has');
    assertRefused(counting(0), 'fewer than it has');
    const tooMany = { kind: 'data-loss', message: /65537 condemnations/ };
    assertRefused(counting(MAX_PACK_CONDEMNATIONS + 1), 'above the limit', tooMany);
  });

  it('hands on what the visitor throws', () => {
    const visits = new Visits();
    const visitor: PackVisitor = {
      condemned: (condemnation) => visits.condemned(condemnation),
      record: () => {
        throw new RangeError('enough');
      },
    };
    assert.throws(() => readPack(GOLDEN_PACK, visitor), new RangeError('enough'));
    assert.equal(visits.condemnations.length, 1);
  });

  it('knows lengths of 1 to 5 bytes and places above 2 GiB', () => {
    const body = new Uint8Array(2 ** 28);
    const exact = [0, 1, 127, 128, 2 ** 14 - 1, 2 ** 14, 2 ** 21 - 1, 2 ** 21, 2 ** 28 - 1];
    const lengths = [...exact, ...Array<number>(14).fill(2 ** 28), 3];
    const builder = new PackBuilder({ writer: '00'.repeat(8), number: 0, nonce: '00000000' }, 0);
    const places = lengths.map((length) => builder.addBlob(1, KEY_HASH, body.subarray(0, length)));
    const end = Buffer.from(builder.finish().at(-1) ?? []);
    const found: unknown[] = [];
    decodeFooter(end.subarray(0, -PACK_TRAILER_BYTES), end.subarray(-PACK_TRAILER_BYTES), {
      condemned: () => assert.fail('it condemns nothing'),
      record: (_key, { offset, lengthBytes }) => found.push({ offset, lengthBytes }),
    });
    assert.deepEqual(found, places);
    assert.deepEqual(
      places.map(({ lengthBytes }) => lengthBytes),
      lengths,
    );
    assert.ok((places.at(-1)?.offset ?? 0) > 2 ** 31);
  });

  it('tells writers of entries apart that differ in one half', () => {
    const writers = ['0102030405060708', '0102030405060709', '1102030405060709', '1102030405060709'];
    const builder = new PackBuilder({ writer: '00'.repeat(8), number: 0, nonce: '00000000' }, 0);
    for (const writer of writers) {
      builder.addEntry({ key: 'k', value: Buffer.of(1), writtenMs: 1, sequence: 1, writer, isRemoval: false });
    }
    const found: string[] = [];
    readPack(Buffer.concat(builder.finish()), {
      condemned: () => assert.fail('it condemns nothing'),
      record: (_key, { writer }) => found.push(writer),
    });
    assert.deepEqual(found, writers);
  });
});

describe('footerPlace', () => {
  const trailer = Buffer.from(GOLDEN.trailer, 'hex');
  const changed = (change: (bytes: Buffer) => void): Buffer => {
    const bytes = Buffer.from(trailer);
    change(bytes);
    return bytes;
  };

  it('finds the footer before the trailer', () => {
    assert.deepEqual(footerPlace(trailer, GOLDEN_PACK.length), { offset: 332, lengthBytes: 217 });
  });

  it('names the version of a pack that a newer server wrote', () => {
    const newer = changed((bytes) => bytes.writeUInt16LE(PACK_FORMAT_VERSION + 1, 8));
    const expected = { kind: 'precondition', message: /version 2, and this server reads packs up to version 1/ };
    assert.throws(() => footerPlace(newer, GOLDEN_PACK.length), expected);
    assert.throws(() => decodeFooter(GOLDEN_FOOTER, newer, new Visits()), expected);
  });

  const damages: readonly (readonly [string, Buffer, number, RegExp])[] = [
    ['an object without a trailer', Buffer.alloc(32), 581, /does not end with a trailer/],
    ['an object shorter than a trailer', trailer.subarray(1), 31, /does not end with a trailer/],
    ['an empty object', trailer.subarray(32), 0, /does not end with a trailer/],
    ['version 0', changed((bytes) => bytes.writeUInt16LE(0, 8)), 581, /version 0, which never was/],
    ['an object of another length', trailer, 582, /of an object of 581 bytes, and it has 582/],
    ['bodies above the limit', changed((bytes) => bytes.writeUIntLE(2 ** 32, 12, 6)), 2 ** 32 + 249, /4294967296/],
    ['a footer without a header', changed((bytes) => bytes.writeUInt32LE(29, 18)), 393, /29 bytes/],
    [
      'a footer above the limit',
      changed((bytes) => bytes.writeUInt32LE(MAX_FOOTER_BYTES + 1, 18)),
      332 + MAX_FOOTER_BYTES + 1 + 32,
      /its footer has/,
    ],
  ];
  for (const [what, bytes, objectBytes, message] of damages) {
    it(`refuses ${what}`, () => {
      assert.throws(() => footerPlace(bytes, objectBytes), { kind: 'data-loss', message });
    });
  }
});

describe('tailBytes', () => {
  const cases = [
    [0, 0],
    [100, 100],
    [65_536, 65_536],
    [65_537, 65_536],
    [20 * 65_536 + 1, 65_537],
    [64 * 1024 * 1024, 3_355_444],
    [4_000_000_000, MAX_FOOTER_BYTES + PACK_TRAILER_BYTES],
  ] as const;
  for (const [objectBytes, expected] of cases) {
    it(`is ${expected} of ${objectBytes} bytes`, () => {
      assert.equal(tailBytes(objectBytes), expected);
    });
  }

  it('gets the whole footer of a pack of small blobs', () => {
    const builder = new PackBuilder({ writer: '00'.repeat(8), number: 0, nonce: '00000000' }, 0);
    const body = Buffer.alloc(1024);
    for (let index = 0; index < 10_000; index++) builder.addBlob(1, 'ab'.repeat(32), body);
    assert.ok(tailBytes(builder.sizeBytes) >= builder.sizeBytes - builder.bodyBytes);
  });
});

describe('a pack', () => {
  const hex = (bytes: number) =>
    fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((array) => Buffer.from(array).toString('hex'));
  const plain = { noNullPrototype: true };
  const seconds = fc.nat({ max: 2 ** 32 - 1 });
  const id = fc.record({ writer: hex(8), number: fc.nat({ max: 2 ** 48 - 1 }), nonce: hex(4) }, plain);
  const record = fc.record({
    kind: fc.constantFrom(1, 9, 127, 128, 129),
    hash: hex(32),
    body: fc.uint8Array({ maxLength: 400 }),
    sequence: fc.nat({ max: 2 ** 48 - 1 }),
    writer: hex(8),
  });
  const packs = fc
    .record({
      id,
      createdSeconds: seconds,
      condemnations: fc.array(fc.record({ id, keepSinceSeconds: seconds }, plain), { maxLength: 4 }),
      records: fc.array(record, { maxLength: 8 }),
    })
    .map((content) => {
      const builder = new PackBuilder(content.id, content.createdSeconds);
      for (const condemnation of content.condemnations) builder.condemn(condemnation);
      for (const { kind, hash, body, ...version } of content.records) {
        if (kind < 128) builder.addBlob(kind, hash, body);
        else builder.addEntryBody(kind, hash, body, version);
      }
      return { ...content, builder, bytes: Buffer.concat(builder.finish()) };
    });

  it('law: is read as it was built', () => {
    fc.assert(
      fc.property(packs, ({ id, createdSeconds, condemnations, records, builder, bytes }) => {
        const visits = new Visits();
        assert.deepEqual(readPack(bytes, visits), { id, createdSeconds });
        assert.deepEqual(visits.condemnations, condemnations);
        let offset = 0;
        const expected = records.map(({ kind, hash, body, sequence, writer }) => {
          const at = offset;
          offset += body.length;
          assert.deepEqual(bytes.subarray(at, offset), Buffer.from(body));
          return [kind, hash, at, body.length, kind < 128 ? 0 : sequence, kind < 128 ? '' : writer];
        });
        assert.deepEqual(visits.records, expected);
        assert.equal(builder.sizeBytes, bytes.length);
        assert.equal(builder.bodyBytes, offset);
      }),
    );
  });

  it('law: shows a flipped bit of footer or trailer, and a missing end', () => {
    fc.assert(
      fc.property(packs, fc.nat(), fc.nat(), ({ builder, bytes }, bit, cut) => {
        const endBytes = bytes.length - builder.bodyBytes;
        assertRefused(flipped(bytes, builder.bodyBytes * 8 + (bit % (endBytes * 8))), 'a flipped bit', rotten);
        assertRefused(bytes.subarray(0, cut % bytes.length), 'a missing end');
      }),
    );
  });
});
