import { ReapiError } from '../errors.ts';

/** Longest key in UTF-8 bytes: an action key with the longest instance name is below 2.2 KiB. */
export const MAX_ENTRY_KEY_BYTES = 4096;

/** @throws too-large for a key or value above its limit. */
export function checkEntry(key: string, value: Uint8Array, maxEntryBytes: number): void {
  const keyBytes = Buffer.byteLength(key);
  if (keyBytes > MAX_ENTRY_KEY_BYTES) {
    throw new ReapiError('too-large', `a key of ${keyBytes} bytes is above the limit of ${MAX_ENTRY_KEY_BYTES} bytes`);
  }
  if (value.length > maxEntryBytes) {
    throw new ReapiError('too-large', `an entry of ${value.length} bytes is above the limit of ${maxEntryBytes} bytes`);
  }
}
