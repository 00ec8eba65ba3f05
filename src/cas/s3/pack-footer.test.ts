import assert from 'node:assert/strict';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { MemoryObjectStore } from '../../../test/support/memory-object-store.ts';
import { digestOf } from '../../digest/hasher.ts';
import { BucketIndex } from './bucket-index.ts';
import { Containers } from './containers.ts';
import { type ContainerId, containerKey } from './object-names.ts';
import { PackBuilder } from './pack-builder.ts';
import { applyFooter, readFooter } from './pack-footer.ts';

const signal = noAbort();
const ID: ContainerId = { writer: '0102030405060708', number: 3, nonce: 'a1a2a3a4' };
const OTHER: ContainerId = { writer: '1112131415161718', number: 2, nonce: 'b1b2b3b4' };
const KEY_HASH = digestOf('sha256', Buffer.from('key')).hash;

/** A bucket with one pack. */
async function worldOf(bytes: Uint8Array) {
  const objects = new MemoryObjectStore(new FakeClock());
  const index = new BucketIndex(new Containers(), 7);
  const container = index.containers.add({ id: ID }, bytes.length, 5);
  await objects.put(container.key, [bytes], signal);
  const requests = (): number => objects.counts.of('get').requests;
  return { objects, index, container, requests };
}

function packOf(blobs: readonly Uint8Array[]): Buffer {
  const builder = new PackBuilder(ID, 5);
  builder.condemn({ id: OTHER, keepSinceSeconds: 77 });
  for (const blob of blobs) builder.addBlob(1, digestOf('sha256', blob).hash, blob);
  const entry = { key: 'key', value: Buffer.from('value'), writtenMs: 9, writer: ID.writer };
  builder.addEntry({ ...entry, sequence: 4, isRemoval: false });
  builder.addEntry({ ...entry, key: 'gone', value: Buffer.alloc(0), sequence: 5, isRemoval: true });
  return Buffer.concat(builder.finish());
}

describe('readFooter', () => {
  it('enters what a pack holds, and says whom it condemns', async () => {
    const blob = Buffer.from('a blob');
    const { objects, index, container } = await worldOf(packOf([blob]));
    const condemnations = applyFooter(index, container, await readFooter(objects, container, signal), 123);
    assert.deepEqual(condemnations, [{ id: OTHER, keepSinceSeconds: 77 }]);
    assert.deepEqual(index.findBlob(digestOf('sha256', blob)), { container, offset: 0, lengthBytes: 6 });
    const found = index.findEntry(KEY_HASH);
    assert.deepEqual(found?.version, { sequence: 4, writer: ID.writer });
    assert.equal(found?.isRemoval, false);
    assert.equal(index.findEntry(digestOf('sha256', Buffer.from('gone')).hash)?.isRemoval, true);
    assert.deepEqual(
      index.rowsOf(container).map(({ touched }) => touched),
      [123, 123, 123],
    );
    assert.deepEqual([index.maxSequence, container.liveRows], [5, 3]);
  });

  it('takes one request as a rule, and two if the footer is longer than was guessed', async () => {
    const few = await worldOf(packOf([Buffer.alloc(100_000)]));
    await readFooter(few.objects, few.container, signal);
    const blobs = Array.from({ length: 20_000 }, (_, number) => Buffer.from(String(number)));
    const many = await worldOf(packOf(blobs));
    const footer = await readFooter(many.objects, many.container, signal);
    assert.deepEqual([few.requests(), many.requests()], [1, 2]);
    applyFooter(many.index, many.container, footer, 1);
    assert.equal(many.container.liveRows, blobs.length + 2);
  });

  for (const bytes of [new Uint8Array(), Buffer.alloc(10), Buffer.alloc(10_000)]) {
    it(`takes an object of ${bytes.length} zeros for damaged`, async () => {
      const { objects, container } = await worldOf(bytes);
      await assert.rejects(readFooter(objects, container, signal), ofKind('data-loss'));
    });
  }

  it('does not ask for bytes of an object that has none', async () => {
    const { objects, container, requests } = await worldOf(new Uint8Array());
    await assert.rejects(readFooter(objects, container, signal));
    assert.equal(requests(), 0);
  });

  it('enters nothing of a footer that is damaged anywhere', async () => {
    const whole = packOf([Buffer.from('a'), Buffer.from('b')]);
    const bodiesBytes = 1 + 1 + (12 + 3 + 5) + (12 + 4);
    for (let at = bodiesBytes; at < whole.length; at += 7) {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] ?? 0) ^ 0x20;
      const { objects, index, container } = await worldOf(damaged);
      const apply = async (): Promise<unknown> =>
        applyFooter(index, container, await readFooter(objects, container, signal), 1);
      // A damaged number of the version looks like that of a newer one.
      await assert.rejects(apply(), (error) => ofKind('data-loss')(error) || ofKind('precondition')(error));
      assert.deepEqual([container.liveRows, index.maxSequence], [0, 0]);
    }
  });

  it('says that the object is gone', async () => {
    const { objects } = await worldOf(packOf([]));
    const gone = { key: containerKey({ id: OTHER }), sizeBytes: 1000 };
    await assert.rejects(readFooter(objects, gone, signal), ofKind('not-found'));
  });
});
