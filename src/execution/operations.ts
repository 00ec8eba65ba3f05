import type { ActionKey } from '../digest/action-key.ts';
import { invariant, ReapiError } from '../errors.ts';
import type { Clock } from '../system/clock.ts';
import type { Random } from '../system/random.ts';

/** Where an operation is on its way (REAPI, ExecutionStage). It may go back from executing to queued. */
export type Stage = 'cache-check' | 'queued' | 'executing' | 'completed';

/** What a client may know of its operation at one moment. Immutable; a change makes a new one. */
export interface OperationState {
  readonly name: string;
  readonly key: ActionKey;
  readonly stage: Stage;
  /** Why it waits, for people; empty if there is nothing to say. */
  readonly message: string;
  /** Wall time. */
  readonly createdAtMs: number;
  /** The encoded ExecuteResponse, set exactly when the stage is `completed`: kept by the hundred thousand, hence in its smallest form. */
  readonly response?: Uint8Array;
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
  /** How long a finished operation stays readable. */
  readonly finishedRetentionMs: number;
  /** How often an unchanged state is sent again to whoever watches (R-EX-06). */
  readonly heartbeatMs: number;
}

interface Entry {
  state: OperationState;
  finishedAtMs: number;
  readonly wakers: Set<() => void>;
}

const UNWATCHED: WaiterObserver = { attached: () => undefined, detached: () => undefined };

/**
 * The operations clients know by name: live ones, and finished ones within their retention.
 * Names are unguessable and hold the instance name (R-EX-11).
 */
export class Operations {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #options: OperationsOptions;
  readonly #live = new Map<string, Entry>();
  /** In order of finishing. */
  readonly #finished = new Map<string, Entry>();
  #observer: WaiterObserver = UNWATCHED;

  constructor(clock: Clock, random: Random, options: OperationsOptions) {
    this.#clock = clock;
    this.#random = random;
    this.#options = options;
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
  create(key: ActionKey): OperationState {
    if (this.#live.size >= this.#options.maxLive) {
      throw new ReapiError('queue-full', `${this.#live.size} operations are unfinished; no more are taken`, {
        retryAfterMs: 5_000,
      });
    }
    const prefix = key.instance === '' ? '' : `${key.instance}/`;
    const name = `${prefix}operations/${this.#random.uuid()}`;
    const createdAtMs = this.#clock.nowMs();
    const state: OperationState = { name, key, stage: 'cache-check', message: '', createdAtMs };
    this.#live.set(name, { state, finishedAtMs: 0, wakers: new Set() });
    return state;
  }

  /** @throws operation-not-found for a name that never was, was deleted, or is past its retention. */
  get(name: string): OperationState {
    return this.#entry(name).state;
  }

  /** All operations, unfinished ones first, each group in order of creation or finishing. */
  *list(): Iterable<OperationState> {
    this.#sweep();
    for (const { state } of this.#live.values()) yield state;
    for (const { state } of this.#finished.values()) yield state;
  }

  /** Moves an unfinished operation to a stage. Does nothing if it was deleted or is finished. */
  advance(name: string, stage: 'queued' | 'executing', message: string): void {
    const entry = this.#live.get(name);
    if (entry === undefined) return;
    if (entry.state.stage === stage && entry.state.message === message) return;
    this.#change(entry, { ...entry.state, stage, message });
  }

  /** Finishes an operation, for everyone who watches it. Does nothing if it was deleted. */
  finish(name: string, response: Uint8Array): void {
    const entry = this.#live.get(name);
    if (entry === undefined) {
      invariant(!this.#finished.has(name), 'an operation finishes at most once');
      return;
    }
    this.#live.delete(name);
    entry.finishedAtMs = this.#clock.monotonicMs();
    this.#finished.set(name, entry);
    this.#change(entry, { ...entry.state, stage: 'completed', message: '', response });
    this.#sweep();
  }

  /** Forgets an operation; whoever watches it is told it is gone. It is not cancelled (R-OP-04). @throws operation-not-found. */
  delete(name: string): void {
    const entry = this.#entry(name);
    this.#live.delete(name);
    this.#finished.delete(name);
    for (const wake of entry.wakers) wake();
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
    entry.wakers.add(wake);
    signal.addEventListener('abort', wake, { once: true });
    if (entry.wakers.size === 1 && entry.state.stage !== 'completed') this.#observer.attached(name);
    try {
      for (;;) {
        turn.reset();
        const { state } = entry;
        yield state;
        if (state.stage === 'completed') return;
        // A signal aborted before the watch began wakes nobody.
        if (entry.state === state && !signal.aborted) await this.#nextTurn(turn);
        if (signal.aborted) throw signal.reason;
        this.#entry(name);
      }
    } finally {
      signal.removeEventListener('abort', wake);
      entry.wakers.delete(wake);
      if (entry.wakers.size === 0 && entry.state.stage !== 'completed') this.#observer.detached(name);
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
    this.#sweep();
    const entry = this.#live.get(name) ?? this.#finished.get(name);
    if (entry) return entry;
    throw new ReapiError('operation-not-found', 'there is no such operation; it may have expired');
  }

  #change(entry: Entry, state: OperationState): void {
    entry.state = state;
    for (const wake of entry.wakers) wake();
  }

  #sweep(): void {
    const expiredBefore = this.#clock.monotonicMs() - this.#options.finishedRetentionMs;
    for (const [name, entry] of this.#finished) {
      const isOver = entry.finishedAtMs <= expiredBefore || this.#finished.size > this.#options.maxFinished;
      if (!isOver) return;
      this.#finished.delete(name);
    }
  }
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
