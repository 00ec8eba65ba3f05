import assert from 'node:assert/strict';
import { CONTRACT_MAX_ENTRY_BYTES, entryStoreContract } from '../../test/support/entry-store-contract.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { isKind } from '../errors.ts';
import { MemoryEntryStore } from './memory-entry-store.ts';

const NEVER = new AbortController().signal;

describe('MemoryEntryStore', () => {
  entryStoreContract(
    async (clock) => new MemoryEntryStore({ clock, maxBytes: 10_000_000, maxEntryBytes: CONTRACT_MAX_ENTRY_BYTES }),
  );

  it('forgets the least recently used entry first, and reading counts as use', async () => {
    const store = new MemoryEntryStore({ clock: new FakeClock(), maxBytes: 3 * (100 + 2 + 256), maxEntryBytes: 1000 });
    for (const key of ['a', 'b', 'c']) await store.put(key, Buffer.alloc(100), NEVER);
    await store.get('a', NEVER);
    await store.put('d', Buffer.alloc(100), NEVER);
    const present = await Promise.all(['a', 'b', 'c', 'd'].map((key) => store.get(key, NEVER)));
    assert.deepEqual(
      present.map((entry) => entry?.value.length),
      [100, undefined, 100, 100],
    );
    assert.equal(store.bytes, 3 * (100 + 2 + 256));
  });

  it('refuses an entry larger than the store instead of forgetting it at once', async () => {
    const store = new MemoryEntryStore({ clock: new FakeClock(), maxBytes: 500, maxEntryBytes: 1000 });
    await assert.rejects(store.put('a', Buffer.alloc(400), NEVER), (error) => isKind(error, 'too-large'));
  });
});
