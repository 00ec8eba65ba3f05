import { condemnedGraceMs, type Orphan, type OrphanKind } from '../../cas/s3/bucket-orphans.ts';
import type { BucketSurvey, KnownWriter } from '../../cas/s3/bucket-survey.ts';
import { PACK_FORMAT_VERSION } from '../../cas/s3/pack-format.ts';
import { readableCount, readableDuration, readableShare, readableSize } from './readable.ts';
import { printable } from './terminal.ts';

/** Lines about things of one kind; the JSON has all of them. */
const MAX_LINES = 20;

/** What pruning a bucket came to. */
export interface PruneOutcome {
  readonly survey: BucketSurvey;
  /** What may be removed. */
  readonly orphans: readonly Orphan[];
  /** What was removed. */
  readonly removed: readonly Orphan[];
  readonly isDryRun: boolean;
}

const KINDS: Readonly<Record<OrphanKind, { readonly name: string; readonly since: string }>> = {
  upload: { name: 'unfinished upload', since: 'begun' },
  condemned: { name: 'condemned object', since: 'condemned' },
  snapshot: { name: 'needless snapshot', since: 'written' },
  writer: { name: 'state of a server', since: 'written' },
  scratch: { name: 'left by a command', since: 'written' },
};

/** The longest name of a kind, and a column between. */
const KIND_COLUMNS = 20;

/** What is in the bucket, as a table for people. */
export function surveyText(survey: BucketSurvey): string {
  const { packs, largeBlobs, blobs, entries, bytes, liveBytes, nowMs, writers } = survey;
  const rows: (readonly [string, string])[] = [
    ['versions', `${survey.formatVersion} of the bucket, ${PACK_FORMAT_VERSION} of packs`],
    ['holds', `${readableSize(bytes)} in ${readableCount(packs)} packs and ${readableCount(largeBlobs)} large blobs`],
    [
      'live',
      `${readableSize(liveBytes)} (${readableShare(liveBytes, bytes)}): ${readableCount(blobs)} blobs and ${readableCount(entries)} entries`,
    ],
    ...(writers.length === 0 ? [['server', 'none is known'] as const] : []),
    ...some(writers, (writer) => ['server', writerText(writer, nowMs)]),
    ['condemned', condemnedText(survey)],
  ];
  rows.push(...some(survey.damagedPacks, (key) => ['DAMAGED', `${key}: its footer cannot be read; it stays`]));
  if (survey.foreign.count > 0) rows.push(["not Gantry's", foreignText(survey)]);
  return rows.map(([name, value]) => `${name.padEnd(15)}${printable(value)}\n`).join('');
}

/** What was, or would be, removed: things, then the sum. */
export function orphansText({ survey, orphans, removed, isDryRun }: PruneOutcome): string {
  if (orphans.length === 0) return 'nothing is left over\n';
  const shown = isDryRun ? orphans : removed;
  const lines = Object.keys(KINDS).flatMap((kind) => {
    const same = shown.filter(({ what }) => what === kind);
    return some(same, (orphan) => ['', orphanText(orphan, survey.nowMs)]).map(([, text]) => `${printable(text)}\n`);
  });
  const uploads = shown.filter(({ upload }) => upload !== undefined).length;
  const parts = uploads === 0 ? '' : `, and the parts of ${uploads} unfinished uploads`;
  const sum = `${readableCount(shown.length)}: ${readableSize(bytesOf(shown))}${parts}`;
  if (isDryRun) return `${lines.join('')}would remove ${sum}; nothing was removed\n`;
  const left = orphans.length - removed.length;
  return `${lines.join('')}removed ${sum}${left === 0 ? '' : `; ${readableCount(left)} are left`}\n`;
}

/** All of it for programs. Ages are in seconds, by the clock of the object store. */
export function pruneJson({ survey, orphans, removed, isDryRun }: PruneOutcome) {
  const { nowMs, writers, condemned, snapshots, scratch, uploads, bucket: _, formatVersion, ...numbers } = survey;
  const gone = new Set(removed);
  return {
    isDryRun,
    versions: { bucket: formatVersion, packs: PACK_FORMAT_VERSION },
    ...numbers,
    condemned: { count: condemned.length, bytes: bytesOf(condemned), oldestSeconds: oldestSeconds(survey) },
    snapshots: { count: snapshots.length, bytes: bytesOf(snapshots) },
    writers: writers.map(({ writer, info, state, containers }) => ({
      ...{ writer, containers, silentSeconds: ageSeconds(nowMs, info.modifiedMs) },
      refreshSeconds: state?.refreshSeconds ?? null,
      leaseSeconds: state?.leaseSeconds ?? null,
    })),
    orphans: orphans.map((orphan) => ({
      ...{ what: orphan.what, key: orphan.key, sizeBytes: orphan.sizeBytes },
      ageSeconds: ageSeconds(nowMs, orphan.sinceMs),
      isRemoved: gone.has(orphan),
    })),
    freedBytes: bytesOf(removed),
  };
}

function writerText({ writer, info, state, containers }: KnownWriter, nowMs: number): string {
  const seen = `${readableCount(containers)} objects, last heard of ${ago(nowMs, info.modifiedMs)}`;
  if (state === undefined) return `${writer}: ${seen}; its state is damaged, so nothing condemned is removed`;
  const { refreshSeconds, leaseSeconds } = state;
  const promises = `refresh ${readableDuration(refreshSeconds)}, lease ${readableDuration(leaseSeconds)}`;
  return `${writer}: ${seen}, ${promises}`;
}

function condemnedText({ condemned, nowMs, writers }: BucketSurvey): string {
  if (condemned.length === 0) return 'nothing';
  const oldest = condemned.reduce((least, { sinceMs }) => Math.min(least, sinceMs), nowMs);
  const graceMs = condemnedGraceMs(writers);
  const rule = graceMs === undefined ? '' : `; left over after ${readableDuration(graceMs / 1000)}`;
  const what = `${readableSize(bytesOf(condemned))} in ${readableCount(condemned.length)} objects`;
  return `${what}, the first ${ago(nowMs, oldest)}; servers delete them${rule}`;
}

function foreignText({ foreign: { count, bytes, names } }: BucketSurvey): string {
  const more = count > names.length ? ', …' : '';
  return `${readableCount(count)} objects of ${readableSize(bytes)}, which stay: ${names.join(', ')}${more}`;
}

function orphanText({ what, key, sizeBytes, sinceMs, upload }: Orphan, nowMs: number): string {
  const { name, since } = KINDS[what];
  const size = upload === undefined ? `, ${readableSize(sizeBytes)}` : '';
  return `${name.padEnd(KIND_COLUMNS)}${key}: ${since} ${ago(nowMs, sinceMs)}${size}`;
}

/** A row for each of the first few, and one for the others. */
function some<T>(things: readonly T[], row: (thing: T) => readonly [string, string]): (readonly [string, string])[] {
  const rows = things.slice(0, MAX_LINES).map(row);
  const others = things.length - rows.length;
  return others === 0 ? rows : [...rows, [rows[0]?.[0] ?? '', `… and ${readableCount(others)} more`]];
}

function oldestSeconds({ condemned, nowMs }: BucketSurvey): number | null {
  if (condemned.length === 0) return null;
  return ageSeconds(
    nowMs,
    condemned.reduce((least, { sinceMs }) => Math.min(least, sinceMs), nowMs),
  );
}

function bytesOf(objects: readonly { readonly sizeBytes: number }[]): number {
  return objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

function ago(nowMs: number, thenMs: number): string {
  return `${readableDuration(ageSeconds(nowMs, thenMs))} ago`;
}

/** What was written while we looked is not of the future. */
function ageSeconds(nowMs: number, thenMs: number): number {
  return Math.max(0, Math.floor((nowMs - thenMs) / 1000));
}
