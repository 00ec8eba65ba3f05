import type { Clock } from '../../system/clock.ts';
import type { Log } from '../../system/log.ts';
import type { BucketIndex } from './bucket-index.ts';
import type { BucketTime } from './bucket-time.ts';
import type { Condemnations } from './condemnations.ts';
import type { Container } from './containers.ts';
import type { ObjectStore } from './object-store.ts';
import type { Peers } from './peers.ts';
import type { Promises } from './promises.ts';
import { chooseVictims, type VictimRules } from './victims.ts';

/** What a collector stands on. */
export interface CollectorParts {
  readonly objects: ObjectStore;
  readonly index: BucketIndex;
  readonly condemnations: Condemnations;
  readonly peers: Peers;
  readonly promises: Promises;
  readonly time: BucketTime;
  readonly clock: Clock;
  readonly log: Log;
}

/** What a collector goes by. */
export interface CollectorOptions extends VictimRules {
  /** This server. */
  readonly writer: string;
  /** How long this server relies on what it knows of others, in milliseconds. */
  readonly refreshMs: number;
}

/** What a collector has done since the start. */
export interface CollectorCounts {
  readonly condemned: number;
  readonly deleted: number;
  readonly deletedBytes: number;
}

/**
 * Decides what of the bucket goes, and deletes it when nobody relies on it any more. Each server looks after its own containers; those of
 * a server that is dead are looked after by the living one with the lowest name.
 */
export class Collector {
  readonly #parts: CollectorParts;
  readonly #options: CollectorOptions;
  #condemned = 0;
  #deleted = 0;
  #deletedBytes = 0;

  constructor(parts: CollectorParts, options: CollectorOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  get counts(): CollectorCounts {
    return { condemned: this.#condemned, deleted: this.#deleted, deletedBytes: this.#deletedBytes };
  }

  /** One round; after a refresh that worked. @throws unavailable; cancelled. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#deleteDue(signal);
    const { index, condemnations, time } = this.#parts;
    const victims = chooseVictims(
      [...index.containers],
      (container) => this.#isOurs(container),
      time.now(),
      this.#options,
    );
    for (const { containers, keepSinceSeconds } of victims) {
      await condemnations.condemn(containers, keepSinceSeconds, signal);
      this.#condemned += containers.length;
    }
  }

  #isOurs({ id }: Container): boolean {
    const { writer } = this.#options;
    if (id.writer === writer) return true;
    const { peers } = this.#parts;
    return peers.isDead(id.writer) && peers.live.every((peer) => writer < peer.writer);
  }

  async #deleteDue(signal: AbortSignal): Promise<void> {
    const { index, objects, clock, log } = this.#parts;
    const now = clock.monotonicMs();
    const graceMs = this.#graceMs();
    const due = [...index.containers].filter((container) => {
      const publishedMs = container.condemned?.publishedMs;
      // The others leave it to whoever looks after it, unless that one does not do it.
      return publishedMs !== undefined && now - publishedMs >= (this.#isOurs(container) ? graceMs : 2 * graceMs);
    });
    if (due.length === 0) return;
    await objects.delete(
      due.map(({ key }) => key),
      signal,
    );
    for (const container of due) {
      const rows = index.forget(container);
      this.#deleted++;
      this.#deletedBytes += container.sizeBytes;
      if (rows > 0)
        log.error({ key: container.key, rows }, 'a condemned object was deleted before all of it was copied');
    }
  }

  /** Two refreshes and a lease of whoever takes longest. */
  #graceMs(): number {
    const { peers, promises } = this.#parts;
    let refreshMs = this.#options.refreshMs;
    let leaseMs = promises.leaseSeconds * 1000;
    for (const { state } of peers.live) {
      refreshMs = Math.max(refreshMs, state.refreshSeconds * 1000);
      leaseMs = Math.max(leaseMs, state.leaseSeconds * 1000);
    }
    return 2 * refreshMs + leaseMs;
  }
}
