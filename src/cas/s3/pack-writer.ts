import { ReapiError } from '../../errors.ts';
import { unlessAborted } from '../../system/abortable.ts';
import type { Clock, Timer } from '../../system/clock.ts';
import type { Log } from '../../system/log.ts';
import type { Random } from '../../system/random.ts';
import type { ContainerNumbers } from './container-numbers.ts';
import type { Container, Containers } from './containers.ts';
import { type ContainerId, containerKey } from './object-names.ts';
import type { ObjectStore } from './object-store.ts';
import { PackBuilder, type PackedPlace } from './pack-builder.ts';
import { MAX_PACK_RECORDS } from './pack-format.ts';
import { untilDone } from './until-done.ts';

/** Packs that are being stored at the same time; what arrives meanwhile gathers in the next one. */
const MAX_PACKS_IN_FLIGHT = 3;

/** After a quiet time small packs may go out as fast as they come, until what this time would have allowed is used up. */
const BURST_SECONDS = 30;

/** In a burst, small packs keep that distance. */
const MIN_SMALL_DISTANCE_MS = 25;

/** A pack below this part of the full size is small: each counts against the rate of small packs. */
const SMALL_SHARE = 1 / 4;

/** Bytes of a record in the footer beside what it holds; exact enough to decide when a pack is full. */
const RECORD_OVERHEAD_BYTES = 64;

/** Something that becomes part of a pack. */
export interface PackInput {
  /** Bytes it takes, roughly. */
  readonly bytes: number;
  /** How long it may wait for company. */
  readonly patienceMs: number;
  /** Adds itself. Must not throw. */
  readonly build: (builder: PackBuilder) => PackedPlace | undefined;
  /** The pack is in the bucket. Called in the order of the pack, before `add` resolves; must not throw. */
  readonly stored: (container: Container, place: PackedPlace | undefined) => void;
}

/** What a pack writer stands on. */
export interface PackWriterParts {
  readonly objects: ObjectStore;
  readonly containers: Containers;
  readonly numbers: ContainerNumbers;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Resolves when it is known which numbers were used before; nothing is stored until then. */
  readonly connected: Promise<void>;
}

/** How packs are cut. */
export interface PackWriterOptions {
  /** A pack of that many bytes is full. */
  readonly packBytes: number;
  /** Packs that are not full: at most so many a second in the long run, so that a trickle does not become a stream of requests. */
  readonly maxSmallPacksPerSecond: number;
}

interface Gathering {
  readonly inputs: PackInput[];
  bytes: number;
  /** Monotonic milliseconds at which it goes even if it is small. */
  dueMs: number;
  readonly stored: PromiseWithResolvers<void>;
}

/**
 * Group commit into the bucket. Whatever arrives while packs are being stored forms the next one, so under load packs are large by
 * themselves; a lone record goes out after its patience. Small packs take a token of a bucket that fills slowly: bursts are quick, a
 * trickle is gathered.
 *
 * A pack that cannot be stored is tried again, as the same object with the same bytes, until it works or the writer is closed. How much may
 * wait is bounded by who calls (`Backlog`).
 */
export class PackWriter {
  readonly #parts: PackWriterParts;
  readonly #options: PackWriterOptions;
  readonly #closing = new AbortController();
  readonly #full: Gathering[] = [];
  readonly #running = new Map<Gathering, Promise<void>>();
  #open: Gathering | undefined;
  #timer: Timer | undefined;
  #tokens: number;
  #tokensMs: number;
  #lastSmallMs = Number.NEGATIVE_INFINITY;
  #flushes = 0;
  #packs = 0;

  constructor(parts: PackWriterParts, options: PackWriterOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#tokens = this.#maxTokens;
    this.#tokensMs = parts.clock.monotonicMs();
  }

  /** Packs that were stored. */
  get packs(): number {
    return this.#packs;
  }

  /** Resolves when it is in the bucket. @throws unavailable once the writer is closed. */
  add(input: PackInput): Promise<void> {
    if (this.#closing.signal.aborted) return Promise.reject(closed());
    const gathering = this.#gatheringFor(input);
    gathering.inputs.push(input);
    gathering.bytes += input.bytes + RECORD_OVERHEAD_BYTES;
    gathering.dueMs = Math.min(gathering.dueMs, this.#parts.clock.monotonicMs() + input.patienceMs);
    this.#schedule();
    return gathering.stored.promise;
  }

  /** Stores what was added so far without waiting for company. @throws unavailable if the writer is closed meanwhile. */
  async flush(): Promise<void> {
    this.#flushes++;
    try {
      const waiting = [...this.#running.keys(), ...this.#full, ...(this.#open === undefined ? [] : [this.#open])];
      this.#schedule();
      await Promise.all(waiting.map(({ stored }) => stored.promise));
    } finally {
      this.#flushes--;
    }
  }

  /** Gives up what is not stored: its `add` fails. */
  async close(): Promise<void> {
    this.#closing.abort(closed());
    this.#timer?.cancel();
    for (const gathering of [...this.#full, ...(this.#open === undefined ? [] : [this.#open])]) {
      gathering.stored.reject(closed());
    }
    this.#full.length = 0;
    this.#open = undefined;
    await Promise.all(this.#running.values());
  }

  #gatheringFor(input: PackInput): Gathering {
    const open = this.#open;
    const { packBytes } = this.#options;
    if (open !== undefined) {
      const isFull = open.inputs.length >= MAX_PACK_RECORDS || open.bytes + input.bytes > packBytes;
      if (!isFull) return open;
      this.#full.push(open);
    }
    const stored = Promise.withResolvers<void>();
    const gathering: Gathering = { inputs: [], bytes: 0, dueMs: Number.POSITIVE_INFINITY, stored };
    // Whoever added knows of a failure; there may be nobody left.
    stored.promise.catch(() => undefined);
    this.#open = gathering;
    return gathering;
  }

  /** Starts what may start now, and sets the timer for the rest. */
  #schedule(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    while (this.#running.size < MAX_PACKS_IN_FLIGHT) {
      const full = this.#full.shift();
      if (full === undefined) break;
      this.#start(full);
    }
    const open = this.#open;
    if (open === undefined || this.#running.size >= MAX_PACKS_IN_FLIGHT) return;
    const now = this.#parts.clock.monotonicMs();
    const startMs = this.#flushes > 0 ? now : Math.max(open.dueMs, this.#nextTokenMs(open, now));
    if (startMs > now) {
      this.#timer = this.#parts.clock.wakeAt(startMs, () => this.#schedule());
      return;
    }
    if (this.#isSmall(open)) {
      this.#tokens--;
      this.#lastSmallMs = now;
    }
    this.#open = undefined;
    this.#start(open);
  }

  get #maxTokens(): number {
    return Math.max(1, BURST_SECONDS * this.#options.maxSmallPacksPerSecond);
  }

  #isSmall({ bytes }: Gathering): boolean {
    return bytes < this.#options.packBytes * SMALL_SHARE;
  }

  /** When a small pack may go. */
  #nextTokenMs(open: Gathering, now: number): number {
    const { maxSmallPacksPerSecond } = this.#options;
    const gained = ((now - this.#tokensMs) / 1000) * maxSmallPacksPerSecond;
    this.#tokens = Math.min(this.#maxTokens, this.#tokens + gained);
    this.#tokensMs = now;
    if (!this.#isSmall(open)) return now;
    if (this.#tokens >= 1) return this.#lastSmallMs + MIN_SMALL_DISTANCE_MS;
    return now + Math.ceil(((1 - this.#tokens) / maxSmallPacksPerSecond) * 1000);
  }

  #start(gathering: Gathering): void {
    const run = this.#store(gathering).finally(() => {
      this.#running.delete(gathering);
      if (!this.#closing.signal.aborted) this.#schedule();
    });
    this.#running.set(gathering, run);
  }

  async #store({ inputs, stored }: Gathering): Promise<void> {
    const { containers, numbers, clock, connected } = this.#parts;
    try {
      await unlessAborted(connected, this.#closing.signal);
    } catch {
      stored.reject(closed());
      return;
    }
    const id = numbers.take();
    const createdSeconds = Math.max(0, Math.floor(clock.nowMs() / 1000));
    const builder = new PackBuilder(id, createdSeconds);
    const places = inputs.map((input) => input.build(builder));
    const { sizeBytes } = builder;
    try {
      await this.#putPack(id, builder);
    } catch {
      // Nothing else ends the trying.
      numbers.settle(id);
      stored.reject(closed());
      return;
    }
    const container = containers.add({ id }, sizeBytes, createdSeconds);
    for (const [index, input] of inputs.entries()) input.stored(container, places[index]);
    numbers.settle(id);
    this.#packs++;
    stored.resolve();
  }

  async #putPack(id: ContainerId, builder: PackBuilder): Promise<void> {
    const { objects, clock, random, log } = this.#parts;
    const { signal } = this.#closing;
    const key = containerKey({ id });
    const chunks = builder.finish();
    const failed = (error: unknown): void => {
      log.warn({ err: error, key }, 'a pack could not be stored in the bucket; it is tried again');
    };
    await untilDone(() => objects.put(key, chunks, signal), { clock, random, failed }, signal);
  }
}

function closed(): ReapiError {
  return new ReapiError('unavailable', 'the S3 tier is closed', { retryAfterMs: 1000 });
}
