import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { deferred } from '../../../test/support/deferred.ts';
import { CONTRACT_MAX_ENTRY_BYTES } from '../../../test/support/entry-store-contract.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { LEASE_OVER_SECONDS, SegmentWorld } from '../../../test/support/segment-world.ts';
import { ENTRY_KIND, RECORD_HEADER_BYTES } from './log/format.ts';
import { RowKey } from './record-index/row-key.ts';
import { SegmentEntryStore } from './segment-entry-store.ts';

/** What every entry store does is tested over the whole store: local-store.test.ts. */
describe('SegmentEntryStore', () => {
  let world: SegmentWorld;

  beforeEach(async () => {
    world = await SegmentWorld.open();
  });

  const keyOf = (key: string): RowKey => new RowKey().setBytes(ENTRY_KIND, hash('sha256', key, 'buffer'));
  const rowOf = (key: string): number => world.index.table.find(keyOf(key));
  const get = (key: string) => world.entries.get(key, noAbort());

  it('counts entries, one for each key however often it is put', async () => {
    for (const [key, text] of [
      ['a', '1'],
      ['a', '2'],
      ['b', '1'],
    ] as const) {
      await world.putEntry(key, text);
    }
    assert.deepEqual([world.index.entries, world.index.blobs], [2, 0]);
    await world.entries.delete('a', noAbort());
    assert.equal(world.index.entries, 1);
    assert.equal(await world.textOf('a'), undefined);
  });

  it('knows the newest value after a crash, and what was deleted', async () => {
    for (const text of ['1', '2', '3']) await world.putEntry('kept', text);
    await world.putEntry('deleted', 'x');
    await world.entries.delete('deleted', noAbort());
    const again = await world.afterCrash();
    assert.deepEqual([await again.textOf('kept'), await again.textOf('deleted')], ['3', undefined]);
  });

  it('does not bring back what was deleted after it was evicted, if a crash comes before its segment goes', async () => {
    await world.putEntry('key', 'value');
    world.clock.advance(LEASE_OVER_SECONDS * 1000);
    world.files.failOn('EPERM', (call) => call === 'unlink');
    await assert.rejects(world.parts.rotation.reclaimOldest('nothing'));
    assert.equal(await world.textOf('key'), undefined);
    assert.equal(await world.entries.delete('key', noAbort()), false);
    world.files.mend();
    assert.equal(await (await world.afterCrash()).textOf('key'), undefined);
  });

  it('keeps the time that is given with a value that moves in, and tells it after a crash', async () => {
    await world.entries.putWritten('old', Buffer.from('x'), 12_345, noAbort());
    assert.equal((await get('old'))?.writtenMs, 12_345);
    assert.equal((await (await world.afterCrash()).entries.get('old', noAbort()))?.writtenMs, 12_345);
  });

  it('takes no lease, but knows when an entry was used', async () => {
    await world.putEntry('key', 'value');
    world.clock.advance(40_000);
    await get('key');
    assert.equal(world.index.table.touched(rowOf('key')), 40);
    assert.equal(world.index.ledger.heldBytes(40), 0);
  });

  it('lets the later of two puts count, and one of two deletions find something', async () => {
    await Promise.all(['1', '2'].map((text) => world.putEntry('key', text)));
    assert.equal(await world.textOf('key'), '2');
    const found = await Promise.all([1, 2].map(() => world.entries.delete('key', noAbort())));
    assert.deepEqual(found, [true, false]);
  });

  it('enters nothing that could not be written, and keeps the old value', async () => {
    await world.putEntry('key', 'old');
    world.files.failOn('ENOSPC', (call) => call === 'write');
    await assert.rejects(world.putEntry('key', 'new'), ofKind('quota-exceeded'));
    await assert.rejects(world.entries.delete('key', noAbort()), ofKind('quota-exceeded'));
    world.files.mend();
    assert.equal(await world.textOf('key'), 'old');
    assert.equal(await (await world.afterCrash()).textOf('key'), 'old');
  });

  it('refuses a value above its limit before it reaches the log', async () => {
    const value = new Uint8Array(CONTRACT_MAX_ENTRY_BYTES + 1);
    await assert.rejects(world.entries.put('key', value, noAbort()), ofKind('too-large'));
    assert.equal(world.parts.core.nextSequence, 1);
  });

  it('refuses cancelled calls and those after closing, and changes nothing', async () => {
    await world.putEntry('key', 'value');
    const calls = (signal: AbortSignal): Promise<unknown>[] => [
      world.entries.get('key', signal),
      world.entries.put('key', Buffer.of(1), signal),
      world.entries.putWritten('key', Buffer.of(1), 1, signal),
      world.entries.delete('key', signal),
    ];
    for (const call of calls(AbortSignal.abort())) await assert.rejects(call, ofKind('cancelled'));
    assert.equal(await world.textOf('key'), 'value');
    await world.parts.core.close();
    for (const call of calls(noAbort())) await assert.rejects(call, ofKind('unavailable'));
  });

  describe('a damaged entry', () => {
    const damagedBy = async (damage: () => void): Promise<void> => {
      await world.putEntry('key', 'value');
      damage();
      await assert.rejects(get('key'), ofKind('data-loss'));
      world.files.mend();
      assert.equal(await get('key'), undefined);
      assert.equal(world.parts.core.quarantined, 1);
      await world.putEntry('key', 'again');
      assert.equal(await world.textOf('key'), 'again');
    };

    for (const [what, at] of [
      ['header', 12],
      ['key', RECORD_HEADER_BYTES],
      ['value', RECORD_HEADER_BYTES + 'key'.length],
    ] as const) {
      it(`is data-loss once, then absent, and can be put again: a changed byte of its ${what}`, async () => {
        await damagedBy(() => world.damageRow(rowOf('key'), at));
        assert.equal(world.quarantined().length, 1);
      });
    }

    it('is that too if the device cannot read it; then there are no bytes to keep', async () => {
      await damagedBy(() => world.files.failOn('EIO', (call) => call === 'read'));
      assert.equal(world.quarantined().length, 0);
    });

    it('is that too if the index leads to the record of another key', async () => {
      await world.putEntry('yek', 'value');
      await damagedBy(() => {
        const { table } = world.index;
        world.index.move(rowOf('key'), table.segment(rowOf('yek')), table.offset(rowOf('yek')));
      });
      assert.equal(await world.textOf('yek'), 'value');
    });

    it('is no reason to put aside the value that was put since a reader began', async () => {
      world = await SegmentWorld.open({ segmentBytes: 1024 * 1024, maxEntryBytes: 1024 * 1024 });
      const entries = new SegmentEntryStore(world.parts.core, { maxEntryBytes: 1024 * 1024 });
      await entries.put('key', Buffer.alloc(200_000), noAbort());
      world.damageRow(rowOf('key'), 1000);
      const device = deferred();
      world.files.before = (call) => (call === 'read' ? device.promise : undefined);
      const slow = entries.get('key', noAbort());
      world.files.mend();
      await world.putEntry('key', 'new');
      device.resolve();
      await assert.rejects(slow, ofKind('data-loss'));
      assert.equal(await world.textOf('key'), 'new');
    });

    it('is none if it cannot be read just now', async () => {
      await world.putEntry('key', 'value');
      world.files.failOn('ENOMEM', (call) => call === 'read');
      await assert.rejects(get('key'), ofKind('unavailable'));
      world.files.mend();
      assert.equal(await world.textOf('key'), 'value');
    });
  });
});
