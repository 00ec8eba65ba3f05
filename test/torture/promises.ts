import { hash } from 'node:crypto';
import type { Eviction } from '../../src/cas/segment/store-report.ts';
import { digestNumbered, entryKey, TORTURED } from './torture-load.ts';

/** A change of an entry that was begun, as seen from outside. */
interface Change {
  readonly version: number;
  readonly isDeletion: boolean;
  /** Moments are numbers of lines that were heard. */
  readonly begunAt: number;
  acknowledgedAt: number;
}

/** An entry as far as it is known from outside. */
interface KnownEntry {
  changes: Change[];
  evictedAt: number;
}

/** What may be unheard of a victim's time: all that it had under way. */
const UNHEARD_MS = 10_000;

/**
 * What a store owes to those who used it: what its victims said they were promised, up to the moment they died. The laws:
 * a blob is there unless the store said that it evicted it, which it may not do within the retention time; an entry has a value that no
 * acknowledged change replaced, or the store said that it evicted it.
 */
export class Promises {
  readonly violations: string[] = [];
  /** When the presence of a blob was last promised, by number: of those that must be there. */
  readonly #blobs = new Map<number, number>();
  readonly #numbers = new Map<string, number>();
  readonly #entries = new Map<number, KnownEntry>();
  readonly #keys = new Map<string, number>();
  #heard = 0;
  #hasExcusedOne = false;
  #nowMs: number;
  /** Largest number of a blob, or version, that was heard of. */
  largestNumber = 0;

  constructor(startMs: number) {
    this.#nowMs = startMs;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Numbers of the blobs that must be there. */
  get blobs(): readonly number[] {
    return [...this.#blobs.keys()];
  }

  /** Hears one line of a victim. @returns whether it is an acknowledgement. */
  hear(line: string): boolean {
    const [time, what, ...words] = line.split(' ');
    this.#heard++;
    this.#nowMs = Math.max(this.#nowMs, Number(time));
    if (what === 'bad') this.violations.push(words.join(' '));
    if (what === 'gone') this.evicted({ what: words[0] === 'blob' ? 'blob' : 'entry', hash: words[1] ?? '' });
    const [first = 0, second = 0, third = 0] = words.map(Number);
    if (what === 'put' || what === 'here') for (const word of words) this.#promise(Number(word));
    if (what === 'try' || what === 'trydelete') this.#begin(first, second, what === 'trydelete');
    if (what === 'set' || what === 'deleted') this.#acknowledge(first, second);
    if (what === 'got') this.#compare(first, second, third);
    return what === 'put' || what === 'set' || what === 'deleted';
  }

  /** A store said that it evicted something. */
  evicted({ what, hash: gone }: Pick<Eviction, 'what' | 'hash'>): void {
    if (what === 'blob') this.#blobGone(gone);
    const entry = this.#entries.get(this.#keys.get(gone) ?? -1);
    if (what === 'entry' && entry !== undefined) entry.evictedAt = this.#heard;
  }

  /** A blob is not there, though nobody said that it was evicted: so a victim may have died between doing and saying, once. */
  missing(number: number): void {
    const promisedMs = this.#blobs.get(number);
    if (promisedMs === undefined) return;
    this.#blobs.delete(number);
    const ageMs = this.#nowMs - promisedMs;
    const isExcused = ageMs + UNHEARD_MS >= TORTURED.minRetentionMs && !this.#hasExcusedOne;
    this.#hasExcusedOne = true;
    if (isExcused) return;
    this.violations.push(`blob ${number} of ${digestNumbered(number).sizeBytes} bytes, ${ageMs} ms old, is missing`);
  }

  /** A victim begins. */
  beginRound(): void {
    this.#hasExcusedOne = false;
  }

  /** A verifier let that much time pass. */
  passed(ms: number): void {
    this.#nowMs += ms;
  }

  /** Keys of entries that something is known of. */
  get entries(): readonly number[] {
    return [...this.#entries.keys()];
  }

  /** An entry was read back. From now on it has that value. @param version undefined: there is none. */
  found(key: number, version: number | undefined): void {
    const entry = this.#entryOf(key);
    const possible = entry.changes.filter((change) => !isReplaced(change, entry.changes));
    const isPossible =
      version === undefined
        ? possible.length === 0 || possible.some((change) => change.isDeletion || change.begunAt <= entry.evictedAt)
        : possible.some((change) => !change.isDeletion && change.version === version);
    if (!isPossible && !(version === undefined && entry.changes.every(({ acknowledgedAt }) => acknowledgedAt === 0))) {
      const wanted = possible.map((change) => `${change.version}${change.isDeletion ? ' (deleted)' : ''}`).join(' or ');
      this.violations.push(`entry ${key} has version ${version}, not ${wanted}`);
    }
    const now = ++this.#heard;
    const known = { version: version ?? -1, isDeletion: version === undefined, begunAt: now, acknowledgedAt: now };
    entry.changes = [known];
  }

  #promise(number: number): void {
    this.largestNumber = Math.max(this.largestNumber, number);
    this.#blobs.set(number, this.#nowMs);
    this.#numbers.set(digestNumbered(number).hash, number);
  }

  #blobGone(gone: string): void {
    const number = this.#numbers.get(gone);
    const promisedMs = number === undefined ? undefined : this.#blobs.get(number);
    if (number === undefined || promisedMs === undefined) return;
    this.#blobs.delete(number);
    const ageMs = this.#nowMs - promisedMs;
    if (ageMs + UNHEARD_MS < TORTURED.minRetentionMs) {
      this.violations.push(`blob ${number} was evicted ${ageMs} ms after it was promised`);
    }
  }

  #entryOf(key: number): KnownEntry {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = { changes: [], evictedAt: 0 };
      this.#entries.set(key, entry);
      this.#keys.set(hash('sha256', entryKey(key)), key);
    }
    return entry;
  }

  #begin(key: number, version: number, isDeletion: boolean): void {
    this.largestNumber = Math.max(this.largestNumber, version);
    this.#entryOf(key).changes.push({ version, isDeletion, begunAt: this.#heard, acknowledgedAt: 0 });
  }

  #acknowledge(key: number, version: number): void {
    const entry = this.#entryOf(key);
    const change = entry.changes.find((each) => each.version === version);
    if (change !== undefined) change.acknowledgedAt = this.#heard;
    entry.changes = entry.changes.filter((each) => !isReplaced(each, entry.changes));
  }

  /** A value that was read after the change to `version` had been acknowledged. */
  #compare(key: number, version: number, read: number): void {
    const { changes } = this.#entryOf(key);
    const after = changes.find((each) => each.version === version);
    if (after !== undefined && read < version && !changes.some((each) => each.version === read)) {
      this.violations.push(`entry ${key} was read with version ${read} after ${version}`);
    }
  }
}

/** Whether another change that is acknowledged began only after this one was. */
function isReplaced(change: Change, changes: readonly Change[]): boolean {
  if (change.acknowledgedAt === 0) return false;
  return changes.some(({ begunAt, acknowledgedAt }) => acknowledgedAt > 0 && begunAt > change.acknowledgedAt);
}
