import type { ActionKey } from '../digest/action-key.ts';
import { invariant, ReapiError } from '../errors.ts';
import type { RequestMetadata } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Clock } from '../system/clock.ts';
import type { Random } from '../system/random.ts';
import { type Placed, UseOrder } from '../system/use-order.ts';
import type { Attempt } from './operations/attempts.ts';
import type { OperationArchive } from './operations/operation-archive.ts';
import { RequestIdReader, type RequestIds } from './operations/request-ids.ts';

/** Where an operation is on its way (REAPI, ExecutionStage). It may go back from executing to queued. */
export type Stage = 'cache-check' | 'queued' | 'executing' | 'completed';

/** What a client may know of its operation at one moment. Immutable; a change makes a new one. Times are wall time. */
export interface OperationState {
  readonly name: string;
  readonly key: ActionKey;
  readonly stage: Stage;
  /** Why it waits, for people; empty if there is nothing to say. */
  readonly message: string;
  readonly createdAtMs: number;
  /** Rises with every operation that is created, over restarts too unless the clock is set back: what lists are ordered by. */
  readonly order: number;
  /** As this caller asked (R-EX-24). */
  readonly priority: number;
  /** What the build tool said it belongs to. */
  readonly ids: RequestIds;
  /** Of the newest attempt; unset before the first. */
  readonly slot?: string;
  /** When the newest attempt began; unset before the first. */
  readonly startedAtMs?: number;
  /** Set exactly when the stage is `completed`. */
  readonly finishedAtMs?: number;
  /** Known once the stage is `completed`; until then the scheduler knows them. */
  readonly attempts: readonly Attempt[];
  /** The encoded ExecuteResponse, set exactly when the stage is `completed`: kept by the hundred thousand, hence in its smallest form. */
  readonly response?: Uint8Array;
}

/** What is known of an operation when it is created. */
export interface OperationFacts {
  readonly priority?: number;
  readonly requestMetadata?: RequestMetadata | undefined;
}

/** Told when the first stream begins, and when the last one ends, to watch an unfinished operation. */
export interface WaiterObserver {
  attached(name: string): void;
  detached(name: string): void;
}

/** Limits of the table. */
export interface OperationsOptions {
  /** Unfinished operations; above it new ones are refused with `queue-full`. */
  readonly maxLive: number;
  /** Finished operations that stay readable; the oldest are forgotten first (R-EX-09). */
  readonly maxFinished: number;
  /** What their responses may take together in memory; the oldest of more are in the archive only. Default 256 MiB. */
  readonly maxFinishedBytes?: number;
  /** How long a finished operation stays readable. */
  readonly finishedRetentionMs: number;
  /** How often an unchanged state is sent again to whoever watches (R-EX-06). */
  readonly heartbeatMs: number;
}

interface Entry extends Placed<Entry> {
  state: OperationState;
  /** By the monotonic clock. */
  finishedAtMs: number;
  /** Unset if nobody watches: most of the finished ones. */
  wakers: Set<() => void> | undefined;
}

/** A hundred thousand of the usual size. Those of verbose tests have megabytes each. */
const MAX_FINISHED_BYTES = 256 * 1024 * 1024;

/** Marks of order in a millisecond: more than operations are created in one. */
const ORDERS_PER_MS = 1000;

const NO_ATTEMPTS: readonly Attempt[] = [];

const UNWATCHED: WaiterObserver = { attached: () => undefined, detached: () => undefined };

/**
 * The operations clients know by name: live ones, and finished ones within their retention. Finished ones of a former
 * server are in the archive, if there is one. Names are unguessable and hold the instance name (R-EX-11).
 */
export class Operations {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #options: Required<OperationsOptions>;
  readonly #archive: OperationArchive | undefined;
  readonly #ids = new RequestIdReader();
  readonly #live = new Map<string, Entry>();
  /** In order of finishing. */
  readonly #finished = new Map<string, Entry>();
  #finishedBytes = 0;
  #byAge: Iterator<Entry, undefined> = this.#finished.values();
  /** The last that `#byAge` gave. */
  #oldest: Entry | undefined;
  /** All of both, in order of creation. */
  readonly #created = new UseOrder<Entry>();
  #lastOrder = 0;
  #observer: WaiterObserver = UNWATCHED;

  /** @param archive keeps finished operations for the next server; without it they end with this one. */
  constructor(clock: Clock, random: Random, options: OperationsOptions, archive?: OperationArchive) {
    this.#clock = clock;
    this.#random = random;
    this.#options = { maxFinishedBytes: MAX_FINISHED_BYTES, ...options };
    this.#archive = archive;
  }

  /** Sets who is told of waiters. */
  observe(observer: WaiterObserver): void {
    this.#observer = observer;
  }

  /** Number of unfinished operations. */
  get liveCount(): number {
    return this.#live.size;
  }

  /** A new operation in stage `cache-check`. @throws queue-full. */
  create(key: ActionKey, facts: OperationFacts = {}): OperationState {
    if (this.#live.size >= this.#options.maxLive) {
      throw new ReapiError('queue-full', `${this.#live.size} operations are unfinished; no more are taken`, {
        retryAfterMs: 5_000,
      });
    }
    const prefix = key.instance === '' ? '' : `${key.instance}/`;
    const name = `${prefix}operations/${this.#random.uuid()}`;
    const createdAtMs = this.#clock.nowMs();
    this.#lastOrder = Math.max(this.#lastOrder + 1, Math.floor(createdAtMs) * ORDERS_PER_MS);
    const state: OperationState = {
      ...{ name, key, stage: 'cache-check', message: '', createdAtMs, order: this.#lastOrder },
      priority: facts.priority ?? 0,
      ids: this.#ids.read(facts.requestMetadata),
      attempts: NO_ATTEMPTS,
    };
    const entry: Entry = {
      ...{ state, finishedAtMs: 0, wakers: undefined, older: undefined, newer: undefined, place: 0 },
    };
    this.#live.set(name, entry);
    this.#created.add(entry);
    return state;
  }

  /** One that is in memory. @throws operation-not-found for a name that never was, was deleted, or is past its retention. */
  get(name: string): OperationState {
    return this.#entry(name).state;
  }

  /** As `get`, and finished ones of a former server. @throws operation-not-found; unavailable if the archive's store is. */
  async find(name: string, signal: AbortSignal): Promise<OperationState> {
    const state = this.#known(name)?.state ?? (await this.#archive?.find(name, signal));
    if (state === undefined) throw notFound();
    return state;
  }

  /**
   * Those in memory, the newest first. May be paused: what comes meanwhile is not given, what goes neither.
   * @param before gives only those with a lower `order`.
   */
  *list(before = Number.POSITIVE_INFINITY): Generator<OperationState, void> {
    this.#sweep();
    for (const { state } of this.#created.walk('older')) {
      if (state.order < before) yield state;
    }
  }

  /** Moves an unfinished operation to a stage. Does nothing if it was deleted or is finished. @param slot of the newest attempt. */
  advance(name: string, stage: 'queued' | 'executing', message: string, slot?: string): void {
    const entry = this.#live.get(name);
    if (entry === undefined) return;
    const { state } = entry;
    const isSameSlot = slot === undefined || state.slot === slot;
    if (state.stage === stage && state.message === message && isSameSlot) return;
    const begins = stage === 'executing' && !(state.stage === 'executing' && isSameSlot);
    this.#change(entry, {
      ...{ ...state, stage, message },
      ...(slot !== undefined && { slot }),
      ...(begins && { startedAtMs: this.#clock.nowMs() }),
    });
  }

  /** Finishes an operation, for everyone who watches it. Does nothing if it was deleted. */
  finish(name: string, response: Uint8Array, attempts: readonly Attempt[] = NO_ATTEMPTS): void {
    const entry = this.#live.get(name);
    if (entry === undefined) {
      invariant(!this.#finished.has(name), 'an operation finishes at most once');
      return;
    }
    this.#live.delete(name);
    entry.finishedAtMs = this.#clock.monotonicMs();
    this.#finished.set(name, entry);
    this.#finishedBytes += response.length;
    const last = attempts.at(-1);
    this.#change(entry, {
      ...{ ...entry.state, stage: 'completed', message: '', response, attempts },
      finishedAtMs: this.#clock.nowMs(),
      ...(last && { slot: last.slot, startedAtMs: last.startedAtMs }),
    });
    this.#archive?.keep(entry.state);
    this.#sweep();
  }

  /**
   * Forgets an operation, at once and for good; whoever watches it is told it is gone. It is not cancelled (R-OP-04).
   * @throws operation-not-found; unavailable if the archive's store is: then it may be known again after a restart.
   */
  async delete(name: string, signal: AbortSignal): Promise<void> {
    const entry = this.#known(name);
    if (entry !== undefined) {
      const isLive = this.#live.has(name);
      this.#forget(name, entry);
      for (const wake of entry.wakers ?? []) wake();
      if (isLive) return;
    }
    const wasKept = await this.#archive?.remove(name, signal);
    if (entry === undefined && wasKept !== true) throw notFound();
  }

  /**
   * The state now, then every change (changes in quick succession may be skipped), and the same state again every
   * `heartbeatMs`; ends after `completed`. Any number of watchers (R-EX-08, R-EX-10).
   * @throws operation-not-found, also when it is deleted meanwhile; whatever aborts `signal`.
   */
  async *watch(name: string, signal: AbortSignal): AsyncIterable<OperationState> {
    const entry = this.#entry(name);
    const turn = new Turn();
    const wake = (): void => turn.signal();
    const wakers = entry.wakers ?? new Set();
    entry.wakers = wakers;
    wakers.add(wake);
    signal.addEventListener('abort', wake, { once: true });
    if (wakers.size === 1 && entry.state.stage !== 'completed') this.#observer.attached(name);
    try {
      for (;;) {
        turn.reset();
        const { state } = entry;
        yield state;
        if (state.stage === 'completed') return;
        // A signal aborted before the watch began wakes nobody.
        if (entry.state === state && !signal.aborted) await this.#nextTurn(turn);
        if (signal.aborted) throw signal.reason;
        // How it ended is told also if it is forgotten at once.
        if (entry.state.stage !== 'completed') this.#entry(name);
      }
    } finally {
      signal.removeEventListener('abort', wake);
      wakers.delete(wake);
      if (wakers.size === 0) {
        entry.wakers = undefined;
        if (entry.state.stage !== 'completed') this.#observer.detached(name);
      }
    }
  }

  async #nextTurn(turn: Turn): Promise<void> {
    const timer = this.#clock.wakeAt(this.#clock.monotonicMs() + this.#options.heartbeatMs, () => turn.signal());
    try {
      await turn.promise;
    } finally {
      timer.cancel();
    }
  }

  #entry(name: string): Entry {
    const entry = this.#known(name);
    if (entry === undefined) throw notFound();
    return entry;
  }

  #known(name: string): Entry | undefined {
    this.#sweep();
    return this.#live.get(name) ?? this.#finished.get(name);
  }

  #change(entry: Entry, state: OperationState): void {
    entry.state = state;
    for (const wake of entry.wakers ?? []) wake();
  }

  #forget(name: string, entry: Entry): void {
    this.#live.delete(name);
    if (this.#finished.delete(name)) this.#finishedBytes -= entry.state.response?.length ?? 0;
    this.#created.remove(entry);
  }

  #sweep(): void {
    const { finishedRetentionMs, maxFinished, maxFinishedBytes } = this.#options;
    const expiredBefore = this.#clock.monotonicMs() - finishedRetentionMs;
    for (let entry = this.#oldestFinished(); entry !== undefined; entry = this.#oldestFinished()) {
      const isOver = entry.finishedAtMs <= expiredBefore || this.#finished.size > maxFinished;
      if (!isOver && this.#finishedBytes <= maxFinishedBytes) return;
      this.#forget(entry.state.name, entry);
      if (isOver) this.#archive?.forgetUntil(entry.state.finishedAtMs ?? 0);
    }
  }

  /**
   * The one to be forgotten next. It goes on where it was: a map that loses its first entries all the time steps over tens of thousands of
   * them whenever it is begun anew.
   */
  #oldestFinished(): Entry | undefined {
    while (this.#oldest === undefined || this.#finished.get(this.#oldest.state.name) !== this.#oldest) {
      let next = this.#byAge.next();
      if (next.done) {
        // An iterator that has ended stays so, and all that it gave are gone.
        this.#byAge = this.#finished.values();
        next = this.#byAge.next();
      }
      this.#oldest = next.value;
      if (next.done) return undefined;
    }
    return this.#oldest;
  }
}

function notFound(): ReapiError {
  return new ReapiError('operation-not-found', 'there is no such operation; it may have expired');
}

/** A promise that can be made anew: one waiter, woken by `signal`, also if it comes before the wait. */
class Turn {
  promise: Promise<void> = Promise.resolve();
  #resolve: () => void = () => undefined;

  reset(): void {
    this.promise = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  signal(): void {
    this.#resolve();
  }
}
