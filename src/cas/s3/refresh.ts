import { isKind, ReapiError } from '../../errors.ts';
import type { Clock } from '../../system/clock.ts';
import type { Log } from '../../system/log.ts';
import type { BucketIndex } from './bucket-index.ts';
import type { BucketTime } from './bucket-time.ts';
import type { Condemnations } from './condemnations.ts';
import type { ContainerLoader, LoadOptions } from './container-loader.ts';
import type { ContainerNumbers } from './container-numbers.ts';
import {
  beforeContainer,
  containerText,
  PACKS_PREFIX,
  packsOf,
  parseContainerKey,
  parseWriterKey,
  WRITERS_PREFIX,
  writerKey,
} from './object-names.ts';
import type { ObjectInfo, ObjectStore } from './object-store.ts';
import type { Condemnation } from './pack-format.ts';
import type { Peer, Peers } from './peers.ts';
import type { Promises } from './promises.ts';
import { decodeWriterState, encodeWriterState, MAX_STATE_BYTES, stateName } from './writer-state.ts';

/** States of an earlier process of this server that may be seen: the last one, and one that arrives late. */
const MAX_FOREIGN_STATES = 2;

/** What refreshing stands on. */
export interface RefreshParts {
  readonly objects: ObjectStore;
  readonly index: BucketIndex;
  readonly loader: ContainerLoader;
  readonly condemnations: Condemnations;
  readonly peers: Peers;
  readonly promises: Promises;
  readonly numbers: ContainerNumbers;
  readonly time: BucketTime;
  readonly clock: Clock;
  readonly log: Log;
}

/** What this server tells the others of itself. */
export interface RefreshOptions {
  readonly refreshSeconds: number;
}

/** How far a comparison with the bucket is. */
export interface RecoveryProgress {
  /** Objects that were listed. */
  readonly listed: number;
  /** Of those that were not known, how many have been read, and how many there are. */
  readonly done: number;
  readonly total: number;
}

/**
 * What servers on one bucket learn of each other. Each publishes a small state, and reads those of the others; of a writer whose state changed, only
 * containers above what is known already are listed. One request a refresh if nothing happened elsewhere, beside the state.
 */
export class Refresh {
  readonly #parts: RefreshParts;
  readonly #options: RefreshOptions;
  /** By writer, the last state whose news this server has dealt with. */
  readonly #done = new Map<string, string>();
  #beat = 0;
  /** The last state under this server's name that is of another process, and how many different ones there were. */
  #foreignState = '';
  #foreignStates = 0;

  constructor(parts: RefreshParts, options: RefreshOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /**
   * Publishes and reads what is new; what others condemned is to be emptied then (`Condemnations.unfinished`).
   * @throws unavailable; precondition if a newer version shares the bucket; cancelled.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, promises } = this.#parts;
    const startedMs = clock.monotonicMs();
    const full = await this.#publishUnlessFull(signal);
    await this.#readStates(signal);
    // Also of those whose news could not be read the last time.
    for (const peer of this.#parts.peers) if (peer.hasNews) await this.#readNews(peer, signal);
    promises.refreshed(startedMs);
    if (full !== undefined) throw full;
  }

  /** A bucket without room does not keep this server from learning, and from deleting, which makes the room. */
  async #publishUnlessFull(signal: AbortSignal): Promise<unknown> {
    try {
      await this.publish(signal);
      return undefined;
    } catch (error) {
      if (!isKind(error, 'quota-exceeded')) throw error;
      return error;
    }
  }

  /**
   * Tells the others that this server is there, and what it relies on.
   * @throws unavailable; precondition if another server does so under the same name.
   */
  async publish(signal: AbortSignal): Promise<void> {
    const { objects, numbers, index, promises, condemnations, clock } = this.#parts;
    if (this.#beat > 0) await this.#throwIfTwins(signal);
    if (condemnations.unfinished.length === 0) this.#noteDone();
    // Of two states of this process the later has the greater, whatever happens to the clock.
    const beat = Math.max(this.#beat + 1, Math.floor(clock.nowMs()));
    this.#beat = beat;
    const published = condemnations.publishing(stateName({ nonce: numbers.nonce, beat }));
    const state = encodeWriterState({
      writer: numbers.writer,
      nonce: numbers.nonce,
      beat,
      done: Object.fromEntries(this.#done),
      floor: numbers.floor,
      sequence: index.maxSequence,
      refreshSeconds: this.#options.refreshSeconds,
      leaseSeconds: promises.leaseSeconds,
    });
    await objects.put(writerKey(numbers.writer), [state], signal);
    published();
  }

  /**
   * Compares the index with everything that is in the bucket: finds what was missed, and forgets what somebody deleted by hand or by a
   * lifecycle rule.
   * @param options isFollowing: this server has read all news since its last comparison. Then what is gone unexpectedly is looked for in all
   * other packs; after a time without news others may have deleted much in order, and looking everywhere would cost a request a pack.
   * @returns rows whose objects are gone unexpectedly. @throws as `run`.
   */
  async compare(
    signal: AbortSignal,
    options: { readonly isFollowing: boolean; readonly onProgress?: (progress: RecoveryProgress) => void },
  ): Promise<number> {
    const { objects, index, log } = this.#parts;
    const { isFollowing, onProgress } = options;
    const before = [...index.containers];
    const found: ObjectInfo[] = [];
    for await (const page of objects.list(PACKS_PREFIX, undefined, signal)) {
      found.push(...page);
      onProgress?.({ listed: found.length, done: 0, total: 0 });
    }
    const seen = new Set(found.map(({ key }) => key));
    let lostRows = 0;
    for (const container of before) {
      if (seen.has(container.key) || index.containers.find(container.id) !== container) continue;
      const rows = index.forget(container);
      if (container.condemned !== undefined || rows === 0) continue;
      lostRows += rows;
      if (isFollowing)
        log.error({ key: container.key, rows }, 'an object is gone from the bucket that nobody condemned');
    }
    if (lostRows > 0 && !isFollowing) log.info({ lostRows }, 'others deleted objects while this server was away');
    const again = isFollowing && lostRows > 0;
    const wanted = found.filter(({ key }) => again || this.#isUnknown(key));
    const progress = (done: number): void => onProgress?.({ listed: found.length, done, total: wanted.length });
    // Footers name what was deleted long since, too; that is not worth remembering.
    const listed = new Set(found.flatMap(({ key }) => textOf(key)));
    await this.#learn(wanted, { signal, again, onProgress: progress }, (text) => listed.has(text));
    return lostRows;
  }

  /** The floor that an earlier start of this server published last; 0 if there was none. @throws unavailable. */
  async ownFloor(signal: AbortSignal): Promise<number> {
    const { objects, numbers } = this.#parts;
    try {
      const bytes = await objects.get(writerKey(numbers.writer), MAX_STATE_BYTES, signal);
      return bytes === undefined ? 0 : decodeWriterState(bytes).floor;
    } catch (error) {
      if (!isDamage(error)) throw error;
      return 0;
    }
  }

  /** Of whatever the others condemned and this server has read, nothing is left to copy. */
  #noteDone(): void {
    const { live } = this.#parts.peers;
    for (const writer of this.#done.keys()) if (!live.some((peer) => peer.writer === writer)) this.#done.delete(writer);
    for (const peer of live) {
      if (!peer.hasNews) this.#done.set(peer.writer, stateName(peer.state));
    }
  }

  #isUnknown(key: string): boolean {
    const name = parseContainerKey(key);
    return name !== undefined && this.#parts.index.containers.find(name.id) === undefined;
  }

  /**
   * A copied data folder makes two servers of one name, each of which takes the other's news for its own. A state that does not go on
   * changing was left by an earlier process, or sent by it before it ended.
   */
  async #throwIfTwins(signal: AbortSignal): Promise<void> {
    const { objects, numbers } = this.#parts;
    try {
      const bytes = await objects.get(writerKey(numbers.writer), MAX_STATE_BYTES, signal);
      if (bytes === undefined) return;
      const { nonce, beat } = decodeWriterState(bytes);
      const state = stateName({ nonce, beat });
      if (nonce === numbers.nonce || state === this.#foreignState) return;
      this.#foreignState = state;
      this.#foreignStates++;
      if (this.#foreignStates <= MAX_FOREIGN_STATES) return;
    } catch (error) {
      if (!isDamage(error)) throw error;
      return;
    }
    const message = `another server uses this bucket under the same name (${numbers.writer}): its data folder is a copy of this one's. Stop one of them and remove "s3/writer" and "s3/index" from its data folder`;
    throw new ReapiError('precondition', message);
  }

  async #readStates(signal: AbortSignal): Promise<void> {
    const { objects, numbers, peers } = this.#parts;
    const there = new Set<string>();
    for await (const page of objects.list(WRITERS_PREFIX, undefined, signal)) {
      for (const { key, etag } of page) {
        const writer = parseWriterKey(key);
        if (writer === undefined || writer === numbers.writer) continue;
        there.add(writer);
        if (peers.get(writer)?.etag !== etag) await this.#readState(key, etag, signal);
      }
    }
    for (const { writer } of [...peers]) if (!there.has(writer)) peers.gone(writer);
  }

  async #readState(key: string, etag: string, signal: AbortSignal): Promise<void> {
    const { objects, peers, log, index } = this.#parts;
    try {
      const bytes = await objects.get(key, MAX_STATE_BYTES, signal);
      if (bytes === undefined) return;
      const state = decodeWriterState(bytes);
      index.sawSequence(state.sequence);
      peers.saw(state, etag);
    } catch (error) {
      if (!isDamage(error)) throw error;
      log.error({ err: error, key }, 'the state of another server cannot be read');
    }
  }

  /** The floor was read before the listing: everything below it is in the listing or known. */
  async #readNews(peer: Peer, signal: AbortSignal): Promise<void> {
    const { objects } = this.#parts;
    const { floor } = peer.state;
    const infos: ObjectInfo[] = [];
    const after = beforeContainer(peer.writer, peer.knownFloor);
    for await (const page of objects.list(packsOf(peer.writer), after, signal)) infos.push(...page);
    await this.#learn(infos, { signal });
    peer.knownFloor = floor;
    peer.hasNews = false;
  }

  async #learn(
    infos: readonly ObjectInfo[],
    options: Pick<LoadOptions, 'signal' | 'again' | 'onProgress'>,
    mayExist: (text: string) => boolean = () => true,
  ): Promise<void> {
    const { loader, condemnations, time } = this.#parts;
    if (infos.length === 0) return;
    const onCondemned = (found: readonly Condemnation[]): void => {
      condemnations.learn(found.filter(({ id }) => mayExist(containerText(id))));
    };
    try {
      await loader.load(infos, { ...options, touched: time.now(), onCondemned });
    } finally {
      condemnations.learnAhead();
    }
  }
}

/** The container of a key, if it is one. */
function textOf(key: string): readonly string[] {
  const name = parseContainerKey(key);
  return name === undefined ? [] : [containerText(name.id)];
}

/** Somebody wrote there what no server writes; it is written anew at the next refresh of whose it is. */
function isDamage(error: unknown): boolean {
  return isKind(error, 'data-loss') || isKind(error, 'too-large');
}
