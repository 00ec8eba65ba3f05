import { SystemClock } from '../../system/clock.ts';
import { NO_LOG } from '../../system/log.ts';
import { SystemRandom } from '../../system/random.ts';
import { openOfflineStore } from '../stores.ts';
import type { OfflineStore } from './offline-store.ts';

/** Opens the store in a data folder for a command, with the machine's clock. @throws as `openOfflineStore`. */
export function openLocalStore(dataFolder: string): Promise<OfflineStore> {
  // Without a log: what is put aside is in the reports, and failures are thrown.
  return openOfflineStore(dataFolder, {
    clock: new SystemClock({ unref: true }),
    random: new SystemRandom(),
    log: NO_LOG,
  });
}
