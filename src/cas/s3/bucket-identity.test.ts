import assert from 'node:assert/strict';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { MemoryBucket, MemoryObjectStore } from '../../../test/support/memory-object-store.ts';
import { identifyBucket, readIdentity } from './bucket-identity.ts';

const signal = noAbort();

/** Whose tokens are all the same. */
function randomOf(byte: string) {
  return { fraction: () => 0, uuid: () => '', token: (bytes: number) => byte.repeat(bytes) };
}

function storeOn(bucket: MemoryBucket): MemoryObjectStore {
  return new MemoryObjectStore(new FakeClock(), { bucket });
}

describe('identifyBucket', () => {
  it('names a new bucket, and finds that name from then on', async () => {
    const bucket = new MemoryBucket();
    const name = await identifyBucket(storeOn(bucket), randomOf('ab'), signal);
    assert.equal(name, 'ab'.repeat(16));
    assert.equal(
      Buffer.from(bucket.objects.get('format')?.bytes ?? []).toString(),
      `{"format":"gantry-bucket","version":1,"bucket":"${name}"}`,
    );
    assert.equal(await identifyBucket(storeOn(bucket), randomOf('cd'), signal), name);
  });

  it('takes the name of whoever was there last at the same moment', async () => {
    const store = storeOn(new MemoryBucket());
    const put = store.put.bind(store);
    store.put = async (key, chunks, aborted) => {
      await put(key, chunks, aborted);
      store.bucket.set('format', Buffer.from('{"format":"gantry-bucket","version":1,"bucket":"theirs"}'), 0);
    };
    assert.equal(await identifyBucket(store, randomOf('ab'), signal), 'theirs');
  });

  const strangers: readonly (readonly [string, string])[] = [
    ['no JSON', 'a file of somebody'],
    ['no object', '"gantry-bucket"'],
    ['null', 'null'],
    ['another format', '{"format":"x","version":1,"bucket":"y"}'],
    ['no name', '{"format":"gantry-bucket","version":1}'],
    ['a name that is no text', '{"format":"gantry-bucket","version":1,"bucket":7}'],
    ['a version that is no number', '{"format":"gantry-bucket","version":"1","bucket":"y"}'],
    ['a newer version', '{"format":"gantry-bucket","version":2,"bucket":"y"}'],
    ['an object that is far too long', 'x'.repeat(5000)],
  ];
  for (const [what, text] of strangers) {
    it(`refuses a bucket whose "format" is ${what}, and leaves it alone`, async () => {
      const bucket = new MemoryBucket();
      bucket.set('format', Buffer.from(text), 0);
      await assert.rejects(identifyBucket(storeOn(bucket), randomOf('ab'), signal), ofKind('precondition'));
      assert.equal(Buffer.from(bucket.objects.get('format')?.bytes ?? []).toString(), text);
    });
  }

  it('does not take a bucket that is out of reach for a new one', async () => {
    const store = new MemoryObjectStore(new FakeClock(), { faults: () => 'fail-before' });
    await assert.rejects(identifyBucket(store, randomOf('ab'), signal), ofKind('unavailable'));
    assert.equal(store.bucket.objects.size, 0);
  });
});

describe('readIdentity', () => {
  it('gives what a bucket says of itself, and leaves one alone that says nothing', async () => {
    const store = storeOn(new MemoryBucket());
    assert.equal(await readIdentity(store, signal), undefined);
    assert.equal(store.bucket.objects.size, 0);
    const bucket = await identifyBucket(store, randomOf('ab'), signal);
    assert.deepEqual(await readIdentity(store, signal), { version: 1, bucket });
  });
});
