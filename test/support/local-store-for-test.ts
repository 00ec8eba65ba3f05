import { join } from 'node:path';
import { LocalStore } from '../../src/cas/segment/local-store.ts';
import type { LocalStoreOptions } from '../../src/cas/segment/open-store.ts';
import { createLog } from '../../src/system/log.ts';
import { SystemRandom } from '../../src/system/random.ts';
import { CONTRACT_MAX_ENTRY_BYTES } from './entry-store-contract.ts';
import { FakeClock } from './fake-clock.ts';

const opened: LocalStore[] = [];

afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
});

/** What tests of a local store use unless they say otherwise: a limit of 64 MiB and one minute of retention. */
export function storeOptions(options: Partial<LocalStoreOptions>): LocalStoreOptions {
  return {
    clock: new FakeClock(),
    log: createLog('silent'),
    random: new SystemRandom(),
    events: { committed: () => undefined, evicted: () => undefined, refused: () => undefined },
    sync: 'none',
    maxBytes: 64 * 1024 * 1024,
    minFreeBytes: 0,
    minRetentionMs: 60_000,
    maxLeasedShare: 0.8,
    maxEntryBytes: CONTRACT_MAX_ENTRY_BYTES,
    checkpointMs: 300_000,
    ...options,
  };
}

/** Opens a store in a folder; it is closed after the test. */
export async function openStoreForTest(folder: string, options: Partial<LocalStoreOptions>): Promise<LocalStore> {
  const folders = { segments: join(folder, 'segments'), files: join(folder, 'blobs') };
  const store = await LocalStore.open(folders, storeOptions(options));
  opened.push(store);
  return store;
}
