import assert from 'node:assert/strict';
import { BugError } from '../../errors.ts';
import { encodeEntryBody } from './entry-body.ts';
import type { ContainerId } from './object-names.ts';
import { type NewPackEntry, PackBuilder } from './pack-builder.ts';
import { MAX_PACK_CONDEMNATIONS, MAX_PACK_RECORDS, PACK_TRAILER_BYTES } from './pack-format.ts';
import { ENTRY_RECORD_KIND, REMOVAL_RECORD_KIND } from './pack-record.ts';

const ID: ContainerId = { writer: '0102030405060708', number: 0x0a0b0c, nonce: 'a1a2a3a4' };
const OTHER: ContainerId = { writer: '1112131415161718', number: 2, nonce: 'b1b2b3b4' };
const HASH = 'ab'.repeat(32);
const KEY_HASH = '8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a';

function newBuilder(): PackBuilder {
  return new PackBuilder(ID, 0x65000001);
}

function entry(change: Partial<NewPackEntry> = {}): NewPackEntry {
  const version = { sequence: 7, writer: '2122232425262728', isRemoval: false };
  return { key: 'k', value: Buffer.from('v'), writtenMs: 0x010203040506, ...version, ...change };
}

/** Adds two blobs, an entry and the removal of it. @returns the places it was told. */
function fill(builder: PackBuilder) {
  builder.condemn({ id: OTHER, keepSinceSeconds: 0x64000001 });
  const removal = {
    value: Buffer.alloc(0),
    writtenMs: 0x010203040507,
    sequence: 9,
    writer: ID.writer,
    isRemoval: true,
  };
  return [
    builder.addBlob(1, HASH, Buffer.from('hello')),
    builder.addBlob(2, 'cd'.repeat(20), Buffer.alloc(300, 'x')),
    builder.addEntry(entry()),
    builder.addEntry(entry(removal)),
  ];
}

describe('PackBuilder', () => {
  it('keeps its layout, which is in buckets', () => {
    const builder = newBuilder();
    fill(builder);
    assert.equal(
      Buffer.concat(builder.finish()).toString('hex'),
      `68656c6c6f${'78'.repeat(300)}010006050403020177d98ad06b76010007050403020101fbd2436b` +
        '01020304050607080c0b0a000000a1a2a3a4010000650100000004000000' +
        '1112131415161718020000000000b1b2b3b401000064' +
        `01${'ab'.repeat(32)}05` +
        `02${'cd'.repeat(20)}${'00'.repeat(12)}ac02` +
        `80${KEY_HASH}0e0700000000002122232425262728` +
        `81${KEY_HASH}0d0900000000000102030405060708` +
        '47414e545259504b010000004c0100000000d9000000000000000000984d980f',
    );
  });

  it('tells the place of each body and counts what it holds', () => {
    const builder = newBuilder();
    assert.deepEqual(fill(builder), [
      { offset: 0, lengthBytes: 5 },
      { offset: 5, lengthBytes: 300 },
      { offset: 305, lengthBytes: 14 },
      { offset: 319, lengthBytes: 13 },
    ]);
    assert.equal(builder.bodyBytes, 332);
    assert.equal(builder.sizeBytes, Buffer.concat(builder.finish()).length);
  });

  it('is header and trailer until something is added', () => {
    const builder = newBuilder();
    assert.equal(builder.sizeBytes, 30 + PACK_TRAILER_BYTES);
    builder.condemn({ id: OTHER, keepSinceSeconds: 1 });
    assert.equal(builder.sizeBytes, 30 + 22 + PACK_TRAILER_BYTES);
  });

  it('has no chunk for an empty body', () => {
    const builder = newBuilder();
    builder.addBlob(1, HASH, Buffer.alloc(0));
    assert.equal(builder.finish().length, 1);
  });

  it('adds 35 bytes to a blob of 1 KiB', () => {
    const builder = newBuilder();
    const before = builder.sizeBytes;
    builder.addBlob(1, HASH, Buffer.alloc(1024));
    assert.equal(builder.sizeBytes - before, 1024 + 35);
  });

  it('hands bodies over without copying them', () => {
    const builder = newBuilder();
    const body = Buffer.from('hello');
    builder.addBlob(1, HASH, body);
    assert.equal(builder.finish()[0], body);
  });

  it('copies the body of an entry forward as it was', () => {
    const added = newBuilder();
    added.addEntry(entry());
    const copied = newBuilder();
    const body = encodeEntryBody('k', Buffer.from('v'), 0x010203040506);
    const { sequence, writer } = entry();
    assert.deepEqual(copied.addEntryBody(ENTRY_RECORD_KIND, KEY_HASH, body, { sequence, writer }), {
      offset: 0,
      lengthBytes: body.length,
    });
    assert.deepEqual(Buffer.concat(copied.finish()), Buffer.concat(added.finish()));
  });

  it('has room for records of any length at any place', () => {
    const { sequence, writer } = entry();
    for (let blobs = 0; blobs < 50; blobs++) {
      const builder = newBuilder();
      for (let index = 0; index < blobs; index++) builder.addBlob(1, HASH, Buffer.of(1));
      for (let index = 0; index < 100; index++) builder.addEntryBody(128, KEY_HASH, Buffer.of(1), { sequence, writer });
      const record = `80${KEY_HASH}0107000000000021222324252627`;
      const end = Buffer.concat(builder.finish()).subarray(-PACK_TRAILER_BYTES - 100 * 48, -PACK_TRAILER_BYTES);
      assert.equal(end.toString('hex'), `${record}28`.repeat(100));
    }
  });

  it('takes as many records as a pack may have, and no more', () => {
    const builder = newBuilder();
    const body = Buffer.of(1);
    for (let index = 0; index < MAX_PACK_RECORDS; index++) builder.addBlob(1, HASH, body);
    const { sizeBytes } = builder;
    assert.throws(() => builder.addBlob(1, HASH, body), BugError);
    assert.equal(builder.sizeBytes, sizeBytes);
  });

  it('takes as many condemnations as a pack may have, and no more', () => {
    const builder = newBuilder();
    const condemnation = { id: OTHER, keepSinceSeconds: 1 };
    for (let index = 0; index < MAX_PACK_CONDEMNATIONS; index++) builder.condemn(condemnation);
    assert.throws(() => builder.condemn(condemnation), BugError);
  });

  it('takes as many bytes as a pack may have, and no more', () => {
    const builder = newBuilder();
    // One array many times: the pack is never put together.
    const body = new Uint8Array(2 ** 24);
    for (let index = 0; index < 255; index++) builder.addBlob(1, HASH, body);
    assert.throws(() => builder.addBlob(1, HASH, body), BugError);
    const last = builder.addBlob(1, HASH, body.subarray(1));
    assert.deepEqual(last, { offset: 255 * 2 ** 24, lengthBytes: 2 ** 24 - 1 });
    assert.equal(builder.bodyBytes, 2 ** 32 - 1);
    assert.throws(() => builder.addBlob(1, HASH, Buffer.of(1)), BugError);
  });

  const misuses: readonly (readonly [string, (builder: PackBuilder) => void])[] = [
    ['a blob of kind 0', (builder) => builder.addBlob(0, HASH, Buffer.of(1))],
    ['a blob of the kind of entries', (builder) => builder.addBlob(ENTRY_RECORD_KIND, HASH, Buffer.of(1))],
    ['a hash that is not hex', (builder) => builder.addBlob(1, `${'ab'.repeat(31)}xy`, Buffer.of(1))],
    ['an entry of the kind of blobs', (builder) => builder.addEntryBody(1, HASH, Buffer.of(1), entry())],
    ['a removal with a value', (builder) => builder.addEntry(entry({ isRemoval: true }))],
    ['a writer that is not 16 hex digits', (builder) => builder.addEntry(entry({ writer: '21222324252627' }))],
    ['a writer that is not hex', (builder) => builder.addEntry(entry({ writer: '212223242526272x' }))],
    ['a key of 64 KiB', (builder) => builder.addEntry(entry({ key: 'k'.repeat(65_536) }))],
  ];
  for (const [what, misuse] of misuses) {
    it(`refuses ${what} and stays what it was`, () => {
      const builder = newBuilder();
      fill(builder);
      const before = Buffer.concat(builder.finish());
      assert.throws(() => misuse(builder), BugError);
      assert.deepEqual(Buffer.concat(builder.finish()), before);
    });
  }

  it('refuses a sequence that has no room', () => {
    const builder = newBuilder();
    const version = { sequence: 2 ** 48, writer: ID.writer };
    assert.throws(() => builder.addEntryBody(REMOVAL_RECORD_KIND, KEY_HASH, Buffer.of(1), version), RangeError);
    assert.equal(builder.bodyBytes, 0);
  });
});
