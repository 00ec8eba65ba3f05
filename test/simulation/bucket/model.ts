import type { BucketWatch } from './bucket-watch.ts';
import type { Machine } from './machine.ts';

/** A value of an entry that somebody tried to write, or a removal. */
export interface Write {
  readonly id: number;
  readonly key: string;
  readonly isRemoval: boolean;
  readonly machine: Machine;
  /** Which data folder, and which start. */
  readonly disk: number;
  readonly start: number;
  readonly beganMs: number;
  endedMs: number | undefined;
  isAcknowledged: boolean;
}

/** What the laws need to know of the settings. */
export interface ModelOptions {
  readonly durability: 's3' | 'local';
  readonly promiseMs: number;
  readonly refreshMs: number;
  /** 0: for ever. What counts as old may be off by `slackMs`: wall clocks differ. */
  readonly retentionMs: number;
  readonly slackMs: number;
}

/** Who reads: a machine, or somebody who has just read the whole bucket. */
export type Reader = Machine | 'bucket';

/** What clients were told, and so what they may expect. Knows nothing of containers. */
export class Model {
  readonly #watch: BucketWatch;
  readonly #options: ModelOptions;
  readonly writes: Write[] = [];

  constructor(watch: BucketWatch, options: ModelOptions) {
    this.#watch = watch;
    this.#options = options;
  }

  /** A machine said that it has a blob: it answers for it for a while. A use counts for retention if the machine had news. */
  promised(machine: Machine, hash: string, nowMs: number): void {
    machine.promises.set(hash, nowMs + this.#options.promiseMs);
    if (this.#options.durability === 's3' && machine.isFresh) machine.uses.set(hash, nowMs);
    else this.used(machine, hash, nowMs);
  }

  /** It was read, perhaps from the local tier after the bucket had forgotten it: so only what the bucket has to hold is held longer. */
  used(machine: Machine, hash: string, nowMs: number): void {
    if (machine.isFresh && this.mustHold([machine], hash, nowMs)) machine.uses.set(hash, nowMs);
  }

  isPromised(machine: Machine, hash: string, nowMs: number): boolean {
    return (machine.promises.get(hash) ?? 0) > nowMs;
  }

  /** Whether a blob that was acknowledged is where it has to be. */
  wasStored(hash: string): boolean {
    return this.#options.durability === 'local' || this.#watch.blobLandedMs(hash) !== undefined;
  }

  /** Whether the bucket has to hold a blob still. */
  mustHold(machines: readonly Machine[], hash: string, nowMs: number): boolean {
    const landedMs = this.#watch.blobLandedMs(hash);
    if (landedMs === undefined) return false;
    const usedMs = Math.max(landedMs, ...machines.map(({ uses }) => uses.get(hash) ?? 0));
    return this.#isRetained(usedMs, nowMs);
  }

  /**
   * Whether a server may not have learned yet where a blob is now: somebody has just stored or copied it, or will, as it is in a
   * container that was condemned by one who did not use it.
   */
  isOnTheMove(hash: string, nowMs: number): boolean {
    const movedMs = Math.max(this.#watch.blobLandedMs(hash) ?? 0, this.#watch.blobCondemnedMs(hash) ?? 0);
    return nowMs - movedMs < 3 * this.#options.refreshMs;
  }

  /** Notes that a write begins. */
  begin(machine: Machine, key: string, isRemoval: boolean, nowMs: number): Write {
    const { disk, starts } = machine;
    const write: Write = {
      ...{ id: this.writes.length, key, isRemoval, machine, disk, start: starts, beganMs: nowMs },
      endedMs: undefined,
      isAcknowledged: false,
    };
    this.writes.push(write);
    return write;
  }

  /** What is wrong with a value that was read, if anything is. @param id of the write; undefined: there was no value. */
  checkRead(
    reader: Reader,
    key: string,
    id: number | undefined,
    { beganMs, newsMs }: { readonly beganMs: number; readonly newsMs: number | undefined },
  ): string | undefined {
    if (id === undefined) return undefined;
    const read = this.writes[id];
    if (read === undefined || read.key !== key || read.isRemoval) return `${key} has a value that nobody wrote`;
    const newer = this.writes.find(
      (write) =>
        write.key === key &&
        write.isAcknowledged &&
        this.#isNewer(write, read) &&
        this.#sees(reader, write, beganMs, newsMs),
    );
    if (newer === undefined) return undefined;
    const what = newer.isRemoval ? 'removal' : 'value';
    return `${key} has value ${id} of ${read.machine.name}, but ${what} ${newer.id} of ${newer.machine.name} is newer`;
  }

  /** Whether a reader that sees everything must find some value. */
  mustHave(key: string, nowMs: number): boolean {
    const all = this.writes.filter((write) => write.key === key);
    const last = all.findLast(({ isAcknowledged, isRemoval }) => isAcknowledged && !isRemoval);
    if (last?.endedMs === undefined || !this.#isSafe(last) || !this.#isRetained(last.endedMs, nowMs)) return false;
    return all.every((write) => !write.isRemoval || this.#isNewer(last, write));
  }

  #isRetained(usedMs: number, nowMs: number): boolean {
    const { retentionMs, slackMs } = this.#options;
    return retentionMs === 0 || nowMs - usedMs < retentionMs - slackMs;
  }

  /** Whether nothing but the loss of the bucket loses it. */
  #isSafe({ machine, disk }: Write): boolean {
    return this.#options.durability === 's3' || (machine.disk === disk && !machine.isGone);
  }

  /** Whether `newer` must win: who wrote it knew the other. */
  #isNewer(newer: Write, older: Write): boolean {
    if (newer.machine === older.machine && newer.disk === older.disk) {
      return older.start < newer.start || (older.endedMs !== undefined && older.endedMs <= newer.beganMs);
    }
    return older.isAcknowledged && this.#sees(newer.machine, older, newer.beganMs, this.#knownMs.get(newer.id));
  }

  /** Whether a reader must know of a write. @param knownMs until when it knew the others at `atMs`; what a writer knew is kept with its write. */
  #sees(reader: Reader, write: Write, atMs: number, knownMs: number | undefined): boolean {
    const { endedMs, machine, disk } = write;
    if (endedMs === undefined || endedMs > atMs || !this.#isSafe(write)) return false;
    if (reader === 'bucket') return this.#options.durability === 's3';
    if (reader === machine && reader.disk === disk) return true;
    if (this.#options.durability === 'local') return false;
    const publishedMs = this.#watch.publishedAfter(machine.writers[disk] ?? '', endedMs);
    return publishedMs !== undefined && knownMs !== undefined && publishedMs <= knownMs;
  }

  readonly #knownMs = new Map<number, number>();

  /** Notes until when a writer knew the others as it wrote. */
  knew(write: Write, newsMs: number | undefined): void {
    if (newsMs !== undefined) this.#knownMs.set(write.id, newsMs);
  }
}
