import { setImmediate as nextTurn } from 'node:timers/promises';
import { throwIfAborted } from '../../errors.ts';
import type { Clock } from '../../system/clock.ts';
import type { Log } from '../../system/log.ts';
import { ENTRY_KIND } from '../segment/log/format.ts';
import { RowKey } from '../segment/record-index/row-key.ts';
import type { BucketIndex, IndexedRow } from './bucket-index.ts';
import type { BucketTime } from './bucket-time.ts';
import type { Container } from './containers.ts';
import type { CopyForward } from './copy-forward.ts';
import { encodeEntryBody } from './entry-body.ts';
import { containerText } from './object-names.ts';
import type { Condemnation } from './pack-format.ts';
import { REMOVAL_RECORD_KIND } from './pack-record.ts';
import type { PackWriter } from './pack-writer.ts';
import type { Promises } from './promises.ts';

/** How long condemnations and removals may wait for company: nobody waits for them. */
const PATIENCE_MS = 1000;

/**
 * Condemnations that are remembered of containers that are not known (yet). A pack names one that a server wrote just before it died,
 * and which only a comparison with the bucket finds; most of those that are not known are deleted long since.
 */
const MAX_AHEAD = 65_536;

/** Clocks of servers are that far apart at most, and what one copies forward it has heard of the others not longer ago. */
const MAX_SKEW_SECONDS = 3600;

/** The body of a removal that takes the place of an entry whose key nobody keeps; it is never looked at. */
const NO_KEY_BODY = encodeEntryBody('', new Uint8Array(), 0);

/** Rows that are listed at the same time, of all containers that are emptied. */
const MAX_ROWS_AT_ONCE = 65_536;

/** What condemning stands on. */
export interface CondemnationsParts {
  readonly index: BucketIndex;
  readonly packs: PackWriter;
  readonly copies: CopyForward;
  readonly promises: Promises;
  readonly time: BucketTime;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of what is forgotten because it was not used: kind, hash as in the index, seconds since its last use. */
  readonly onForgotten: (row: IndexedRow, ageSeconds: number) => void;
}

/**
 * Containers that are to go. A condemnation is a record in a pack. Every server that reads it copies forward what it promised, or saw used
 * since the time the condemnation names, and forgets the rest; the object stays for two refreshes and a lease
 * (`Collector`), so that nothing is gone that anybody was promised.
 */
export class Condemnations {
  readonly #parts: CondemnationsParts;
  /** By text of the id; those that were read first go first. */
  readonly #ahead = new Map<string, Condemnation>();

  constructor(parts: CondemnationsParts) {
    this.#parts = parts;
  }

  /** Condemnations that were read. Those of containers that are not known are remembered for `learnAhead`. */
  learn(condemnations: readonly Condemnation[]): void {
    const { index, clock } = this.#parts;
    const learnedMs = clock.monotonicMs();
    for (const condemnation of condemnations) {
      const { id, keepSinceSeconds } = condemnation;
      const container = index.containers.find(id);
      if (container === undefined) this.#ahead.set(containerText(id), condemnation);
      if (container === undefined || container.condemned !== undefined) continue;
      // Whoever wrote it may have died before anybody else could know of it.
      container.condemned = { keepSinceSeconds, learnedMs, isAnnounced: false, publishedMs: undefined };
    }
    for (const text of this.#ahead.keys()) {
      if (this.#ahead.size <= MAX_AHEAD) break;
      this.#ahead.delete(text);
    }
  }

  /** Containers became known: those among them that had been condemned before. */
  learnAhead(): void {
    const { containers } = this.#parts.index;
    const known = [...this.#ahead].filter(([, { id }]) => containers.find(id) !== undefined);
    for (const [text] of known) this.#ahead.delete(text);
    this.learn(known.map(([, condemnation]) => condemnation));
  }

  /** Copies forward what is needed of condemned containers and forgets the rest. @throws cancelled; unavailable. */
  async empty(containers: readonly Container[], signal: AbortSignal): Promise<void> {
    const oldestSeconds = this.#oldestSeconds();
    // Many at once: each copying by itself would end in a small pack of its own.
    let needed: IndexedRow[] = [];
    for (const container of containers) {
      throwIfAborted(signal);
      needed.push(...this.#sort(container, container.condemned?.keepSinceSeconds ?? 0, oldestSeconds));
      if (needed.length >= MAX_ROWS_AT_ONCE) {
        await this.#parts.copies.copy(needed, signal);
        needed = [];
      } else await nextTurn();
    }
    await this.#parts.copies.copy(needed, signal);
  }

  /**
   * Condemns containers of this server, or of one that is dead: first what is needed of them is copied forward, so that the bucket alone
   * holds all of it at any time. Condemnations that are still in force are repeated, as the packs they stand in may be among
   * the condemned.
   * @throws cancelled; unavailable.
   */
  async condemn(containers: readonly Container[], keepSinceSeconds: number, signal: AbortSignal): Promise<void> {
    const { copies, index, packs } = this.#parts;
    const oldestSeconds = this.#oldestSeconds();
    const isNeeded = (row: IndexedRow): boolean => this.#isNeeded(row, keepSinceSeconds, oldestSeconds);
    await copies.copy(
      containers.flatMap((container) => index.rowsOf(container).filter(isNeeded)),
      signal,
    );
    const inForce = [...index.containers].filter(({ condemned }) => condemned !== undefined);
    const condemned = containers.map((container) =>
      this.#write({ id: container.id, keepSinceSeconds }, () => this.#condemned(container, keepSinceSeconds)),
    );
    await Promise.all([this.announce(inForce), ...condemned, packs.flush()]);
    // What was promised between the copying and the condemnation.
    await this.empty(containers, signal);
  }

  /** Writes condemnations that are in force into a pack of this process. @throws unavailable once the tier is closed. */
  async announce(containers: readonly Container[]): Promise<void> {
    const written = containers.flatMap(({ id, condemned }) => {
      if (condemned === undefined) return [];
      return this.#write({ id, keepSinceSeconds: condemned.keepSinceSeconds }, () => {
        condemned.isAnnounced = true;
      });
    });
    await Promise.all([...written, this.#parts.packs.flush()]);
  }

  /**
   * To be called before the state of this server is published; what it returns, after that worked. What had been condemned before
   * is known to all who read the state: from then on time counts.
   * @param state as others will name it, `<nonce>-<beat>`.
   */
  publishing(state: string): () => void {
    const { index, clock } = this.#parts;
    const unpublished = [...index.containers].filter((container) => isUnpublished(container));
    return () => {
      for (const { condemned } of unpublished) {
        if (condemned === undefined) continue;
        condemned.publishedMs = clock.monotonicMs();
        condemned.publishedState = state;
      }
    };
  }

  /** Condemned containers that hold something yet: it is copied, or to be forgotten. */
  get unfinished(): readonly Container[] {
    return [...this.#parts.index.containers].filter(
      ({ condemned, liveRows }) => condemned !== undefined && liveRows > 0,
    );
  }

  #condemned(container: Container, keepSinceSeconds: number): void {
    container.condemned ??= {
      keepSinceSeconds,
      learnedMs: this.#parts.clock.monotonicMs(),
      isAnnounced: true,
      publishedMs: undefined,
    };
  }

  #write(condemnation: Condemnation, stored: () => void = () => undefined): Promise<void> {
    return this.#parts.packs.add({
      bytes: 0,
      patienceMs: PATIENCE_MS,
      build: (builder) => {
        builder.condemn(condemnation);
        return undefined;
      },
      stored,
    });
  }

  /** The rows that are needed; the others are forgotten. */
  #sort(container: Container, keepSinceSeconds: number, oldestSeconds: number): readonly IndexedRow[] {
    const { index, time, onForgotten } = this.#parts;
    const needed: IndexedRow[] = [];
    for (const row of index.rowsOf(container)) {
      if (this.#isNeeded(row, keepSinceSeconds, oldestSeconds)) {
        needed.push(row);
        continue;
      }
      index.drop(row);
      if (row.entry?.isRemoval !== true) onForgotten(row, time.now() - row.touched);
      if (oldestSeconds <= row.touched) this.#hideOlder(row);
    }
    return needed;
  }

  #isNeeded({ touched, entry }: IndexedRow, keepSinceSeconds: number, oldestSeconds: number): boolean {
    if (entry?.isRemoval === true) return oldestSeconds <= touched;
    return touched >= keepSinceSeconds || this.#parts.promises.isLeased(touched);
  }

  /** A value that is forgotten must not uncover an older one, should the index be rebuilt from the bucket. */
  #hideOlder({ hash, entry, touched }: IndexedRow): void {
    const { packs, index, log } = this.#parts;
    if (entry === undefined || entry.isRemoval || !entry.hasPredecessor) return;
    const removal = { version: entry.version, isRemoval: true, hasPredecessor: true };
    const added = packs.add({
      bytes: NO_KEY_BODY.length,
      patienceMs: PATIENCE_MS,
      build: (builder) => builder.addEntryBody(REMOVAL_RECORD_KIND, hash, NO_KEY_BODY, entry.version),
      stored: (container, place) => {
        if (place === undefined) return;
        index.putEntry(new RowKey().setHex(ENTRY_KIND, hash), { container, ...place }, removal, touched);
      },
    });
    added.catch((error: unknown) => log.warn({ err: error, hash }, 'the removal of an entry could not be written'));
  }

  /** When the oldest pack was written that is there, also if it is condemned: it may hold values of that time. */
  #oldestSeconds(): number {
    let oldest = Number.POSITIVE_INFINITY;
    for (const { createdSeconds, digest } of this.#parts.index.containers) {
      if (digest === undefined) oldest = Math.min(oldest, createdSeconds);
    }
    return oldest - MAX_SKEW_SECONDS;
  }
}

function isUnpublished({ condemned }: Container): boolean {
  return condemned?.isAnnounced === true && condemned.publishedMs === undefined;
}
