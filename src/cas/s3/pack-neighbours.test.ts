import assert from 'node:assert/strict';
import { noAbort } from '../../../test/support/expectations.ts';
import { openStoreForTest } from '../../../test/support/local-store-for-test.ts';
import { temporaryFolder } from '../../../test/support/temporary-folder.ts';
import { digestOf } from '../../digest/hasher.ts';
import { NO_LOG } from '../../system/log.ts';
import { ENTRY_KIND } from '../segment/log/format.ts';
import { RowKey } from '../segment/record-index/row-key.ts';
import { BucketIndex } from './bucket-index.ts';
import { Containers } from './containers.ts';
import { PackNeighbours } from './pack-neighbours.ts';

const BODY_BYTES = 10;

function bodyOf(number: number): Buffer {
  return Buffer.from(String(number).padStart(BODY_BYTES, 'x'));
}

/** A pack of five blobs, 0 to 4, of 10 bytes each, and an entry behind them. */
async function world() {
  const local = await openStoreForTest(temporaryFolder(), {});
  const index = new BucketIndex(new Containers(), 7);
  const pack = index.containers.add({ id: { writer: '00'.repeat(8), number: 1, nonce: 'a1a2a3a4' } }, 100, 5);
  const key = new RowKey();
  for (let number = 0; number < 5; number++) {
    const place = { container: pack, offset: number * BODY_BYTES, lengthBytes: BODY_BYTES };
    index.putBlob(key.setHex(1, digestOf('sha256', bodyOf(number)).hash), place, 1);
  }
  const entry = { version: { sequence: 1, writer: '00'.repeat(8) }, isRemoval: false };
  const entryHash = digestOf('sha256', Buffer.from('key')).hash;
  index.putEntry(key.setHex(ENTRY_KIND, entryHash), { container: pack, offset: 50, lengthBytes: 10 }, entry, 1);
  const closing = new AbortController();
  const neighbours = new PackNeighbours({ index, local, log: NO_LOG, closing: closing.signal });
  const offsets = (endOffset: number, maxBytes: number): number[] =>
    neighbours.after(pack.key, endOffset, maxBytes).map(({ offset }) => offset);
  return { local, index, pack, closing, neighbours, offsets };
}

describe('PackNeighbours', () => {
  it('finds the blobs that lie wholly in the bytes behind a read', async () => {
    const { offsets, neighbours, pack } = await world();
    assert.deepEqual(offsets(10, 30), [10, 20, 30]);
    assert.deepEqual(offsets(10, 29), [10, 20]);
    assert.deepEqual(offsets(11, 29), [20, 30]);
    assert.deepEqual(offsets(0, 9), []);
    assert.equal(neighbours.after(pack.key, 0, 10)[0]?.lengthBytes, BODY_BYTES);
  });

  it('does not find entries, nor anything behind the last blob', async () => {
    const { offsets } = await world();
    assert.deepEqual(offsets(40, 1000), [40]);
    assert.deepEqual(offsets(50, 1000), []);
  });

  it('finds nothing in objects that are no containers, or not known', async () => {
    const { neighbours, pack } = await world();
    assert.deepEqual(neighbours.after('format', 0, 1000), []);
    assert.deepEqual(neighbours.after(pack.key.replace('a1a2', 'b1b2'), 0, 1000), []);
  });

  it('leaves out what this machine has, and what is no longer there', async () => {
    const { offsets, local, index, pack } = await world();
    assert.equal(offsets(0, 50).length, 5);
    await local.blobs.putBytes(digestOf('sha256', bodyOf(1)), bodyOf(1), noAbort());
    index.dropBlob(digestOf('sha256', bodyOf(3)), pack);
    assert.deepEqual(offsets(0, 50), [0, 20, 40]);
  });

  it('keeps what was read ahead on this machine', async () => {
    const { neighbours, local, pack } = await world();
    for (const { offset, take } of neighbours.after(pack.key, 0, 20)) take(bodyOf(offset / BODY_BYTES));
    await neighbours.settled();
    assert.deepEqual(
      [0, 1, 2].map((number) => local.has(digestOf('sha256', bodyOf(number)))),
      [true, true, false],
    );
  });

  it('keeps nothing that is damaged, and nothing once the tier closes', async () => {
    const { neighbours, local, pack, closing } = await world();
    const [first, second] = neighbours.after(pack.key, 0, 20);
    first?.take(bodyOf(7));
    closing.abort();
    second?.take(bodyOf(1));
    await neighbours.settled();
    for (const number of [0, 1, 7]) assert.equal(local.has(digestOf('sha256', bodyOf(number))), false);
  });

  it('bears a local tier that does not take it', async () => {
    const { neighbours, local, pack } = await world();
    await local.close();
    for (const { take } of neighbours.after(pack.key, 0, 10)) take(bodyOf(0));
    await neighbours.settled();
  });
});
