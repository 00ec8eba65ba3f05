import { LRUCache } from 'lru-cache';
import { type Digest, digestFromWire, digestKey } from '../../digest/digest.ts';
import { ReapiError } from '../../errors.ts';
import { Directory, type Digest as WireDigest } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';

/** A file of an input directory. */
export interface InputFile {
  readonly name: string;
  readonly digest: Digest;
  readonly isExecutable: boolean;
}

/** A checked Directory message: every name is one safe path segment and occurs once. */
export interface InputDirectory {
  readonly files: readonly InputFile[];
  readonly directories: readonly { readonly name: string; readonly digest: Digest }[];
  readonly symlinks: readonly { readonly name: string; readonly target: string }[];
}

/** Longest name of a file system entry, in bytes, on every file system in use. */
const MAX_NAME_BYTES = 255;

/** Checked directories by digest, bounded by the size of their messages, for all slots of a worker. */
export class DirectoryCache {
  readonly #entries: LRUCache<string, InputDirectory>;

  constructor(options: { readonly maxBytes: number; readonly maxEntries: number }) {
    this.#entries = new LRUCache({ max: options.maxEntries, maxSize: options.maxBytes });
  }

  get(digest: Digest): InputDirectory | undefined {
    return this.#entries.get(digestKey(digest));
  }

  /** Decodes, checks and keeps. @throws invalid-argument (R-CM-08, R-CM-10). */
  add(digest: Digest, bytes: Uint8Array): InputDirectory {
    const directory = parseDirectory(digest, bytes);
    // Decoded objects take several times the room of the message.
    this.#entries.set(digestKey(digest), directory, { size: 64 + digest.sizeBytes });
    return directory;
  }
}

/** @throws invalid-argument: not a Directory, an unsafe or repeated name (R-CM-08), a malformed digest. */
export function parseDirectory(digest: Digest, bytes: Uint8Array): InputDirectory {
  const message = decode(digest, bytes);
  const seen = new Set<string>();
  const check = (name: string): string => checkName(name, seen, digest);
  const child = (wire: WireDigest | undefined, name: string): Digest =>
    digestFromWire(digest.function, wire, `digest of "${name}" in the directory ${digestKey(digest)}`);
  return {
    files: message.files.map((file) => ({
      name: check(file.name),
      digest: child(file.digest, file.name),
      isExecutable: file.isExecutable,
    })),
    directories: message.directories.map((directory) => ({
      name: check(directory.name),
      digest: child(directory.digest, directory.name),
    })),
    symlinks: message.symlinks.map((link) => ({ name: check(link.name), target: checkTarget(link.target, digest) })),
  };
}

function decode(digest: Digest, bytes: Uint8Array): Directory {
  try {
    return Directory.decode(bytes);
  } catch (error) {
    throw new ReapiError('invalid-argument', `${digestKey(digest)} is not a Directory message`, { cause: error });
  }
}

function checkName(name: string, seen: Set<string>, digest: Digest): string {
  const isUnsafe = name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0');
  if (isUnsafe || Buffer.byteLength(name) > MAX_NAME_BYTES) {
    throw wrong(digest, `has the name ${JSON.stringify(name.slice(0, 80))}, which is not one path segment`);
  }
  if (seen.has(name)) throw wrong(digest, `has "${name}" more than once`);
  seen.add(name);
  return name;
}

function checkTarget(target: string, digest: Digest): string {
  if (target === '' || target.includes('\0')) throw wrong(digest, 'has a symlink whose target is empty or has a NUL');
  return target;
}

function wrong(digest: Digest, what: string): ReapiError {
  return new ReapiError('invalid-argument', `the directory ${digestKey(digest)} ${what}`, {
    field: 'input_root_digest',
  });
}
