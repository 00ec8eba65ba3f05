import {
  chmodSync,
  constants,
  copyFileSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  type Stats,
  unlinkSync,
  utimesSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { type Digest, digestKey } from '../../digest/digest.ts';
import { digestFunctionNamed } from '../../digest/digest-function.ts';
import { ReapiError, systemCode } from '../../errors.ts';
import { MIN_SKETCHED_BYTES } from '../../platform/locality.ts';

// On disk: <folder>/v1/<two hex digits>/<function>-<hash>-<size>[x], a read-only file; `x` is the executable variant,
// an inode of its own, because mode bits belong to the inode (T-21). Everything the index needs is in the name, so
// that a start reads folders and looks at files, but reads none. Making and removing a link sets the change time of an
// inode, which so says when a file was last used. <folder>/v1/tmp holds files being written; a start empties it.

const VERSION = 'v1';
const TEMPORARY = 'tmp';
const NAME = /^([a-z0-9]+)-([0-9a-f]+)-(\d{1,16})(x?)$/;

/** Modification time of every cached file: 2010-01-01. A link that was written through shows another one. */
const STAMP_SECONDS = 1_262_304_000;
const PLAIN_MODE = 0o444;
const EXECUTABLE_MODE = 0o555;

/** Errors after which a copy may still work: another file system, too many links, links forbidden. */
const COPY_INSTEAD: ReadonlySet<string> = new Set(['EXDEV', 'EMLINK', 'EPERM', 'ENOTSUP', 'EOPNOTSUPP']);

/** A file as inputs need it: content and executable bit. */
export interface CachedFile {
  readonly digest: Digest;
  readonly isExecutable: boolean;
}

/** Bounds of the cache. */
export interface FileCacheOptions {
  readonly maxBytes: number;
  readonly maxEntries: number;
}

/**
 * Input files on the worker's disk, least recently used ones dropped first. Inputs are hard links to them, so dropping
 * a file never disturbs an action that uses it.
 */
export class FileCache {
  readonly #folder: string;
  readonly #options: FileCacheOptions;
  /** Size by name; insertion order is age. */
  readonly #entries = new Map<string, number>();
  /** Names of the entries that are worth telling a scheduler of, in the same order. */
  readonly #large = new Set<string>();
  #largeChanges = 0;
  #sizeBytes = 0;
  #temporaries = 0;
  #quarantined = 0;

  /** Opens or creates a cache in `folder`, which belongs to it alone. @throws internal if the folder cannot be used. */
  constructor(folder: string, options: FileCacheOptions) {
    this.#folder = join(folder, VERSION);
    this.#options = options;
    try {
      rmSync(join(this.#folder, TEMPORARY), { recursive: true, force: true });
      mkdirSync(join(this.#folder, TEMPORARY), { recursive: true, mode: 0o700 });
      this.#rebuild();
    } catch (error) {
      throw new ReapiError('internal', 'the file cache cannot be opened', { cause: error });
    }
    this.#shrink();
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get entries(): number {
    return this.#entries.size;
  }

  /** How many files there are of at least `MIN_SKETCHED_BYTES`. */
  get largeFiles(): number {
    return this.#large.size;
  }

  /** How often such a file has come or gone so far. */
  get largeChanges(): number {
    return this.#largeChanges;
  }

  /** The hashes of such files, those used last first; one that is there in both variants comes twice. */
  *largeHashes(): IterableIterator<string> {
    for (const name of [...this.#large].reverse()) yield hashIn(name);
  }

  /** Files that were dropped because an action had written through a link (R-CM-12). */
  get quarantined(): number {
    return this.#quarantined;
  }

  /** A path for a file that `add` will take. */
  temporaryPath(): string {
    return join(this.#folder, TEMPORARY, String(this.#temporaries++));
  }

  /** Takes over a finished file with these very bytes. */
  add(file: CachedFile, temporaryPath: string): void {
    chmodSync(temporaryPath, file.isExecutable ? EXECUTABLE_MODE : PLAIN_MODE);
    utimesSync(temporaryPath, STAMP_SECONDS, STAMP_SECONDS);
    const name = nameOf(file);
    this.#publish(temporaryPath, name);
    this.#forget(name);
    this.#enter(name, file.digest.sizeBytes);
  }

  /** Whether `link` would find the file, as far as is known without looking at the disk. */
  has(file: CachedFile): boolean {
    return this.#entries.has(nameOf(file)) || this.#entries.has(nameOf({ ...file, isExecutable: !file.isExecutable }));
  }

  /** Makes `target` this file, by link or copy. False if it is not cached. Call `shrink` after a round of adds and links. */
  link(file: CachedFile, target: string): boolean {
    const name = nameOf(file);
    if (!this.#touch(name) && !this.#copyVariant(file)) return false;
    try {
      this.#linkOrCopy(this.#pathOf(name), target, file.isExecutable);
      return true;
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
      // Somebody removed the file behind our back.
      this.#forget(name);
      return false;
    }
  }

  /** Drops the file if it was written through one of its links. Cheap: one lstat. */
  verify(file: CachedFile): void {
    const name = nameOf(file);
    if (!this.#entries.has(name)) return;
    const stat = lstatSync(this.#pathOf(name), { throwIfNoEntry: false });
    if (stat !== undefined && isIntact(stat, file.digest.sizeBytes, file.isExecutable)) return;
    this.#quarantined++;
    this.#drop(name);
  }

  /** Drops the oldest files until the bounds hold. */
  shrink(): void {
    this.#shrink();
  }

  #shrink(): void {
    for (const name of this.#entries.keys()) {
      if (this.#sizeBytes <= this.#options.maxBytes && this.#entries.size <= this.#options.maxEntries) return;
      this.#drop(name);
    }
  }

  /** The same bytes may be there with the other mode; copying them is cheaper than fetching. */
  #copyVariant(file: CachedFile): boolean {
    const other = nameOf({ digest: file.digest, isExecutable: !file.isExecutable });
    if (!this.#touch(other)) return false;
    this.verify({ digest: file.digest, isExecutable: !file.isExecutable });
    if (!this.#entries.has(other)) return false;
    const temporary = this.temporaryPath();
    copyFileSync(this.#pathOf(other), temporary, constants.COPYFILE_FICLONE);
    this.add(file, temporary);
    return true;
  }

  #linkOrCopy(source: string, target: string, isExecutable: boolean): void {
    try {
      linkSync(source, target);
    } catch (error) {
      // A fetch that was tried again had placed this one already: input names are unique.
      if (systemCode(error) === 'EEXIST') return;
      if (!COPY_INSTEAD.has(systemCode(error) ?? '')) throw error;
      copyFileSync(source, target, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
      chmodSync(target, isExecutable ? EXECUTABLE_MODE : PLAIN_MODE);
      utimesSync(target, STAMP_SECONDS, STAMP_SECONDS);
    }
  }

  #touch(name: string): boolean {
    const sizeBytes = this.#entries.get(name);
    if (sizeBytes === undefined) return false;
    this.#entries.delete(name);
    this.#entries.set(name, sizeBytes);
    if (this.#large.delete(name)) this.#large.add(name);
    return true;
  }

  #drop(name: string): void {
    this.#forget(name);
    try {
      unlinkSync(this.#pathOf(name));
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
    }
  }

  #enter(name: string, sizeBytes: number): void {
    this.#entries.set(name, sizeBytes);
    this.#sizeBytes += sizeBytes;
    if (sizeBytes < MIN_SKETCHED_BYTES) return;
    this.#large.add(name);
    this.#largeChanges++;
  }

  #forget(name: string): void {
    this.#sizeBytes -= this.#entries.get(name) ?? 0;
    this.#entries.delete(name);
    if (this.#large.delete(name)) this.#largeChanges++;
  }

  /** Oldest use first. Drops what a crash of the machine or an action of the last lease left damaged. */
  #rebuild(): void {
    const found: { readonly name: string; readonly sizeBytes: number; readonly usedMs: number }[] = [];
    for (const shard of readdirSync(this.#folder)) {
      if (shard === TEMPORARY) continue;
      for (const name of readdirSync(join(this.#folder, shard))) {
        const sizeBytes = sizeFromName(name);
        if (sizeBytes === undefined) {
          throw new ReapiError('internal', `the file cache holds "${name}", which is not its own`);
        }
        const path = join(this.#folder, shard, name);
        const stat = lstatSync(path);
        if (isIntact(stat, sizeBytes, name.endsWith('x'))) found.push({ name, sizeBytes, usedMs: stat.ctimeMs });
        else rmSync(path, { recursive: true });
      }
    }
    found.sort((a, b) => a.usedMs - b.usedMs);
    for (const { name, sizeBytes } of found) this.#enter(name, sizeBytes);
  }

  /** The folder of a name may not be there yet. */
  #publish(temporaryPath: string, name: string): void {
    const path = this.#pathOf(name);
    try {
      renameSync(temporaryPath, path);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      renameSync(temporaryPath, path);
    }
  }

  #pathOf(name: string): string {
    return `${this.#folder}/${hashIn(name).slice(0, 2)}/${name}`;
  }
}

/** Whether a cached file looks as it did when it was added. */
function isIntact(stat: Stats, sizeBytes: number, isExecutable: boolean): boolean {
  return (
    stat.isFile() &&
    stat.size === sizeBytes &&
    stat.mtimeMs === STAMP_SECONDS * 1000 &&
    (stat.mode & 0o7777) === (isExecutable ? EXECUTABLE_MODE : PLAIN_MODE)
  );
}

function nameOf(file: CachedFile): string {
  return `${digestKey(file.digest).replaceAll('/', '-')}${file.isExecutable ? 'x' : ''}`;
}

function hashIn(name: string): string {
  const at = name.indexOf('-') + 1;
  return name.slice(at, name.indexOf('-', at));
}

function sizeFromName(name: string): number | undefined {
  const match = NAME.exec(name);
  if (match === null || digestFunctionNamed(match[1] ?? '') === undefined) return undefined;
  return Number(match[3]);
}
