import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { StoreControl } from '../../cas/segment/store-report.ts';
import { isKind, ReapiError, systemCode } from '../../errors.ts';
import { UsageError } from './usage-error.ts';

/** A store that this process opened itself. */
export interface OfflineStore {
  readonly control: StoreControl;
  /** Writes what a clean stop writes, and gives the folder free. */
  close(): Promise<void>;
}

/** Opens the store in the data folder of a server that does not run. @throws precondition if one does. */
export type OpenLocalStore = (dataFolder: string) => Promise<OfflineStore>;

/**
 * Works on the store of a stopped server and closes it.
 * @throws UsageError: no data folder of a server is there; as opening it and `work` do.
 */
export async function withOfflineStore<T>(
  open: OpenLocalStore,
  dataFolder: string,
  work: (control: StoreControl) => Promise<T>,
): Promise<T> {
  // Opening would make one, and then report an empty store.
  if (!isThere(join(dataFolder, 'version'))) throw new UsageError(`"${dataFolder}" is not the data folder of a server`);
  let store: OfflineStore;
  try {
    store = await open(dataFolder);
  } catch (error) {
    if (!isKind(error, 'precondition') || !/another process/.test(error.message)) throw error;
    const message = `${error.message}; without --data the running server is asked`;
    throw new ReapiError('precondition', message, { cause: error });
  }
  try {
    return await work(store.control);
  } finally {
    await store.close();
  }
}

function isThere(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return false;
    throw new ReapiError('unavailable', `"${path}" cannot be read (${code ?? 'unknown error'})`, { cause: error });
  }
}
