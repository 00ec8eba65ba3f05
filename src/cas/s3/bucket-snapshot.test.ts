import assert from 'node:assert/strict';
import fc from 'fast-check';
import { bucketWorld, rowKeyOf, storeEntry, storeLarge, storePack } from '../../../test/support/bucket-server.ts';
import { ofKind } from '../../../test/support/expectations.ts';
import { digestOf } from '../../digest/hasher.ts';
import { ENTRY_KIND } from '../segment/log/format.ts';
import { RowKey } from '../segment/record-index/row-key.ts';
import { BlockWriter } from './block-stream.ts';
import { BucketIndex } from './bucket-index.ts';
import { decodeSnapshot, encodeSnapshot } from './bucket-snapshot.ts';
import { Containers } from './containers.ts';
import type { ContainerName } from './object-names.ts';

const BUCKET = 'the bucket';

async function bytesOf(index: BucketIndex): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of encodeSnapshot(index, { bucket: BUCKET })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function decode(bytes: Uint8Array): Promise<BucketIndex> {
  const index = newIndex();
  assert.deepEqual(await decodeSnapshot(chunked(bytes), index), { bucket: BUCKET });
  return index;
}

async function* chunked(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
}

function newIndex(): BucketIndex {
  return new BucketIndex(new Containers(), 3);
}

/** All that an index knows, in a form that can be compared. */
function contents(index: BucketIndex) {
  const containers = [...index.containers].map((container) => {
    const rows = index.rowsOf(container).map(({ place, ...row }) => ({
      ...row,
      offset: place.offset,
      lengthBytes: place.lengthBytes,
    }));
    const { key, sizeBytes, createdSeconds, liveBytes, isDamaged, condemned, remembered } = container;
    const keepSince = condemned?.keepSinceSeconds ?? remembered;
    return { key, sizeBytes, createdSeconds, liveBytes, isDamaged, keepSince, rows };
  });
  return { containers: containers.sort((a, b) => (a.key < b.key ? -1 : 1)), sequence: index.maxSequence };
}

function nameOf(number: number, large?: string): ContainerName {
  const id = { writer: '1'.repeat(16), number, nonce: 'a0a0a0a0' };
  return large === undefined ? { id } : { id, digest: digestOf('sha256', Buffer.from(large)) };
}

const ROW = fc.record({
  pack: fc.nat(3),
  hash: fc.nat(40),
  isEntry: fc.boolean(),
  offset: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  lengthBytes: fc.integer({ min: 0, max: 2 ** 20 }),
  touched: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
  sequence: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
  isRemoval: fc.boolean(),
});

describe('encodeSnapshot and decodeSnapshot', () => {
  it('law: what is decoded is what was encoded', async () => {
    const facts = fc.record({
      rows: fc.array(ROW, { maxLength: 60 }),
      large: fc.array(fc.string(), { maxLength: 4 }),
      condemned: fc.array(fc.nat(3)),
      damaged: fc.nat(3),
    });
    await fc.assert(
      fc.asyncProperty(facts, async ({ rows, large, condemned, damaged }) => {
        const index = newIndex();
        const packs = [0, 1, 2, 3].map((number) => index.containers.add(nameOf(number), 1000 + number, 50 + number));
        for (const { pack, hash, isEntry, isRemoval, sequence, touched, ...place } of rows) {
          const container = packs[pack];
          assert.ok(container !== undefined);
          const key = new RowKey().setHex(isEntry ? ENTRY_KIND : 1, hash.toString(16).padStart(64, '0'));
          const version = { sequence, writer: 'fe'.repeat(8) };
          if (isEntry) index.putEntry(key, { container, ...place }, { version, isRemoval }, touched);
          else index.putBlob(key, { container, ...place }, touched);
        }
        for (const [number, text] of large.entries()) {
          const name = nameOf(10 + number, text);
          const container = index.containers.add(name, text.length, 9);
          const digest = digestOf('sha256', Buffer.from(text));
          index.putBlob(rowKeyOf(digest), { container, offset: 0, lengthBytes: digest.sizeBytes }, 5);
        }
        for (const number of condemned) {
          const container = packs[number];
          if (container)
            container.condemned = { keepSinceSeconds: number, learnedMs: 1, isAnnounced: true, publishedMs: undefined };
        }
        const bad = packs[damaged];
        if (bad) bad.isDamaged = true;
        assert.deepEqual(contents(await decode(await bytesOf(index))), contents(index));
      }),
    );
  });

  it('keeps the true length of a blob above 4 GiB', async () => {
    const index = newIndex();
    const digest = { ...digestOf('sha256', Buffer.from('x')), sizeBytes: 2 ** 33 + 5 };
    const container = index.containers.add({ ...nameOf(1), digest }, digest.sizeBytes, 1);
    index.putBlob(rowKeyOf(digest), { container, offset: 0, lengthBytes: digest.sizeBytes }, 1);
    assert.equal((await decode(await bytesOf(index))).findBlob(digest)?.lengthBytes, 2 ** 33 + 5);
  });

  it('carries what was condemned over several snapshots, though it never became so again between', async () => {
    const index = newIndex();
    const container = index.containers.add(nameOf(1), 10, 1);
    container.condemned = { keepSinceSeconds: 42, learnedMs: 1, isAnnounced: true, publishedMs: 1 };
    const once = await decode(await bytesOf(index));
    const twice = await decode(await bytesOf(once));
    assert.deepEqual(
      [...twice.containers].map(({ condemned, remembered }) => [condemned, remembered]),
      [[undefined, 42]],
    );
  });

  it('is data-loss wherever a bit is flipped or the rest is missing', async () => {
    const world = bucketWorld().server('1');
    await storePack(world, 'one', 'two');
    await storeEntry(world, 'key', 3);
    const whole = await bytesOf(world.index);
    for (let at = 0; at < whole.length; at += 3) {
      const flipped = Buffer.from(whole);
      flipped[at] = (flipped[at] ?? 0) ^ 0x10;
      await assert.rejects(decodeSnapshot(chunked(flipped), newIndex()), ofKind('data-loss'), `byte ${at}`);
      await assert.rejects(decodeSnapshot(chunked(whole.subarray(0, at)), newIndex()), ofKind('data-loss'));
    }
  });

  for (const [what, type, payload] of [
    ['a block of an unknown type', 9, ''],
    ['facts that are no JSON', 1, '{'],
    ['facts without a bucket', 1, '{"sequence":1}'],
    ['a sequence that is no whole number', 1, '{"bucket":"b","sequence":1.5}'],
    ['containers that are no list', 2, '{}'],
    ['a container with too few facts', 2, '[[1,"packs/x",3]]'],
    ['a container with an impossible key', 2, '[[1,"packs/x",3,4,null,false]]'],
    ['rows of blobs that are cut', 3, 'x'],
    ['rows of entries that are cut', 4, 'x'],
  ] as const) {
    it(`is data-loss with ${what}, checksums or not`, async () => {
      const writer = new BlockWriter();
      const blocks = [...writer.block(1, Buffer.from('{"bucket":"b","sequence":1}'))];
      blocks.push(...writer.block(type, Buffer.from(payload)), ...writer.end());
      await assert.rejects(decodeSnapshot(chunked(Buffer.concat(blocks)), newIndex()), ofKind('data-loss'));
    });
  }

  it('is data-loss without facts', async () => {
    await assert.rejects(
      decodeSnapshot(chunked(Buffer.concat(new BlockWriter().end())), newIndex()),
      ofKind('data-loss'),
    );
  });

  it('law: rows that move while it is encoded are in it, or in packs that it does not know', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(6), fc.array(fc.nat(9), { maxLength: 9 }), async (after, moves) => {
        const world = bucketWorld().server('1');
        const texts = Array.from({ length: 10 }, (_, number) => `blob ${number}`);
        const { digests } = await storePack(world, ...texts);
        const { digest: large } = storeLarge(world, 'a large blob');
        const { hash } = await storeEntry(world, 'key', 1);
        const chunks: Uint8Array[] = [];
        for await (const chunk of encodeSnapshot(world.index, { bucket: BUCKET })) {
          chunks.push(chunk);
          if (chunks.length !== after) continue;
          for (const number of moves) await storePack(world, texts[number] ?? '');
          await storeEntry(world, 'key', 2);
        }
        const index = await decode(Buffer.concat(chunks));
        const known = new Set([...index.containers].map(({ key }) => key));
        for (const digest of [...digests, large]) {
          const now = world.index.findBlob(digest);
          const isLoadedLater = now !== undefined && !known.has(now.container.key);
          assert.ok(index.keeps(digest) || isLoadedLater);
        }
        const entry = world.index.findEntry(hash);
        assert.ok(index.findEntry(hash) !== undefined || (entry && !known.has(entry.container.key)));
      }),
    );
  });
});
