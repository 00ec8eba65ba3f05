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
    const { index, condemnations, time } = this.#parts;
    await this.#deleteDue(signal);
    // What is to be deleted, all others must have been able to learn from this process.
    const unannounced = [...index.containers].filter((container) => {
      return container.condemned?.isAnnounced === false && this.#isOurs(container);
    });
    if (unannounced.length > 0) await condemnations.announce(unannounced);
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
    const { index, objects, clock } = this.#parts;
    const now = clock.monotonicMs();
    const graceMs = this.#graceMs();
    const due = [...index.containers].filter((container) => {
      // After S3 was away the time may be over before everything that is needed has been copied.
      if (container.liveRows > 0) return false;
      const publishedMs = container.condemned?.publishedMs;
      return publishedMs !== undefined && now - publishedMs >= graceMs && this.#isOurs(container);
    });
    if (due.length === 0) return;
    await objects.delete(
      due.map(({ key }) => key),
      signal,
    );
    for (const container of due) {
      index.forget(container);
      this.#deleted++;
      this.#deletedBytes += container.sizeBytes;
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
