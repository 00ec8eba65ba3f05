import { isKind, ReapiError } from '../../errors.ts';
import type { Log } from '../../system/log.ts';
import type { Random } from '../../system/random.ts';
import { readIdentity } from './bucket-identity.ts';
import { BucketIndex } from './bucket-index.ts';
import { ContainerLoader } from './container-loader.ts';
import { Containers } from './containers.ts';
import {
  type ContainerId,
  containerText,
  FORMAT_KEY,
  isScratchKey,
  parseContainerKey,
  parseSnapshotKey,
  parseWriterKey,
  scratchFolder,
} from './object-names.ts';
import type { ObjectInfo, ObjectStore, UnfinishedUpload } from './object-store.ts';
import type { RecoveryProgress } from './refresh.ts';
import { decodeWriterState, MAX_STATE_BYTES, type WriterState } from './writer-state.ts';

/** Names of objects of others that a survey keeps. */
const MAX_FOREIGN_NAMES = 5;

/** Time of last use of everything that is found: a survey promises nothing. */
const NO_USE = 1;

/** A container that a pack condemns. */
export interface CondemnedObject {
  readonly key: string;
  readonly sizeBytes: number;
  /** When the first pack that says so was written. */
  readonly sinceMs: number;
}

/** A server that has, or had, the bucket. */
export interface KnownWriter {
  /** 16 hex digits. */
  readonly writer: string;
  readonly info: ObjectInfo;
  /** Undefined if it is damaged. */
  readonly state: WriterState | undefined;
  /** Its packs and large blobs that are there. */
  readonly containers: number;
}

/** Objects under the prefix that are not Gantry's. */
export interface ForeignObjects {
  readonly count: number;
  readonly bytes: number;
  /** The first few. */
  readonly names: readonly string[];
}

/** What is in a bucket, by looking at all of it. Times are those of the object store, in milliseconds since 1970. */
export interface BucketSurvey {
  /** Name that the bucket was given when it was first used. */
  readonly bucket: string;
  readonly formatVersion: number;
  /** Not after the moment of the survey: ages that are computed with it are too low rather than too high. */
  readonly nowMs: number;
  readonly packs: number;
  readonly largeBlobs: number;
  /** Blobs and entries that are to stay. */
  readonly blobs: number;
  readonly entries: number;
  /** Bytes of all packs and large blobs. */
  readonly bytes: number;
  /** Of these, blobs and entries that are to stay. */
  readonly liveBytes: number;
  readonly condemned: readonly CondemnedObject[];
  /** Keys of packs whose footers cannot be read. */
  readonly damagedPacks: readonly string[];
  readonly writers: readonly KnownWriter[];
  readonly snapshots: readonly ObjectInfo[];
  /** What commands left behind. */
  readonly scratch: readonly ObjectInfo[];
  readonly foreign: ForeignObjects;
  /** Uploads in parts that servers and commands began and did not end. */
  readonly uploads: readonly UnfinishedUpload[];
}

/** What a survey needs beside the bucket. */
export interface SurveyParts {
  readonly random: Random;
  readonly log: Log;
  readonly onProgress: (progress: RecoveryProgress) => void;
}

interface Listing {
  readonly containers: ObjectInfo[];
  readonly writers: ObjectInfo[];
  readonly snapshots: ObjectInfo[];
  readonly scratch: ObjectInfo[];
  readonly foreign: { count: number; bytes: number; names: string[] };
  newestMs: number;
  count: number;
}

/**
 * Lists everything under the prefix and reads all footers. Servers may go on meanwhile. It writes and removes one tiny object, to learn
 * the time of the object store: only that can be compared with the times of objects.
 * @throws precondition: nothing of Gantry is there, or something of a newer version; unavailable; cancelled.
 */
export async function surveyBucket(
  objects: ObjectStore,
  parts: SurveyParts,
  signal: AbortSignal,
): Promise<BucketSurvey> {
  const identity = await readIdentity(objects, signal);
  if (identity === undefined) {
    const message = 'no server has used this bucket under this prefix: look at s3.bucket and s3.prefix';
    throw new ReapiError('precondition', message);
  }
  const toldMs = await storeTime(objects, parts, signal);
  // In the order of keys: whoever has a snapshot in it has its state in it, too.
  const listing = await listAll(objects, parts, signal);
  const contents = await readContainers(objects, { ...parts, listing }, signal);
  return {
    bucket: identity.bucket,
    formatVersion: identity.version,
    nowMs: toldMs ?? listing.newestMs,
    ...summaryOf(contents),
    writers: await readWriters(objects, contents.all, listing.writers, signal),
    snapshots: listing.snapshots,
    scratch: listing.scratch,
    foreign: listing.foreign,
    uploads: await uploadsIn(objects, signal),
  };
}

/** Undefined if there is no room for an object: then the newest one has to tell. */
async function storeTime(
  objects: ObjectStore,
  { random, log }: SurveyParts,
  signal: AbortSignal,
): Promise<number | undefined> {
  const key = `${scratchFolder(random)}time`;
  try {
    await objects.put(key, [Buffer.from('what time is it?')], signal);
    for await (const page of objects.list(key, undefined, signal)) {
      for (const { modifiedMs } of page) return modifiedMs;
    }
  } catch (error) {
    if (!isKind(error, 'quota-exceeded')) throw error;
  } finally {
    // Also if the survey was told to stop. What stays is found by a later one.
    await objects.delete([key], new AbortController().signal).catch((error: unknown) => {
      log.warn({ err: error, key }, 'an object of a command could not be removed');
    });
  }
  return undefined;
}

async function listAll(objects: ObjectStore, { onProgress }: SurveyParts, signal: AbortSignal): Promise<Listing> {
  const listing: Listing = {
    containers: [],
    writers: [],
    snapshots: [],
    scratch: [],
    foreign: { count: 0, bytes: 0, names: [] },
    newestMs: 0,
    count: 0,
  };
  for await (const page of objects.list('', undefined, signal)) {
    for (const info of page) {
      listing.newestMs = Math.max(listing.newestMs, info.modifiedMs);
      sortIn(info, listing);
    }
    listing.count += page.length;
    onProgress({ listed: listing.count, done: 0, total: 0 });
  }
  return listing;
}

function sortIn(info: ObjectInfo, { containers, writers, snapshots, scratch, foreign }: Listing): void {
  const { key } = info;
  if (key === FORMAT_KEY) return;
  if (parseContainerKey(key) !== undefined) containers.push(info);
  else if (parseWriterKey(key) !== undefined) writers.push(info);
  else if (parseSnapshotKey(key) !== undefined) snapshots.push(info);
  else if (isScratchKey(key)) scratch.push(info);
  else {
    foreign.count++;
    foreign.bytes += info.sizeBytes;
    if (foreign.names.length < MAX_FOREIGN_NAMES) foreign.names.push(key);
  }
}

interface Contents {
  /** Of everything that is there. */
  readonly all: BucketIndex;
  /** Of what is not condemned. */
  readonly staying: BucketIndex;
  /** Since when containers are condemned, by `containerText`. */
  readonly sinceMs: ReadonlyMap<string, number>;
}

async function readContainers(
  objects: ObjectStore,
  { listing, log, onProgress }: SurveyParts & { readonly listing: Listing },
  signal: AbortSignal,
): Promise<Contents> {
  const sinceMs = new Map<string, number>();
  const load = async (infos: readonly ObjectInfo[]): Promise<BucketIndex> => {
    const index = new BucketIndex(new Containers(), 0);
    await new ContainerLoader(objects, index, log).load(infos, {
      touched: NO_USE,
      signal,
      onProgress: (done) => onProgress({ listed: listing.count, done, total: infos.length }),
      onCondemned: (condemnations, { modifiedMs }) => {
        for (const { id } of condemnations) {
          const text = containerText(id);
          // Condemnations are repeated: the first one counts.
          sinceMs.set(text, Math.min(modifiedMs, sinceMs.get(text) ?? modifiedMs));
        }
      },
    });
    return index;
  };
  const all = await load(listing.containers);
  const isCondemned = (id: ContainerId): boolean => sinceMs.has(containerText(id));
  // Whether somebody holds a copy of what is in condemned ones, only the others tell.
  const isClear = [...all.containers].every(({ id, liveRows }) => liveRows === 0 || !isCondemned(id));
  if (isClear) return { all, staying: all, sinceMs };
  const others = listing.containers.filter(({ key }) => {
    const name = parseContainerKey(key);
    return name !== undefined && !isCondemned(name.id);
  });
  return { all, staying: await load(others), sinceMs };
}

function summaryOf({ all, staying, sinceMs }: Contents) {
  const condemned: CondemnedObject[] = [];
  const damagedPacks: string[] = [];
  let largeBlobs = 0;
  for (const { id, key, sizeBytes, digest, isDamaged } of all.containers) {
    if (digest !== undefined) largeBlobs++;
    const since = sinceMs.get(containerText(id));
    if (since !== undefined) condemned.push({ key, sizeBytes, sinceMs: since });
    else if (isDamaged) damagedPacks.push(key);
  }
  let liveBytes = 0;
  for (const container of staying.containers) liveBytes += container.liveBytes;
  let entries = 0;
  staying.entryTable.forEachRow((row) => {
    if (!staying.versions.get(row).isRemoval) entries++;
  });
  const { count, bytes } = all.containers;
  const numbers = { packs: count - largeBlobs, largeBlobs, blobs: staying.blobTable.size, entries, bytes, liveBytes };
  return { ...numbers, condemned, damagedPacks };
}

async function readWriters(
  objects: ObjectStore,
  index: BucketIndex,
  infos: readonly ObjectInfo[],
  signal: AbortSignal,
): Promise<readonly KnownWriter[]> {
  const containers = new Map<string, number>();
  for (const { id } of index.containers) containers.set(id.writer, (containers.get(id.writer) ?? 0) + 1);
  const writers: KnownWriter[] = [];
  for (const info of infos) {
    const writer = parseWriterKey(info.key);
    const state = await readState(objects, info.key, signal);
    if (writer === undefined || state === undefined) continue;
    const known = { writer, info, containers: containers.get(writer) ?? 0 };
    writers.push({ ...known, state: state === 'damaged' ? undefined : state });
  }
  return writers;
}

/** Undefined if it is gone. */
async function readState(
  objects: ObjectStore,
  key: string,
  signal: AbortSignal,
): Promise<WriterState | 'damaged' | undefined> {
  try {
    const bytes = await objects.get(key, MAX_STATE_BYTES, signal);
    return bytes === undefined ? undefined : decodeWriterState(bytes);
  } catch (error) {
    if (isKind(error, 'data-loss') || isKind(error, 'too-large')) return 'damaged';
    throw error;
  }
}

async function uploadsIn(objects: ObjectStore, signal: AbortSignal): Promise<readonly UnfinishedUpload[]> {
  const uploads: UnfinishedUpload[] = [];
  for await (const page of objects.unfinishedUploads(signal)) {
    // Others may upload to the bucket, too.
    uploads.push(...page.filter(({ key }) => isOurs(key)));
  }
  return uploads;
}

function isOurs(key: string): boolean {
  return parseContainerKey(key) !== undefined || parseSnapshotKey(key) !== undefined || isScratchKey(key);
}
