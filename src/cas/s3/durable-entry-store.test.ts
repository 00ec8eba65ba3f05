import assert from 'node:assert/strict';
import { BucketWorld, down, UPLOAD_WAIT_MS } from '../../../test/support/bucket-world.ts';
import { turns, until } from '../../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { ReapiError } from '../../errors.ts';
import { encodeLocalEntry, localEntryKey } from './local-entry.ts';

/** Two machines on one bucket, and one clock. */
async function two(durability: 's3' | 'local' = 's3') {
  const here = await BucketWorld.open({ durability });
  return { here, there: await here.beside() };
}

describe('DurableEntryStore', () => {
  it('acknowledges a value with durability s3 when the bucket has it, and not before', async () => {
    const world = await BucketWorld.open();
    world.faults.of = () => 'fail-before';
    const seen = { isOver: false };
    const put = world.putEntry('key', 'value').then(() => {
      seen.isOver = true;
    });
    await until(() => world.backlogBytes === 5 && world.local.stats().entries === 1);
    await turns(50);
    assert.equal(seen.isOver, false);
    await world.mend();
    await put;
    assert.equal(world.backlogBytes, 0);
    assert.equal(world.tier.stats().entries, 1);
  });

  it('waits for the bucket only so long, and stores the value later all the same', async () => {
    const world = await BucketWorld.open();
    world.faults.of = () => 'fail-before';
    const refused = assert.rejects(world.putEntry('key', 'value'), (error) => {
      assert.ok(error instanceof ReapiError && error.kind === 'unavailable');
      assert.ok((error.facts.retryAfterMs ?? 0) > 0);
      return true;
    });
    await until(() => world.local.stats().entries === 1);
    await turns(50);
    world.clock.advance(UPLOAD_WAIT_MS);
    await refused;
    assert.equal(world.backlogBytes, 5);
    await world.mend();
    await world.uploaded();
    assert.equal(await (await world.beside()).textOf('key'), 'value');
  });

  it('acknowledges with durability local at once, and refuses above the limit of the backlog', async () => {
    const world = await BucketWorld.open({ durability: 'local', maxBacklogBytes: 6 });
    world.faults.of = () => 'fail-before';
    await world.putEntry('a', 'value');
    await assert.rejects(world.putEntry('b', 'value'), ofKind('unavailable'));
    assert.equal(await world.textOf('a'), 'value');
    assert.equal(await world.textOf('b'), undefined);
    assert.equal(world.backlogBytes, 5);
    await world.mend();
    await world.uploaded();
    await world.putEntry('b', 'value');
  });

  it('gives the room in the backlog back when the tier closes, or the local tier refuses', async () => {
    for (const durability of ['s3', 'local'] as const) {
      const world = await BucketWorld.open({ durability });
      await assert.rejects(world.putEntry('k'.repeat(4096), 'value'), ofKind('too-large'));
      assert.equal(world.backlogBytes, 0);
      world.faults.of = () => 'fail-before';
      const put = world.putEntry('key', 'value');
      const ended = durability === 's3' ? assert.rejects(put, ofKind('unavailable')) : put;
      await until(() => world.local.stats().entries === 1);
      await world.close();
      await ended;
      assert.equal(world.backlogBytes, 0);
    }
  });

  it('shows another machine what was put, replaced and removed here, once it has news', async () => {
    const { here, there } = await two();
    await here.putEntry('key', 'first');
    await here.refreshed();
    await there.refreshed();
    assert.equal(await there.textOf('key'), 'first');
    await here.putEntry('key', 'second');
    await here.refreshed();
    await there.refreshed();
    assert.equal(await there.textOf('key'), 'second');
    assert.equal(await here.tier.entries.delete('key', noAbort()), true);
    await here.refreshed();
    await there.refreshed();
    assert.equal(await there.textOf('key'), undefined);
    assert.equal(await there.tier.entries.delete('key', noAbort()), false);
  });

  it('lets the newest value win on both machines and on a new one, whoever wrote it', async () => {
    const { here, there } = await two();
    await here.putEntry('key', 'older');
    await here.refreshed();
    await there.refreshed();
    await there.putEntry('key', 'newer');
    await there.refreshed();
    await here.refreshed();
    assert.equal(await here.textOf('key'), 'newer');
    assert.equal(await there.textOf('key'), 'newer');
    assert.equal(await (await here.beside()).textOf('key'), 'newer');
  });

  it('agrees on one of two values that were put without knowing of each other', async () => {
    const { here, there } = await two();
    await Promise.all([here.putEntry('key', 'here'), there.putEntry('key', 'there')]);
    await there.refreshed();
    await here.refreshed();
    await there.refreshed();
    const agreed = await here.textOf('key');
    assert.ok(agreed === 'here' || agreed === 'there');
    assert.equal(await there.textOf('key'), agreed);
    assert.equal(await (await here.beside()).textOf('key'), agreed);
  });

  it('puts what comes after a removal above it', async () => {
    const { here, there } = await two();
    await here.putEntry('key', 'first');
    await here.refreshed();
    await there.refreshed();
    await there.tier.entries.delete('key', noAbort());
    await there.putEntry('key', 'again');
    await there.refreshed();
    await here.refreshed();
    assert.equal(await here.textOf('key'), 'again');
    assert.equal(await (await here.restart()).textOf('key'), 'again');
  });

  it('goes by the local copy if that is newer than the bucket: it is on its way', async () => {
    const world = await BucketWorld.open({ durability: 'local' });
    await world.putEntry('key', 'old');
    await world.uploaded();
    world.faults.of = () => 'fail-before';
    await world.putEntry('key', 'new');
    assert.equal(await world.textOf('key'), 'new');
    assert.equal(await world.tier.entries.delete('key', noAbort()), true);
    assert.equal(await world.textOf('key'), undefined);
    await world.mend();
    await world.uploaded();
    await world.evict();
    assert.equal(await world.textOf('key'), undefined);
    assert.equal(await (await world.beside()).textOf('key'), undefined);
  });

  for (const durability of ['s3', 'local'] as const) {
    it(`takes a local copy that the bucket knows nothing of and is not given for removed, with durability ${durability}`, async () => {
      const world = await BucketWorld.open({ durability });
      await world.putEntry('other', 'value');
      await world.uploaded();
      const version = { sequence: 1, writer: 'ab'.repeat(8) };
      const copy = encodeLocalEntry({ version, isRemoval: false, value: Buffer.from('removed') });
      await world.local.entries.putWritten(localEntryKey('key'), copy, 1, noAbort());
      assert.equal(await world.textOf('key'), undefined);
      assert.equal(await world.tier.entries.delete('key', noAbort()), false);
      assert.equal(await world.textOf('other'), 'value');
    });
  }

  describe('while S3 is out of reach', () => {
    it('takes a value that only the bucket has for absent, and finds it again afterwards', async () => {
      const world = await BucketWorld.open();
      await world.putEntry('key', 'value');
      await world.putEntry('local', 'value');
      await world.evict();
      await world.textOf('local');
      world.faults.of = () => 'fail-before';
      assert.equal(await world.textOf('key'), undefined);
      assert.equal(await world.textOf('local'), 'value');
      await world.mend();
      assert.equal(await world.textOf('key'), 'value');
    });
  });

  it('takes a value that is damaged in the bucket for absent, and replaces it', async () => {
    const world = await BucketWorld.open();
    await world.putEntry('key', 'value');
    await world.evict();
    world.damage(world.containers()[0] ?? '', 16);
    assert.equal(await world.textOf('key'), undefined);
    await world.putEntry('key', 'other');
    await world.evict();
    assert.equal(await world.textOf('key'), 'other');
  });

  it('takes a value whose pack was deleted by hand for absent', async () => {
    const world = await BucketWorld.open();
    await world.putEntry('key', 'value');
    await world.evict();
    world.bucket.objects.delete(world.containers()[0] ?? '');
    assert.equal(await world.textOf('key'), undefined);
  });

  it('takes a local copy that is none of its own for absent', async () => {
    const world = await BucketWorld.open();
    await world.local.entries.put(localEntryKey('key'), Buffer.from('?'), noAbort());
    assert.equal(await world.textOf('key'), undefined);
    assert.equal(await world.tier.entries.delete('key', noAbort()), false);
  });

  it('keeps a copy of what it read, so that the next read asks nobody', async () => {
    const world = await BucketWorld.open();
    await world.putEntry('key', 'value');
    await world.evict();
    await world.textOf('key');
    world.faults.of = down().of;
    assert.equal(await world.textOf('key'), 'value');
  });
});
