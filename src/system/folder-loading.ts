import { join } from 'node:path';
import { systemCode } from '../errors.ts';
import type { Clock } from './clock.ts';
import { writeError } from './file-errors.ts';
import type { FileSystem } from './file-system.ts';
import { FolderIndex, type IndexLimits } from './folder-index.ts';
import { type RememberedFile, takeSnapshot } from './folder-snapshot.ts';
import { claimFormat } from './format-marker.ts';
import type { Log } from './log.ts';
import { Quarantine } from './quarantine.ts';

/** Layout version of bounded folders; see docs/storage.md. */
const FORMAT = { file: 'format', format: 'gantry-files', version: 1 };

/** The two hex characters with which a name begins: 256 folders stay below 4,000 names each at a million files. */
const FAN_OUT = /^[0-9a-f]{2}$/;

/** What loading needs. */
export interface Loading extends IndexLimits {
  readonly files: FileSystem;
  readonly clock: Clock;
  readonly log: Log;
  readonly sizeFromName?: (name: string) => number | undefined;
  /** Most bytes that damaged files may take. Default as `Quarantine` has it. */
  readonly maxQuarantineBytes?: number;
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
 * clean stop saves asking for each file's size and age.
 * @throws precondition; unavailable.
 */
export async function loadFolder(path: string, loading: Loading): Promise<LoadedFolder> {
  const { files } = loading;
  try {
    files.makeFolder(path);
    await claimFormat(files, path, FORMAT);
    for (const name of ['tmp', 'files']) files.makeFolder(join(path, name));
    for (const name of files.list(join(path, 'tmp'))) files.remove(join(path, 'tmp', name));
    const quarantine = new Quarantine(files, join(path, 'quarantine'), loading.maxQuarantineBytes);
    const fanOut = new Set(files.list(join(path, 'files')).filter((name) => FAN_OUT.test(name)));
    return { index: buildIndex(path, fanOut, loading, quarantine), quarantine, fanOut };
  } catch (error) {
    throw writeError(error, 'opening a store');
  }
}

function buildIndex(path: string, fanOut: Iterable<string>, loading: Loading, quarantine: Quarantine): FolderIndex {
  const { files, clock, log, maxFiles } = loading;
  const snapshot = takeSnapshot(files, path);
  const found: FoundFile[] = [];
  for (const part of fanOut) {
    const folder = join(path, 'files', part);
    for (const name of files.list(folder)) {
      const file = snapshot?.get(name) ?? examine(files, join(folder, name), name);
      if (file === undefined) continue;
      const expectedBytes = loading.sizeFromName?.(name);
      const isDamaged = loading.sizeFromName !== undefined && expectedBytes !== file.sizeBytes;
      if (isDamaged) quarantineAtStart(log, quarantine, join(folder, name), name);
      else found.push({ ...file, path: join(folder, name) });
    }
  }
  inOrderOfUse(found, snapshot);
  const index = new FolderIndex(loading);
  const skewMs = clock.nowMs() - clock.monotonicMs();
  const surplus = found.length - maxFiles;
  for (const [at, file] of found.entries()) {
    // A wall clock that was set back must not make files younger than now.
    if (at < surplus) files.remove(file.path);
    else index.add(file.name, file.sizeBytes, Math.min(file.touchedMs - skewMs, clock.monotonicMs()));
  }
  evictSurplus(files, path, index, loading.maxBytes);
  return index;
}

/** The limit may have been lowered since the last run; then even recent files go. */
function evictSurplus(files: FileSystem, path: string, index: FolderIndex, maxBytes: number): void {
  while (index.bytes > maxBytes) {
    const [oldest] = index.inOrder();
    if (oldest === undefined) return;
    files.remove(join(path, 'files', oldest.name.slice(0, 2), oldest.name));
    index.remove(oldest.name);
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

function quarantineAtStart(log: Log, quarantine: Quarantine, path: string, name: string): void {
  log.error({ file: name }, 'a file without the size its name says was put into quarantine');
  quarantine.take(path, name);
}

/** By age; equal ages keep the snapshot's order, which is exact. */
function inOrderOfUse(found: FoundFile[], snapshot: ReadonlyMap<string, RememberedFile> | undefined): void {
  const places = new Map<string, number>();
  for (const name of snapshot?.keys() ?? []) places.set(name, places.size);
  found.sort((a, b) => a.touchedMs - b.touchedMs || (places.get(a.name) ?? 0) - (places.get(b.name) ?? 0));
}
