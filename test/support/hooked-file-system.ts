import { FaultyFileSystem } from './faulty-file-system.ts';

/** The calls a test can step in before, by the names of the system. */
export type HookedCall =
  | 'open'
  | 'read'
  | 'write'
  | 'ftruncate'
  | 'fdatasync'
  | 'fsync'
  | 'rename'
  | 'unlink'
  | 'statfs';

/** What a test does before a call; what it throws is what the call throws. Calls that do not wait ignore the promise. */
export type BeforeCall = (call: HookedCall, path: string) => Promise<void> | undefined;

/**
 * The real disk with a hook: what happens in the middle of a longer piece of work, and which of its calls fail.
 */
export class HookedFileSystem extends FaultyFileSystem {
  /** Of calls on descriptors the path is ''. */
  before: BeforeCall = () => undefined;

  /** From now on the calls that match fail with that code. */
  failOn(code: string, matches: (call: HookedCall, path: string) => boolean): void {
    this.before = (call, path) => {
      if (matches(call, path)) throw systemError(code);
      return undefined;
    };
  }

  /** Does something before the first call that matches, once. */
  onceBefore(matches: (call: HookedCall, path: string) => boolean, act: () => void): void {
    this.before = (call, path) => {
      if (!matches(call, path)) return undefined;
      this.mend();
      act();
      return undefined;
    };
  }

  /** The nth call from now fails with that code, once. @returns tells which call has failed, if one has. */
  failAt(nth: number, code: string): () => HookedCall | undefined {
    let calls = 0;
    let failed: HookedCall | undefined;
    this.before = (call) => {
      if (++calls !== nth) return undefined;
      failed = call;
      throw systemError(code);
    };
    return () => failed;
  }

  /** Nothing fails any more. */
  mend(): void {
    this.before = () => undefined;
  }

  override open(path: string, purpose: Parameters<FaultyFileSystem['open']>[1]): number {
    this.before('open', path);
    return super.open(path, purpose);
  }

  override read(fd: number, into: Uint8Array, position: number): number {
    this.before('read', '');
    return super.read(fd, into, position);
  }

  override async readAsync(fd: number, into: Uint8Array, position: number): Promise<number> {
    await this.before('read', '');
    return super.readAsync(fd, into, position);
  }

  override writeAt(fd: number, chunks: readonly Uint8Array[], position: number): void {
    this.before('write', '');
    super.writeAt(fd, chunks, position);
  }

  override async writeAtAsync(fd: number, chunks: readonly Uint8Array[], position: number): Promise<void> {
    await this.before('write', '');
    await super.writeAtAsync(fd, chunks, position);
  }

  override truncate(fd: number, sizeBytes: number): void {
    this.before('ftruncate', '');
    super.truncate(fd, sizeBytes);
  }

  override async syncData(): Promise<void> {
    await this.before('fdatasync', '');
  }

  override async syncFolder(path: string): Promise<void> {
    await this.before('fsync', path);
  }

  override rename(from: string, to: string): void {
    this.before('rename', to);
    super.rename(from, to);
  }

  override remove(path: string): void {
    this.before('unlink', path);
    super.remove(path);
  }

  override freeBytes(path: string): number {
    this.before('statfs', path);
    return super.freeBytes(path);
  }
}

/** An error as Node reports one of the system. */
export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: planned`), { code });
}
