import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BlobStore } from '../cas/blob-store.ts';
import { type Digest, digestFromWire, digestKey, digestPath } from '../digest/digest.ts';
import { ReapiError } from '../errors.ts';
import type { Action } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Clock, Timer } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { MissingInputs } from './prepare-action.ts';

/** What an action needs until it ends. */
export interface ActionInputs {
  readonly action: Digest;
  readonly command: Digest;
  readonly root: Digest;
}

/** What looking again takes. */
export interface InputLeaseParts {
  readonly blobs: BlobStore;
  /** Walks an input root, which promises anew what is there. */
  readonly missingInputs: MissingInputs;
  readonly clock: Clock;
  readonly log: Log;
}

/** Most Actions and input roots that are looked at in one round; what is left is next, after a pause. */
export const MAX_LOOKS_PER_ROUND = 256;

/** Time between rounds for everyone else. */
const PAUSE_MS = 100;

/** What is looked at as a whole: an Action with its Command, or an input root. Operations share it. */
interface Held {
  readonly what: 'the Action and Command' | 'the input root';
  readonly digest: Digest;
  readonly look: (signal: AbortSignal) => Promise<readonly Digest[]>;
  readonly operations: Set<string>;
  /** When the last look began. */
  lookedMs: number;
  hasFailed: boolean;
  /** While it is being looked at. */
  abort: AbortController | undefined;
}

/**
 * Keeps the inputs of unfinished operations in the store. Presence is promised for the retention time after a look, and an
 * operation may wait and run for longer (architecture, "Retention"). So everything held is looked at again when a third of
 * that time has passed: a failed look has a second chance before the promise ends, and the round has time to get through.
 *
 * What several operations have in common is looked at once, one thing after the other. What was looked at less than half of
 * that third ago waits for a later round, which a new operation counts for too: its preparation has just walked the same
 * inputs. A failure never fails an action; it is logged once for each thing held.
 */
export class InputLeases {
  readonly #parts: InputLeaseParts;
  readonly #lookEveryMs: number;
  /** Operation to the keys of what it holds. Bounded by the limit on unfinished operations. */
  readonly #keys = new Map<string, readonly string[]>();
  /** The one looked at longest ago first. */
  readonly #held = new Map<string, Held>();
  #timer: Timer | undefined;
  #round: Promise<void> | undefined;
  #isStopped = false;

  /** @param options.retentionMs what a look promises; 0 promises nothing, then nothing is kept. */
  constructor(parts: InputLeaseParts, options: { readonly retentionMs: number }) {
    this.#parts = parts;
    this.#lookEveryMs = options.retentionMs / 3;
  }

  /** Keeps inputs that were just seen in the store until `release`. */
  hold(operation: string, inputs: ActionInputs): void {
    if (this.#isStopped || this.#lookEveryMs <= 0 || this.#keys.has(operation)) return;
    const { action, command, root } = inputs;
    const { blobs, missingInputs } = this.#parts;
    const keys = [`action ${digestKey(action)}`, `root ${digestKey(root)}`] as const;
    this.#keys.set(operation, keys);
    this.#join(operation, keys[0], {
      what: 'the Action and Command',
      digest: action,
      look: (signal) => blobs.findMissing([action, command], signal),
    });
    this.#join(operation, keys[1], {
      what: 'the input root',
      digest: root,
      look: (signal) => missingInputs(root, signal),
    });
    this.#arm();
  }

  /** The operation is over. Does nothing if it holds nothing. */
  release(operation: string): void {
    const keys = this.#keys.get(operation) ?? [];
    this.#keys.delete(operation);
    for (const key of keys) {
      const held = this.#held.get(key);
      if (held === undefined) continue;
      held.operations.delete(operation);
      if (held.operations.size > 0) continue;
      this.#held.delete(key);
      held.abort?.abort(new ReapiError('cancelled', 'the last operation with these inputs is over'));
    }
    if (this.#held.size === 0) this.#disarm();
  }

  /** Ends looking; waits for what is being looked at to let go. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#disarm();
    for (const operation of [...this.#keys.keys()]) this.release(operation);
    await this.#round;
  }

  #join(operation: string, key: string, what: Pick<Held, 'what' | 'digest' | 'look'>): void {
    const held = this.#held.get(key) ?? {
      ...what,
      operations: new Set(),
      lookedMs: 0,
      hasFailed: false,
      abort: undefined,
    };
    held.operations.add(operation);
    this.#looked(key, held, this.#parts.clock.monotonicMs());
  }

  #looked(key: string, held: Held, atMs: number): void {
    held.lookedMs = Math.max(held.lookedMs, atMs);
    this.#held.delete(key);
    this.#held.set(key, held);
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#round !== undefined) return;
    // Not before: a map that loses its first entries all the time steps over them to find the next.
    const [oldest] = this.#held.values();
    if (oldest === undefined) return;
    const { clock } = this.#parts;
    const atMs = Math.max(oldest.lookedMs + this.#lookEveryMs, clock.monotonicMs() + PAUSE_MS);
    this.#timer = clock.wakeAt(atMs, () => {
      this.#timer = undefined;
      this.#round = this.#lookAtOldest().finally(() => {
        this.#round = undefined;
        this.#arm();
      });
    });
  }

  #disarm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  async #lookAtOldest(): Promise<void> {
    const dueMs = this.#parts.clock.monotonicMs() - this.#lookEveryMs / 2;
    const due: string[] = [];
    for (const [key, { lookedMs }] of this.#held) {
      if (lookedMs > dueMs || due.length === MAX_LOOKS_PER_ROUND) break;
      due.push(key);
    }
    for (const key of due) {
      const held = this.#held.get(key);
      // It may have been released, or seen by a newcomer's preparation.
      if (held === undefined || held.lookedMs > dueMs) continue;
      await this.#lookAt(key, held);
      await nextTurn();
    }
  }

  /** Looks for as long as the next look is away at most, so that one that hangs does not keep the others waiting for ever. */
  async #lookAt(key: string, held: Held): Promise<void> {
    const { clock } = this.#parts;
    const startMs = clock.monotonicMs();
    const abort = new AbortController();
    held.abort = abort;
    const limit = clock.wakeAt(startMs + this.#lookEveryMs, () =>
      abort.abort(new ReapiError('timed-out', 'looking at inputs takes too long')),
    );
    try {
      const missing = await held.look(abort.signal);
      const [first] = missing;
      if (first !== undefined) this.#report(held, { missing: missing.length, first: digestPath(first) });
    } catch (error) {
      if (held.operations.size > 0) this.#report(held, { err: error });
    } finally {
      limit.cancel();
      held.abort = undefined;
      if (this.#held.get(key) === held) this.#looked(key, held, startMs);
    }
  }

  #report(held: Held, facts: object): void {
    const level = held.hasFailed ? 'debug' : 'warn';
    held.hasFailed = true;
    const what = { ...facts, digest: digestPath(held.digest), operations: held.operations.size };
    this.#parts.log[level](what, `${held.what} of unfinished operations could not all be kept`);
  }
}

/** What an action that was prepared needs. @throws invalid-argument if a digest is absent or malformed. */
export function inputsOf(digest: Digest, action: Action): ActionInputs {
  return {
    action: digest,
    command: digestFromWire(digest.function, action.commandDigest, 'Action.command_digest'),
    root: digestFromWire(digest.function, action.inputRootDigest, 'Action.input_root_digest'),
  };
}
