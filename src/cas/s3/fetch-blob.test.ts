import assert from 'node:assert/strict';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { MemoryObjectStore, type ObjectStoreFault } from '../../../test/support/memory-object-store.ts';
import { recordingLog } from '../../../test/support/recording-log.ts';
import { digestOf } from '../../digest/hasher.ts';
import { RowKey } from '../segment/record-index/row-key.ts';
import { BucketIndex } from './bucket-index.ts';
import { Containers } from './containers.ts';
import { fetchBlob } from './fetch-blob.ts';
import { RangeReader } from './range-reader.ts';

const signal = noAbort();
const BYTES = Buffer.from('a blob');
const DIGEST = digestOf('sha256', BYTES);

/** An index that says the blob is at offset 3 of an object. @param object what is really there. */
function worldOf(object: string | undefined) {
  const clock = new FakeClock();
  let fault: ObjectStoreFault | undefined;
  const objects = new MemoryObjectStore(clock, { faults: () => fault });
  const index = new BucketIndex(new Containers(), 7);
  const container = index.containers.add({ id: { writer: '00'.repeat(8), number: 1, nonce: 'a1a2a3a4' } }, 9, 5);
  const place = { container, offset: 3, lengthBytes: BYTES.length };
  index.putBlob(new RowKey().setHex(1, DIGEST.hash), place, 1);
  if (object !== undefined) objects.bucket.set(container.key, Buffer.from(object), 0);
  const { log, lines } = recordingLog();
  const reader = new RangeReader(objects, clock, { maxConcurrent: 1 });
  const parts = { objects, index, reader, log };
  const fail = (): void => {
    fault = 'fail-before';
  };
  return { parts, place, lines, objects, fail, fetch: () => fetchBlob(parts, DIGEST, place, signal) };
}

describe('fetchBlob', () => {
  it('gives the bytes', async () => {
    const { fetch, lines } = worldOf('...a blob');
    assert.deepEqual(Buffer.from(await fetch()), BYTES);
    assert.deepEqual(lines, []);
  });

  for (const [what, object] of [
    ['damaged', '...a blub'],
    ['cut off', '...a bl'],
    ['gone with its object', undefined],
  ] as const) {
    it(`says of a blob that is ${what} that it is not there; so does the index from then on`, async () => {
      const { fetch, lines, parts } = worldOf(object);
      await assert.rejects(fetch(), ofKind('blob-not-found'));
      assert.equal(parts.index.findBlob(DIGEST), undefined);
      assert.deepEqual(
        lines.map(({ level }) => level),
        ['error'],
      );
    });
  }

  it('leaves the index alone if the blob is in another container by now', async () => {
    const { fetch, parts, place } = worldOf('...a blub');
    const other = parts.index.containers.add({ id: { ...place.container.id, number: 2 } }, 9, 5);
    parts.index.putBlob(new RowKey().setHex(1, DIGEST.hash), { ...place, container: other }, 1);
    await assert.rejects(fetch(), ofKind('blob-not-found'));
    assert.equal(parts.index.findBlob(DIGEST)?.container, other);
  });

  it('does not take a blob for gone because S3 is out of reach', async () => {
    const { fetch, fail, parts } = worldOf('...a blob');
    fail();
    await assert.rejects(fetch(), ofKind('unavailable'));
    assert.notEqual(parts.index.findBlob(DIGEST), undefined);
  });

  it('does not lose a blob because one that is read with it is beyond the end of the object', async () => {
    const { fetch, parts, place } = worldOf('...a blob');
    const beyond = digestOf('sha256', Buffer.from('beyond'));
    const outcomes = await Promise.allSettled([
      fetch(),
      fetchBlob(parts, beyond, { ...place, offset: 9, lengthBytes: 100 }, signal),
    ]);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'rejected'],
    );
  });
});
