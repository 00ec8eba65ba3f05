import type { Clock } from '../../system/clock.ts';
import type { Log } from '../../system/log.ts';
import type { BucketIndex } from './bucket-index.ts';
import type { BucketTime } from './bucket-time.ts';
import type { Condemnations } from './condemnations.ts';
import type { Container } from './containers.ts';
import type { ObjectStore } from './object-store.ts';
import type { Peers } from './peers.ts';
import type { Promises } from './promises.ts';
import { chooseVictims, type VictimRules, type Victims } from './victims.ts';
import { isSinceState } from './writer-state.ts';

/** Choices of one call; the next one goes on. */
const MAX_ROUNDS = 100;

/** A living server that does not come to an end with copying is not waited for longer than that. */
export const MAX_COPYING_MS = 86_400_000;

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

  constructor(parts: CollectorParts, options: CollectorOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  get counts(): CollectorCounts {
    return { condemned: this.#condemned, deleted: this.#deleted };
  }

  /**
   * Condemns what has to go, until that is nothing: one choice is bounded, so that memory is. After a refresh that worked.
   * @throws unavailable; cancelled.
   */
  async condemn(signal: AbortSignal): Promise<void> {
    const { index, condemnations } = this.#parts;
    // What is to be deleted, all others must have been able to learn from this process.
    const unannounced = [...index.containers].filter((container) => {
      return container.condemned?.isAnnounced === false && this.#isOurs(container);
    });
    if (unannounced.length > 0) await condemnations.announce(unannounced);
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const victims = this.#choose();
      if (victims.length === 0) return;
      for (const { containers, keepSinceSeconds } of victims) {
        await condemnations.condemn(containers, keepSinceSeconds, signal);
        this.#condemned += containers.length;
      }
    }
  }

  #choose(): readonly Victims[] {
    const { index, time } = this.#parts;
    const isOurs = (container: Container): boolean => this.#isOurs(container);
    return chooseVictims([...index.containers], isOurs, time.now(), this.#options);
  }

  #isOurs({ id }: Container): boolean {
    const { writer } = this.#options;
    if (id.writer === writer) return true;
    const { peers } = this.#parts;
    return peers.isDead(id.writer) && peers.live.every((peer) => writer < peer.writer);
  }

  /**
   * Deletes what was condemned long enough ago. Apart from condemning, which may wait for a bucket that is full: this makes the room.
   * @throws unavailable; cancelled.
   */
  async deleteDue(signal: AbortSignal): Promise<void> {
    const { index, objects, log } = this.#parts;
    const graceMs = this.#graceMs();
    const due = [...index.containers].filter((container) => this.#isDue(container, graceMs));
    if (due.length === 0) return;
    const early = due.filter((container) => !this.#isDealtWith(container));
    if (early.length > 0) {
      const message = 'another server has not copied for a day what it may need of objects; they are deleted';
      log.warn({ objects: early.length, first: early[0]?.key }, message);
    }
    await objects.delete(
      due.map(({ key }) => key),
      signal,
    );
    for (const container of due) {
      index.forget(container);
      this.#deleted++;
    }
  }

  #isDue(container: Container, graceMs: number): boolean {
    const { clock } = this.#parts;
    const { condemned, liveRows } = container;
    // After S3 was away the time may be over before everything that is needed has been copied.
    if (condemned?.publishedMs === undefined || liveRows > 0 || !this.#isOurs(container)) return false;
    const sinceMs = clock.monotonicMs() - condemned.publishedMs;
    return sinceMs >= graceMs && (sinceMs >= graceMs + MAX_COPYING_MS || this.#isDealtWith(container));
  }

  /** Whether all living servers have said that they copied what they need. */
  #isDealtWith({ condemned }: Container): boolean {
    const { writer } = this.#options;
    const published = condemned?.publishedState ?? '';
    return this.#parts.peers.live.every(({ state }) => isSinceState(state.done[writer] ?? '', published));
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
