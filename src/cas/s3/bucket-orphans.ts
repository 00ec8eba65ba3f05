import type { BucketSurvey, KnownWriter } from './bucket-survey.ts';
import { MAX_COPYING_MS } from './collector.ts';
import { parseSnapshotKey } from './object-names.ts';
import type { ObjectInfo, ObjectStore, UnfinishedUpload } from './object-store.ts';

const DAY_MS = 86_400_000;

/** Nobody uploads an object for so long. */
const UPLOAD_AFTER_MS = DAY_MS;

/** No command runs for so long. */
const SCRATCH_AFTER_MS = DAY_MS;

/** How long a server may be away and find its state again. */
const SILENT_AFTER_MS = 30 * DAY_MS;

/**
 * Added to the time after which servers delete what is condemned: they wait for each other's copying, and do it themselves if they
 * are there. The day covers that a server which missed news learns of it when it compares itself with the bucket, within hours.
 */
const CONDEMNED_SLACK_MS = MAX_COPYING_MS + DAY_MS;

/** Objects that are removed with one call. */
const REMOVED_AT_ONCE = 1000;

/** What kind of thing is left over. */
export type OrphanKind = 'upload' | 'condemned' | 'snapshot' | 'writer' | 'scratch';

/** Something in the bucket that nobody needs and no server removes. */
export interface Orphan {
  readonly what: OrphanKind;
  readonly key: string;
  /** 0 for an upload: how much its parts take is not told. */
  readonly sizeBytes: number;
  /** By the clock of the object store: since when it is condemned, or when it was written. Milliseconds since 1970. */
  readonly sinceMs: number;
  /** Of an upload. */
  readonly upload?: UnfinishedUpload;
}

/**
 * What may be removed, whatever servers do meanwhile:
 *
 * - uploads in parts that were begun a day ago: objects become visible in hours at most;
 * - condemned containers, a day after servers should have deleted them;
 * - snapshots that a newer one of the same server replaces, or whose server is forgotten: an index can always be read from footers;
 * - states of servers that were silent for 30 days and have nothing in the bucket: should one come back, it writes its state anew;
 * - what commands tried and could not remove.
 *
 * Never a container that is not condemned, nor a damaged pack (what a server knows of it can still be read), nor what is not Gantry's.
 */
export function orphansIn(survey: BucketSurvey): readonly Orphan[] {
  const { uploads, condemned, writers, scratch, nowMs } = survey;
  // A store that does not tell a time makes nothing old.
  const isOlder = (thanMs: number, sinceMs: number): boolean => sinceMs > 0 && nowMs - sinceMs > thanMs;
  const graceMs = condemnedGraceMs(writers);
  return [
    ...uploads
      .filter(({ startedMs }) => isOlder(UPLOAD_AFTER_MS, startedMs))
      .map((upload) => ({
        ...{ what: 'upload' as const, key: upload.key, sizeBytes: 0, sinceMs: upload.startedMs, upload },
      })),
    ...(graceMs === undefined ? [] : condemned.filter(({ sinceMs }) => isOlder(graceMs, sinceMs))).map((object) => ({
      ...{ what: 'condemned' as const, ...object },
    })),
    ...replacedSnapshots(survey).map((info) => orphanOf('snapshot', info)),
    ...writers
      .filter(({ info, containers }) => containers === 0 && isOlder(SILENT_AFTER_MS, info.modifiedMs))
      .map(({ info }) => orphanOf('writer', info)),
    ...scratch
      .filter(({ modifiedMs }) => isOlder(SCRATCH_AFTER_MS, modifiedMs))
      .map((info) => orphanOf('scratch', info)),
  ];
}

/**
 * How long a container has to be condemned before it is removed: two refreshes and a lease of the slowest servers that are known, as
 * the servers themselves do it, and two days. Undefined if what a server promises cannot be read: then all condemned containers stay.
 */
export function condemnedGraceMs(writers: readonly KnownWriter[]): number | undefined {
  let refreshSeconds = 0;
  let leaseSeconds = 0;
  for (const { state } of writers) {
    if (state === undefined) return undefined;
    refreshSeconds = Math.max(refreshSeconds, state.refreshSeconds);
    leaseSeconds = Math.max(leaseSeconds, state.leaseSeconds);
  }
  return (2 * refreshSeconds + leaseSeconds) * 1000 + CONDEMNED_SLACK_MS;
}

/**
 * Removes orphans. @param onRemoved is told of each that is gone.
 * @throws unavailable; cancelled: the others are still there, and perhaps some that `onRemoved` was not told of are gone.
 */
export async function removeOrphans(
  objects: ObjectStore,
  orphans: readonly Orphan[],
  onRemoved: (orphan: Orphan) => void,
  signal: AbortSignal,
): Promise<void> {
  for (const orphan of orphans) {
    if (orphan.upload === undefined) continue;
    await objects.dropUpload(orphan.upload, signal);
    onRemoved(orphan);
  }
  const stored = orphans.filter(({ upload }) => upload === undefined);
  for (let at = 0; at < stored.length; at += REMOVED_AT_ONCE) {
    const some = stored.slice(at, at + REMOVED_AT_ONCE);
    await objects.delete(
      some.map(({ key }) => key),
      signal,
    );
    for (const orphan of some) onRemoved(orphan);
  }
}

function replacedSnapshots({ snapshots, writers }: BucketSurvey): readonly ObjectInfo[] {
  const newest = new Map<string, ObjectInfo>();
  for (const info of snapshots) {
    const writer = parseSnapshotKey(info.key)?.writer ?? '';
    const other = newest.get(writer);
    // Of the same second, the one with the higher number.
    const isNewer = other === undefined || (info.modifiedMs - other.modifiedMs || (info.key > other.key ? 1 : -1)) > 0;
    if (isNewer) newest.set(writer, info);
  }
  const known = new Set(writers.map(({ writer }) => writer));
  return snapshots.filter((info) => {
    const writer = parseSnapshotKey(info.key)?.writer ?? '';
    return !known.has(writer) || newest.get(writer) !== info;
  });
}

function orphanOf(what: OrphanKind, { key, sizeBytes, modifiedMs }: ObjectInfo): Orphan {
  return { what, key, sizeBytes, sinceMs: modifiedMs };
}
