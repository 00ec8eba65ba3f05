import { dirname, join } from 'node:path';
import { systemCode } from '../errors.ts';
import type { Clock } from './clock.ts';
import { closeUnneeded, readError, writeError } from './file-errors.ts';
import type { FileSystem } from './file-system.ts';
import { FolderIndex, type IndexLimits } from './folder-index.ts';
import { type RememberedFile, type Snapshot, takeSnapshot } from './folder-snapshot.ts';
import { forEachBounded } from './for-each-bounded.ts';
import { claimFormat } from './format-marker.ts';
import type { Log } from './log.ts';
import { Quarantine } from './quarantine.ts';

/** Layout version of bounded folders; see docs/storage.md. */
const FORMAT = { file: 'format', format: 'gantry-files', version: 1 };

/** The two hex characters with which a name begins: 256 folders stay below 4,000 names each at a million files. */
const FAN_OUT = /^[0-9a-f]{2}$/;

/** Syncs at a time: a device takes several in one go. */
const SYNC_WIDTH = 16;

/**
 * Systems write what they hold to the device after half a minute, or some minutes of a slow device's backlog: files that were
 * not changed for this time have their bytes there.
 */
const UNSYNCED_MS = 600_000;

/** What loading needs. */
export interface Loading extends IndexLimits {
  readonly files: FileSystem;
  readonly clock: Clock;
  readonly log: Log;
  /** `file`: what is in the folder is on the device before it is used. */
  readonly sync: 'file' | 'none';
  readonly sizeFromName?: (name: string) => number | undefined;
  /** Most bytes that damaged files may take. Default as `Quarantine` has it. */
  readonly maxQuarantineBytes?: number;
  /** Whether a file that is too many may go. Default: any may. */
  readonly mayEvict?: ((name: string) => boolean) | undefined;
}

/** What loading gives. */
export interface LoadedFolder {
  readonly index: FolderIndex;
  readonly quarantine: Quarantine;
  /** The fan-out folders that exist; the others are made when first needed. */
  readonly fanOut: Set<string>;
}

interface FoundFile extends RememberedFile {
  readonly path: string;
}

/**
 * Brings a folder into use: format, temporary files, quarantine, index. What the disk holds counts; the snapshot of the last
 * clean stop saves asking for each file's size and age, and syncing.
 * @throws precondition; unavailable.
 */
export async function loadFolder(path: string, loading: Loading): Promise<LoadedFolder> {
  const { files } = loading;
  try {
    await makeFolders(path, loading);
    for (const name of files.list(join(path, 'tmp'))) files.remove(join(path, 'tmp', name));
    const quarantine = new Quarantine(files, join(path, 'quarantine'), loading.maxQuarantineBytes);
    const fanOut = new Set(files.list(join(path, 'files')).filter((name) => FAN_OUT.test(name)));
    const snapshot = takeSnapshot(files, path);
    let found = findFiles(path, fanOut, { ...loading, quarantine, snapshot });
    if (loading.sync === 'file' && snapshot?.isSynced !== true) {
      found = await syncRecent(found, loading, quarantine);
      await syncNames(join(path, 'files'), [...fanOut], files);
    }
    inOrderOfUse(found, snapshot?.files);
    return { index: buildIndex(path, found, loading), quarantine, fanOut };
  } catch (error) {
    throw writeError(error, 'opening a store');
  }
}

/** The folder's own name is synced as long as nothing is in it: a crash on the way leaves it empty, and it is done again. */
async function makeFolders(path: string, { files, sync }: Loading): Promise<void> {
  files.makeFolder(path);
  if (sync === 'file' && files.list(path).length === 0) await files.syncFolder(dirname(path));
  await claimFormat(files, path, FORMAT);
  for (const name of ['tmp', 'files']) files.makeFolder(join(path, name));
  if (sync === 'file') await files.syncFolder(path);
}

interface Finding extends Loading {
  readonly quarantine: Quarantine;
  readonly snapshot: Snapshot | undefined;
}

function findFiles(path: string, fanOut: Iterable<string>, finding: Finding): FoundFile[] {
  const { files, log, snapshot, quarantine, sizeFromName } = finding;
  const found: FoundFile[] = [];
  for (const part of fanOut) {
    const folder = join(path, 'files', part);
    for (const name of files.list(folder)) {
      const file = snapshot?.files.get(name) ?? examine(files, join(folder, name), name);
      if (file === undefined) continue;
      const isDamaged = sizeFromName !== undefined && sizeFromName(name) !== file.sizeBytes;
      if (isDamaged) {
        log.error({ file: name }, 'a file without the size its name says was put into quarantine');
        quarantine.take(join(folder, name), name);
      } else {
        found.push({ ...file, path: join(folder, name) });
      }
    }
  }
  return found;
}

function buildIndex(path: string, found: readonly FoundFile[], loading: Loading): FolderIndex {
  const { clock, maxFiles } = loading;
  const kept = withoutSurplus(found, loading);
  // What must not go stays in this run, as many as there are.
  const index = new FolderIndex({ ...loading, maxFiles: Math.max(maxFiles, kept.length) });
  const skewMs = clock.nowMs() - clock.monotonicMs();
  for (const file of kept) {
    // A wall clock that was set back must not make files younger than now.
    index.add(file.name, file.sizeBytes, Math.min(file.touchedMs - skewMs, clock.monotonicMs()));
  }
  evictSurplus(path, index, loading);
  return index;
}

/**
 * After a process was killed between a rename and the syncing of its folder, or after a run that synced nothing, `has` would say yes
 * to a file the device knows nothing of, and a client's retry would be acknowledged without any sync. Names cost one sync a folder
 * and are all done; bytes are done where the last change is so recent that the system may hold them back. The newest file, if
 * it is older than now, is what "recent" is counted from: a clock that was set since must not hide it.
 * @returns the files without those that have vanished, or that could not be synced: their bytes may be lost, and the system tells so
 * only once.
 */
async function syncRecent(found: FoundFile[], loading: Loading, quarantine: Quarantine): Promise<FoundFile[]> {
  const newestMs = found.reduce((latest, file) => Math.max(latest, file.touchedMs), 0);
  const sinceMs = Math.min(newestMs, loading.clock.nowMs()) - UNSYNCED_MS;
  const recent = found.filter((file) => file.touchedMs >= sinceMs);
  const lost = new Set<FoundFile>();
  await forEachBounded(recent.length, SYNC_WIDTH, async (at) => {
    const file = recent[at];
    if (file !== undefined && !(await syncBytes(file, loading, quarantine))) lost.add(file);
  });
  return lost.size === 0 ? found : found.filter((file) => !lost.has(file));
}

/** Whether the file is there, and its bytes on the device. */
async function syncBytes(file: FoundFile, { files, log }: Loading, quarantine: Quarantine): Promise<boolean> {
  let fd: number;
  try {
    fd = files.open(file.path, 'read');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
  try {
    await files.syncData(fd);
    return true;
  } catch (error) {
    if (readError(error, 'syncing a stored file').kind !== 'data-loss') throw error;
    log.error({ file: file.name, err: error }, 'a file whose bytes did not reach the device was put into quarantine');
    quarantine.take(file.path, file.name);
    return false;
  } finally {
    closeUnneeded(files, fd);
  }
}

/** The names in all fan-out folders, and theirs. */
async function syncNames(parent: string, fanOut: readonly string[], files: FileSystem): Promise<void> {
  await forEachBounded(fanOut.length, SYNC_WIDTH, (at) => files.syncFolder(join(parent, fanOut[at] ?? '')));
  await files.syncFolder(parent);
}

/** Removes the oldest files that are above the limit of their number and may go. @returns the others. */
function withoutSurplus(found: readonly FoundFile[], { files, maxFiles, mayEvict }: Loading): readonly FoundFile[] {
  let surplus = found.length - maxFiles;
  if (surplus <= 0) return found;
  return found.filter((file) => {
    if (surplus <= 0 || mayEvict?.(file.name) === false) return true;
    surplus--;
    files.remove(file.path);
    return false;
  });
}

/** The limit may have been lowered since the last run; then even recent files go. */
function evictSurplus(path: string, index: FolderIndex, { files, maxBytes, mayEvict }: Loading): void {
  for (const { name } of index.inOrder()) {
    if (index.bytes <= maxBytes) return;
    if (mayEvict?.(name) === false) continue;
    files.remove(join(path, 'files', name.slice(0, 2), name));
    index.remove(name);
  }
}

function examine(files: FileSystem, path: string, name: string): RememberedFile | undefined {
  try {
    const facts = files.stat(path);
    return { name, sizeBytes: facts.sizeBytes, touchedMs: facts.modifiedMs };
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** By age; equal ages keep the snapshot's order, which is exact. */
function inOrderOfUse(found: FoundFile[], snapshot: ReadonlyMap<string, RememberedFile> | undefined): void {
  const places = new Map<string, number>();
  for (const name of snapshot?.keys() ?? []) places.set(name, places.size);
  found.sort((a, b) => a.touchedMs - b.touchedMs || (places.get(a.name) ?? 0) - (places.get(b.name) ?? 0));
}
