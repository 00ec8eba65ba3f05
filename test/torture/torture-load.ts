import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { LocalStoreOptions, StoreFolders } from '../../src/cas/segment/open-store.ts';
import type { StoreEvents } from '../../src/cas/segment/store-report.ts';
import type { Digest } from '../../src/digest/digest.ts';
import { digestOf } from '../../src/digest/hasher.ts';
import { systemCode } from '../../src/errors.ts';
import { createLog } from '../../src/system/log.ts';
import { SystemRandom } from '../../src/system/random.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import type { FakeClock } from '../support/fake-clock.ts';

const KIB = 1024;

/** The store that is tortured: so small that everything a store does happens within a few hundred operations. */
export const TORTURED = {
  maxBytes: 16 * KIB * KIB,
  segmentBytes: 512 * KIB,
  minRetentionMs: 30_000,
  checkpointMs: 20_000,
} as const;

/** Digests that are remembered. */
const MAX_DIGESTS = 10_000;

/** Names of entries. */
export const ENTRY_KEYS = 40;

/** How a store is opened for torture. */
export function tortureOptions(
  clock: FakeClock,
  sync: LocalStoreOptions['sync'],
  evicted: StoreEvents['evicted'],
): LocalStoreOptions {
  return {
    clock,
    sync,
    log: createLog('silent'),
    random: new SystemRandom(),
    events: { committed: () => undefined, evicted, refused: () => undefined },
    minFreeBytes: 1,
    maxLeasedShare: 0.8,
    maxEntryBytes: 64 * KIB,
    ...TORTURED,
  };
}

/** The folders of a store below one. */
export function foldersIn(folder: string): StoreFolders {
  return { segments: join(folder, 'segments'), files: join(folder, 'blobs') };
}

/** The blob with that number: equal numbers are equal blobs, in every process. From 1 byte to 3 MiB, most of them small. */
export function blobNumbered(number: number): Buffer {
  const random = new SeededRandom(number);
  const dice = random.fraction();
  const most = dice < 0.6 ? 4 * KIB : dice < 0.9 ? 64 * KIB : dice < 0.985 ? 300 * KIB : 3 * KIB * KIB;
  const sizeBytes = random.between(1, most);
  // Blobs of one byte would be equal to each other.
  return sizeBytes >= 8 ? Buffer.alloc(sizeBytes, `blob ${number} `) : Buffer.from(`${number}`.padStart(8));
}

const digests = new Map<number, Digest>();

/** Its digest. */
export function digestNumbered(number: number): Digest {
  const known = digests.get(number);
  if (known !== undefined) return known;
  const digest = digestOf('sha256', blobNumbered(number));
  if (digests.size >= MAX_DIGESTS) digests.clear();
  digests.set(number, digest);
  return digest;
}

/** Name of the entry with that number. */
export function entryKey(number: number): string {
  return `entry/${number}`;
}

/** What version of an entry says: which one it is, and bytes up to 8 KiB that tell whether it is whole. */
export function entryValue(number: number, version: number): Buffer {
  const fill = `${number}=${version};`;
  return Buffer.from(fill.repeat(1 + (version % 600)));
}

/** The version that a value is of, or undefined if it is no whole value of that entry. */
export function versionOf(number: number, value: Uint8Array): number | undefined {
  const version = Number(/=(\d+);/.exec(Buffer.from(value.subarray(0, 40)).toString())?.[1] ?? -1);
  return version >= 0 && entryValue(number, version).equals(value) ? version : undefined;
}

/** Bytes that the files below a folder take, each rounded up to blocks of 4 KiB. They may go while they are counted. */
export function diskBytesOf(folder: string): number {
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) bytes += blocksOf(join(entry.parentPath, entry.name));
  }
  return bytes;
}

function blocksOf(path: string): number {
  try {
    return Math.ceil(lstatSync(path).size / 4096) * 4096;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return 0;
    throw error;
  }
}
