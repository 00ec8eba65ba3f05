import assert from 'node:assert/strict';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import { ofKind } from '../../test/support/expectations.ts';
import { asBuffer, delimitedField, mapFields, varintSize, WireReader, WireType, WireWriter } from './protobuf-wire.ts';

/** A message with every wire type, and a group with a group inside. */
function everything(): Buffer {
  const group = [0x5b, 0x08, 0x01, 0x63, 0x64, 0x5c];
  const writer = new BinaryWriter().uint32(8).int64(-1n).uint32(18).string('text').uint32(29).fixed32(7);
  return Buffer.concat([writer.uint32(33).fixed64(9n).finish(), Buffer.from(group), Buffer.of(0x28, 0x05)]);
}

describe('WireReader', () => {
  it('skips fields of every type, groups included', () => {
    const reader = new WireReader(everything());
    const seen: number[] = [];
    while (reader.next()) {
      seen.push(reader.field);
      reader.skip();
    }
    assert.deepEqual(seen, [1, 2, 3, 4, 11, 5]);
  });

  it('passes over what nobody reads, wherever that stands', () => {
    const reader = new WireReader(everything());
    const read: [number, unknown][] = [];
    while (reader.next()) {
      if (reader.is(2, WireType.delimited)) read.push([2, reader.text()]);
      else if (reader.is(5, WireType.varint)) read.push([5, reader.int32()]);
      else read.push([reader.field, undefined]);
    }
    assert.deepEqual(read, [
      [1, undefined],
      [2, 'text'],
      [3, undefined],
      [4, undefined],
      [11, undefined],
      [5, 5],
    ]);
    assert.equal(reader.next(), false);
  });

  it('fails as undecodable wherever a message is cut inside a field (R-XC-13)', () => {
    const whole = everything();
    const ends = new Set<number>([0]);
    const reader = new WireReader(whole);
    while (reader.next()) {
      reader.skip();
      ends.add(reader.at);
    }
    for (let length = 0; length < whole.length; length++) {
      const cut = new WireReader(whole, 0, length);
      const walk = (): void => {
        while (cut.next()) cut.skip();
      };
      const passOver = (reader = new WireReader(whole, 0, length)): void => {
        while (reader.next());
      };
      for (const act of [walk, passOver]) {
        if (ends.has(length)) act();
        else assert.throws(act, ofKind('undecodable'), `cut at ${length}`);
      }
    }
  });

  for (const [what, bytes] of [
    ['field number 0', [0x00]],
    ['a group that ends without a beginning', [0x0c]],
    ['wire type 7', [0x0f, 0x00]],
    ['a varint of eleven bytes', [0x08, ...new Array<number>(10).fill(0xff), 0x01]],
    ['a length beyond the end', [0x0a, 0x05, 0x00]],
    ['a negative length', [0x0a, ...new Array<number>(9).fill(0xff), 0x01]],
  ] as const) {
    it(`fails as undecodable at ${what}`, () => {
      const reader = new WireReader(Buffer.from(bytes));
      assert.throws(() => reader.next() && reader.skip(), ofKind('undecodable'));
      const idle = new WireReader(Buffer.from(bytes));
      assert.throws(() => idle.next() && idle.next(), ofKind('undecodable'));
    });
  }

  it('law: reads the integers that another writer wrote', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (value) => {
        const reader = new WireReader(asBuffer(new BinaryWriter().uint32(8).int64(BigInt(value)).finish()));
        assert.ok(reader.next() && reader.is(1, WireType.varint));
        assert.equal(reader.int64(), value);
        assert.equal(reader.next(), false);
      }),
    );
  });

  it('gives views, not copies', () => {
    const bytes = delimitedField(3, Buffer.from('abc'));
    const reader = new WireReader(bytes);
    assert.ok(reader.next());
    const view = reader.bytes();
    assert.equal(view.buffer, bytes.buffer);
    assert.equal(view.toString(), 'abc');
  });
});

describe('WireWriter', () => {
  it('law: writes the lengths that another writer writes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), fc.uint8Array({ maxLength: 300 }), (field, value) => {
        const expected = new BinaryWriter()
          .uint32((field << 3) | 2)
          .bytes(value)
          .finish();
        assert.deepEqual(Buffer.from(delimitedField(field, value)), Buffer.from(expected));
      }),
    );
  });

  it('knows the size of varints', () => {
    const sizes = [0, 127, 128, 16383, 16384, 2 ** 32, 2 ** 49, Number.MAX_SAFE_INTEGER].map(varintSize);
    assert.deepEqual(sizes, [1, 1, 2, 2, 3, 5, 8, 8]);
  });

  it('refuses to hand out a buffer that is not full', () => {
    assert.throws(() => new WireWriter(1).finish(), /as long as/);
  });
});

describe('mapFields', () => {
  it('replaces and leaves out fields, and keeps everything else byte for byte', () => {
    const whole = everything();
    assert.deepEqual(
      mapFields(whole, (_, value) => value),
      whole,
    );
    const without = mapFields(whole, () => undefined);
    assert.equal(without.includes('text'), false);
    assert.equal(without.length, whole.length - 6);
    assert.ok(mapFields(whole, () => Buffer.from('other')).includes('other'));
  });
});
