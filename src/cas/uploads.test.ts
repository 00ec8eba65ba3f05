import assert from 'node:assert/strict';
import { until } from '../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { digestOf } from '../digest/hasher.ts';
import { ReapiError } from '../errors.ts';
import { MemoryBlobStore } from './memory-blob-store.ts';
import { type Feed, Uploads } from './uploads.ts';

const DATA = Buffer.from('0123456789');
const DIGEST = digestOf('sha256', DATA);
const OPTIONS = { suspendedTtlMs: 60_000, maxSuspended: 2 };

describe('Uploads', () => {
  let clock: FakeClock;
  let store: MemoryBlobStore;
  let uploads: Uploads;

  beforeEach(() => {
    clock = new FakeClock();
    store = new MemoryBlobStore({ maxBytes: 100_000 });
    uploads = new Uploads(store, clock, OPTIONS);
  });

  const push = ({ upload, feeder }: Feed, from: number, to: number): Promise<void> =>
    upload.push(feeder, DATA.subarray(from, to), noAbort());
  const begun = async (name: string, sizeBytes: number): Promise<Feed> => {
    const feed = uploads.open(name, DIGEST, 0);
    await push(feed, 0, sizeBytes);
    return feed;
  };

  it('goes on where a broken call stopped, and stores the whole blob once (R-BS-31, R-BS-45)', async () => {
    uploads.suspend('name', await begun('name', 4));
    assert.equal(uploads.receivedBytes('name'), 4);
    const feed = uploads.open('name', DIGEST, 4);
    assert.equal(uploads.suspendedCount, 0);
    assert.equal(clock.armed, 0);
    await push(feed, 4, 10);
    await feed.upload.finish(feed.feeder);
    uploads.drop('name', feed.upload);
    assert.deepEqual(Buffer.from(await store.getBytes(DIGEST, noAbort())), DATA);
    assert.equal(uploads.receivedBytes('name'), 0);
  });

  it('refuses to go on elsewhere than where it stands (R-BS-31)', async () => {
    uploads.suspend('name', await begun('name', 4));
    for (const offset of [1, 3, 5, 10]) {
      assert.throws(() => uploads.open('name', DIGEST, offset), ofKind('out-of-range'));
    }
    assert.throws(() => uploads.open('unknown', DIGEST, 4), ofKind('out-of-range'));
  });

  it('gives a suspended upload up after its time, and lets go of the put (R-BS-45)', async () => {
    const feed = await begun('name', 4);
    uploads.suspend('name', feed);
    clock.advance(OPTIONS.suspendedTtlMs);
    await assert.rejects(feed.upload.outcome(), ofKind('cancelled'));
    assert.equal(uploads.suspendedCount, 0);
    assert.equal(uploads.receivedBytes('name'), 0);
    assert.throws(() => uploads.open('name', DIGEST, 4), ofKind('out-of-range'));
  });

  it('gives the oldest up when too many wait', async () => {
    const feeds = await Promise.all(['a', 'b', 'c'].map((name) => begun(name, 1)));
    for (const [index, name] of ['a', 'b', 'c'].entries()) {
      const feed = feeds[index];
      if (feed !== undefined) uploads.suspend(name, feed);
    }
    assert.deepEqual(
      ['a', 'b', 'c'].map((name) => uploads.receivedBytes(name)),
      [0, 1, 1],
    );
    assert.equal(clock.armed, 2);
  });

  it('begins again at offset 0 in place of a suspended upload (R-BS-45)', async () => {
    const old = await begun('name', 4);
    uploads.suspend('name', old);
    const feed = uploads.open('name', DIGEST, 0);
    await assert.rejects(old.upload.outcome(), ofKind('cancelled'));
    await push(feed, 0, 10);
    await feed.upload.finish(feed.feeder);
    assert.deepEqual(await store.findMissing([DIGEST], noAbort()), []);
  });

  it('gives up a suspended upload when its blob is uploaded under another name', async () => {
    const old = await begun('name', 4);
    uploads.suspend('name', old);
    const feed = uploads.open('other', DIGEST, 0);
    await assert.rejects(old.upload.outcome(), ofKind('cancelled'));
    assert.equal(uploads.receivedBytes('name'), 0);
    feed.upload.abort(new ReapiError('cancelled', 'the test gives up'));
  });

  it('lets two uploads of one name that are both fed succeed (R-CAS-20)', async () => {
    const first = await begun('name', 4);
    const second = await begun('name', 6);
    assert.equal(uploads.receivedBytes('name'), 6);
    await push(first, 4, 10);
    await first.upload.finish(first.feeder);
    uploads.drop('name', first.upload);
    assert.equal(uploads.receivedBytes('name'), 6);
    await push(second, 6, 10);
    await second.upload.finish(second.feeder);
  });

  it('hands an upload that is still fed over to the call that continues it', async () => {
    const old = await begun('name', 4);
    const feed = uploads.open('name', DIGEST, 4);
    await assert.rejects(push(old, 4, 10), ofKind('unavailable'));
    uploads.suspend('name', old);
    assert.equal(uploads.suspendedCount, 0);
    await push(feed, 4, 10);
    await feed.upload.finish(feed.feeder);
  });

  it('fails at the first byte too many, and forgets the upload (R-BS-36)', async () => {
    const feed = await begun('name', 10);
    await assert.rejects(push(feed, 0, 1), ofKind('digest-mismatch'));
    await assert.rejects(feed.upload.outcome(), ofKind('cancelled'));
    assert.deepEqual(await store.findMissing([DIGEST], noAbort()), [DIGEST]);
  });

  it('keeps nothing of what has ended, and nothing at all where none may wait', async () => {
    const feed = await begun('name', 1);
    feed.upload.abort(new ReapiError('cancelled', 'the test gives up'));
    await until(() => feed.upload.isSettled);
    uploads.suspend('name', feed);
    assert.equal(uploads.suspendedCount, 0);
    uploads = new Uploads(store, clock, { ...OPTIONS, maxSuspended: 0 });
    const other = await begun('name', 1);
    uploads.suspend('name', other);
    await assert.rejects(other.upload.outcome(), ofKind('cancelled'));
  });

  it('gives everything up when stopped', async () => {
    const feed = await begun('name', 4);
    uploads.suspend('name', feed);
    uploads.stop();
    await assert.rejects(feed.upload.outcome(), ofKind('cancelled'));
    assert.equal(clock.armed, 0);
  });
});
