import { ReapiError, throwIfAborted } from '../../errors.ts';
import { type Clock, sleep, type Timer } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import { Semaphore } from '../../system/semaphore.ts';
import type { RequestCounts, S3Operation } from './request-counts.ts';
import { failureOf, type S3Failure, timeoutError } from './s3-errors.ts';
import type { S3Options } from './s3-options.ts';

/** What a request may use while it runs. */
export interface Attempt {
  /** Aborts with the caller's signal, or when the request takes too long. Named as in the options of the SDK's `send`. */
  readonly abortSignal: AbortSignal;
  /** To be called for every piece of the answer's body: counts it, and starts the idle time anew. */
  received(bytes: number): void;
}

/** A request that can be sent any number of times. */
export interface S3Request<T> {
  readonly operation: S3Operation;
  /** Bytes of the body, for counting and for how long sending may take. */
  readonly sentBytes?: number;
  /** Tries, the first included, if not those of the options. */
  readonly maxAttempts?: number;
  /** Sends it once and takes the whole answer. */
  readonly run: (attempt: Attempt) => Promise<T>;
}

/** What requests need of the process. */
export interface S3Surroundings {
  readonly clock: Clock;
  readonly random: Random;
  readonly counts: RequestCounts;
}

/** Waits between tries double up to the longest; a server that asks to slow down gets a longer first one. */
const FIRST_WAIT_MS = 100;
const FIRST_THROTTLED_WAIT_MS = 1_000;
const MAX_WAIT_MS = 20_000;

/** A body on its way out moves at least so fast, or the request is given up: 8 MiB may take 64 s on top of the usual time. */
const MIN_SENT_BYTES_PER_MS = 128;

/** For messages. */
const DOING: Readonly<Record<S3Operation, string>> = {
  put: 'storing an object',
  get: 'reading an object',
  list: 'listing objects',
  delete: 'deleting objects',
  copy: 'copying an object',
  'begin-upload': 'beginning an upload',
  'put-part': 'sending a part of an object',
  'copy-part': 'copying a part of an object',
  'complete-upload': 'completing an upload',
  'drop-upload': 'dropping an upload',
  'list-uploads': 'listing uploads',
};

type Outcome<T> = { readonly value: T } | { readonly failure: S3Failure };

/**
 * Sends requests: a bounded number at a time, each given up when nothing comes for too long, tried again with growing, random
 * waits when that may help, and counted. The SDK's own retries are off: they would multiply ours, could not be counted, know no injected
 * clock, and end where the body of an answer begins.
 */
export class S3Requests {
  readonly #options: S3Options;
  readonly #surroundings: S3Surroundings;
  readonly #places: Semaphore;

  constructor(options: S3Options, surroundings: S3Surroundings) {
    this.#options = options;
    this.#surroundings = surroundings;
    this.#places = new Semaphore(options.maxConcurrentRequests);
  }

  /** The answer to a request. @throws cancelled; what `failureOf` makes of a failure. */
  async send<T>(request: S3Request<T>, signal: AbortSignal): Promise<T> {
    const maxAttempts = request.maxAttempts ?? this.#options.maxAttempts;
    for (let tries = 1; ; tries++) {
      // No place is held while waiting for the next try: others may have more luck.
      const outcome = await this.#places.run(signal, () => this.#sendOnce(request, signal));
      if ('value' in outcome) return outcome.value;
      if (!outcome.failure.isTransient || tries >= maxAttempts) throw outcome.failure.error;
      await this.#pause(tries, outcome.failure, signal);
    }
  }

  async #sendOnce<T>(request: S3Request<T>, signal: AbortSignal): Promise<Outcome<T>> {
    const { clock, counts } = this.#surroundings;
    const { operation, sentBytes = 0 } = request;
    const startedMs = clock.monotonicMs();
    const patience = new Patience(clock, this.#options.requestTimeoutMs, signal);
    let receivedBytes = 0;
    const received = (bytes: number): void => {
      receivedBytes += bytes;
      patience.renew(0);
    };
    patience.renew(sentBytes / MIN_SENT_BYTES_PER_MS);
    let failure: S3Failure | undefined;
    try {
      return { value: await Promise.race([request.run({ abortSignal: patience.signal, received }), patience.ended]) };
    } catch (error) {
      throwIfAborted(signal);
      const cause = patience.signal.aborted ? patience.signal.reason : error;
      failure = failureOf(cause, { bucket: this.#options.bucket, doing: DOING[operation] });
      return { failure };
    } finally {
      patience.close();
      const seconds = (clock.monotonicMs() - startedMs) / 1000;
      const code = signal.aborted ? { error: 'cancelled' } : failure === undefined ? {} : { error: failure.code };
      counts.record(operation, { seconds, sentBytes, receivedBytes, ...code });
    }
  }

  async #pause(tries: number, failure: S3Failure, signal: AbortSignal): Promise<void> {
    const first = failure.isThrottling ? FIRST_THROTTLED_WAIT_MS : FIRST_WAIT_MS;
    const longest = Math.min(MAX_WAIT_MS, first * 2 ** (tries - 1));
    const { clock, random } = this.#surroundings;
    try {
      // Half fixed, half random: those that failed together do not come back together.
      await sleep(clock, longest * (0.5 + random.fraction() / 2), signal);
    } catch (error) {
      throw new ReapiError('cancelled', 'the call was cancelled', { cause: error });
    }
  }
}

/** Aborts its signal with that of the caller, or once nothing has happened for too long. */
class Patience {
  readonly #clock: Clock;
  readonly #idleMs: number;
  readonly #parent: AbortSignal;
  readonly #controller = new AbortController();
  readonly #onAbort: () => void;
  #endsAtMs = 0;
  #timer: Timer | undefined;
  /** Rejects when the signal aborts: whoever runs may hang where no signal reaches, in the credential chain for example. */
  readonly ended: Promise<never>;

  constructor(clock: Clock, idleMs: number, parent: AbortSignal) {
    this.#clock = clock;
    this.#idleMs = idleMs;
    this.#parent = parent;
    this.#onAbort = () => this.#controller.abort(parent.reason);
    parent.addEventListener('abort', this.#onAbort, { once: true });
    this.ended = new Promise((_, reject) => {
      this.signal.addEventListener('abort', () => reject(this.signal.reason), { once: true });
    });
    if (parent.aborted) this.#onAbort();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Starts the time anew, with some extra. The timer is armed again only when it fires: pieces come by the thousand. */
  renew(extraMs: number): void {
    this.#endsAtMs = this.#clock.monotonicMs() + this.#idleMs + extraMs;
    this.#timer ??= this.#clock.wakeAt(this.#endsAtMs, () => this.#wake());
  }

  close(): void {
    this.#timer?.cancel();
    this.#parent.removeEventListener('abort', this.#onAbort);
  }

  #wake(): void {
    if (this.#clock.monotonicMs() >= this.#endsAtMs) this.#controller.abort(timeoutError(this.#idleMs));
    else this.#timer = this.#clock.wakeAt(this.#endsAtMs, () => this.#wake());
  }
}
