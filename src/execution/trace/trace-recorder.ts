import { actionKeyText } from '../../digest/action-key.ts';
import { isKind } from '../../errors.ts';
import type { TraceRecord } from '../../gen/gantry/v1/trace.ts';
import type { Clock, Timer } from '../../system/clock.ts';
import type { FileSystem } from '../../system/file-system.ts';
import type { Log } from '../../system/log.ts';
import type { AttemptRecord, Effect, SchedulerEvent } from '../scheduler/events.ts';
import { sameOffer } from './same-offer.ts';
import type { ArrivalFinish, SlotFacts, TracedAttempt } from './trace.ts';
import { TraceEncoder } from './trace-encoder.ts';
import { TraceFile } from './trace-file.ts';
import { RECORDS_PER_FRAME } from './trace-frame.ts';

type Of<Work, Type> = Extract<SchedulerEvent<Work, unknown>, { readonly type: Type }>;
type Finish = Extract<Effect<unknown, unknown>, { readonly type: 'finish' }>;

/** Hexadecimal digits of an action's hash that are recorded: 8 bytes tell the actions of a trace apart. */
const KEY_CHARACTERS = 16;

/** After so long what was recorded is written, however little it is. */
const FLUSH_MS = 5_000;

/** Frames written at once, at most: well below what the file lets wait. */
const MAX_FRAMES_AT_ONCE = 64;

/** Most slots that are recorded; above what schedulers take. */
const MAX_TRACED_SLOTS = 1_000_000;

/** Where and how much is recorded. */
export interface TraceRecorderOptions<Work> {
  readonly path: string;
  /** The file and the one before it, `path.1`, together. */
  readonly maxBytes: number;
  /** A slot silent for so long is gone: the scheduler's `slotTimeoutMs`. */
  readonly slotTimeoutMs: number;
  /** Kind of an action as its client calls it; empty if it did not say. */
  readonly mnemonicOf: (work: Work) => string;
}

/** What the recorder did, for metrics. They never go down. */
export interface TraceRecorderCounts {
  readonly recordedEvents: number;
  /** What could not be recorded as the disk failed or did not keep up. */
  readonly droppedEvents: number;
}

/** An operation that has not finished. */
interface LiveOperation {
  /** The file it arrived in, and the number it has there; unset if it was dropped. */
  arrival: { readonly encoder: TraceEncoder; readonly number: number } | undefined;
  readonly task: LiveTask;
}

/** What operations for the same action share: their attempts are recorded once. */
interface LiveTask {
  /** Unset if nobody else may share it. */
  readonly keyText: string | undefined;
  operations: number;
  readonly recorded: Set<string>;
}

/** A slot, with what it said last. */
interface LiveSlot extends SlotFacts {
  heardMs: number;
  isExecuting: boolean;
}

/**
 * Records what the scheduler is told. It observes: each event costs the same however much is queued, nothing is awaited, and
 * nothing that fails here reaches the server. The files can be read each for itself: every one begins with the slots that are there.
 * What is recorded, and what is not, is in docs/traces.md.
 */
export class TraceRecorder<Work> {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #file: TraceFile;
  readonly #options: TraceRecorderOptions<Work>;
  readonly #live = new Map<string, LiveOperation>();
  readonly #tasks = new Map<string, LiveTask>();
  /** The one that has been silent for longest first. */
  readonly #slots = new Map<string, LiveSlot>();
  /** Before it no slot has been silent for too long. */
  #silentMs = Number.NEGATIVE_INFINITY;
  #encoder: TraceEncoder | undefined;
  #pending: TraceRecord[] = [];
  #startMs = 0;
  #timer: Timer | undefined;
  #recordedEvents = 0;
  #droppedEvents = 0;

  constructor(fs: FileSystem, clock: Clock, log: Log, options: TraceRecorderOptions<Work>) {
    this.#clock = clock;
    this.#log = log;
    this.#options = options;
    const onFailed = (error: unknown): void => log.error({ err: error }, 'the recording of the scheduler ends');
    this.#file = new TraceFile(fs, { path: options.path, maxFileBytes: options.maxBytes / 2, onFailed });
  }

  /** What was recorded so far. */
  get counts(): TraceRecorderCounts {
    return { recordedEvents: this.#recordedEvents, droppedEvents: this.#droppedEvents };
  }

  /** Told after every event of the scheduler. */
  readonly observe = <Result>(
    event: SchedulerEvent<Work, Result>,
    effects: readonly Effect<Work, Result>[],
    nowMs: number,
  ): void => {
    this.#forgetSilent(nowMs);
    if (event.type === 'submit') this.#submit(event, nowMs);
    else if (event.type === 'sync') this.#sync(event, nowMs);
    else if (event.type === 'leave') this.#leave(event.slot, nowMs);
    for (const effect of effects) if (effect.type === 'finish') this.#finish(effect, nowMs);
  };

  /** Writes what is left. No event may follow. */
  async stop(): Promise<void> {
    this.#flush();
    await this.#file.close();
  }

  /** Resolves when what was handed to the disk is written, or has failed. */
  idle(): Promise<void> {
    return this.#file.idle();
  }

  #submit(event: Of<Work, 'submit'>, nowMs: number): void {
    const { operation, key, needs, priority, merge, shares = [], expectedMs, sizeClass, inputs = [], work } = event;
    const live: LiveOperation = { arrival: undefined, task: this.#taskOf(event) };
    this.#live.set(operation, live);
    this.#record(nowMs, (encoder) => {
      const { records, number } = encoder.arrival({
        ...{ atMs: nowMs - this.#startMs, key: key.action.hash.slice(0, KEY_CHARACTERS), instance: key.instance },
        ...{ needs, priority, merge, shares, mnemonic: this.#options.mnemonicOf(work) },
        inputBytes: inputs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
        ...(expectedMs !== undefined && { expectedMs }),
        ...(sizeClass !== undefined && { sizeClass }),
      });
      live.arrival = { encoder, number };
      return records;
    });
  }

  #taskOf({ key, merge }: Of<Work, 'submit'>): LiveTask {
    const keyText = merge === 'never' ? undefined : actionKeyText(key);
    const known = keyText === undefined ? undefined : this.#tasks.get(keyText);
    const task: LiveTask = known ?? { keyText, operations: 0, recorded: new Set() };
    task.operations++;
    if (keyText !== undefined) this.#tasks.set(keyText, task);
    return task;
  }

  #finish({ operation, outcome, attempts }: Finish, nowMs: number): void {
    const live = this.#live.get(operation);
    if (live === undefined) return;
    this.#live.delete(operation);
    const { task, arrival } = live;
    task.operations--;
    if (task.operations === 0 && task.keyText !== undefined) this.#tasks.delete(task.keyText);
    const isCancelled = outcome.type === 'failed' && isKind(outcome.error, 'cancelled');
    const how = outcome.type === 'result' ? 'result' : isCancelled ? 'cancelled' : 'failed';
    this.#record(nowMs, (encoder) => {
      // It arrived in a file before this one, which cannot be written any more.
      if (arrival === undefined || arrival.encoder !== encoder) return [];
      const finish = { atMs: nowMs - this.#startMs, how, attempts: this.#newAttempts(task, attempts) } as const;
      return encoder.finish(arrival.number, finish);
    });
  }

  /** Those that have ended and are not recorded yet. */
  #newAttempts(task: LiveTask, attempts: readonly AttemptRecord[]): ArrivalFinish['attempts'] {
    return attempts.flatMap(({ slot, startedAtMs, end }): readonly TracedAttempt[] => {
      const name = `${startedAtMs} ${slot}`;
      if (end === undefined || task.recorded.has(name)) return [];
      task.recorded.add(name);
      const heldMs = end.atMs - startedAtMs;
      // Readers know the size class from the slot.
      return [{ slot, sizeClass: 0, startedAtMs: startedAtMs - this.#startMs, heldMs, how: end.how }];
    });
  }

  #sync(event: Of<Work, 'sync'>, nowMs: number): void {
    const { slot, node, offer, instancePrefix: prefix, holding } = event;
    const isExecuting = holding !== undefined && holding.completed === undefined;
    const known = this.#slots.get(slot);
    if (known === undefined && this.#slots.size >= MAX_TRACED_SLOTS) return;
    const isSame =
      known !== undefined && known.node === node && known.prefix === prefix && sameOffer(known.offer, offer);
    if (!isSame) {
      const facts = { slot, node, offer, prefix };
      this.#record(nowMs, (encoder) => encoder.slot(facts, nowMs - this.#startMs));
    }
    // Behind all that were heard of before.
    this.#slots.delete(slot);
    this.#slots.set(slot, { slot, node, offer: isSame ? known.offer : offer, prefix, heardMs: nowMs, isExecuting });
  }

  #leave(slot: string, nowMs: number): void {
    const known = this.#slots.get(slot);
    if (known === undefined) return;
    this.#slots.delete(slot);
    this.#record(nowMs, (encoder) => encoder.slotLeft(slot, known.isExecuting, nowMs - this.#startMs));
  }

  /** Looks for the first slot seldom: a map that loses its first entries all the time steps over them to find the next. */
  #forgetSilent(nowMs: number): void {
    if (nowMs < this.#silentMs) return;
    const { slotTimeoutMs } = this.#options;
    for (const [slot, { heardMs }] of this.#slots) {
      this.#silentMs = heardMs + slotTimeoutMs;
      if (nowMs < this.#silentMs) return;
      this.#leave(slot, nowMs);
    }
    this.#silentMs = nowMs + slotTimeoutMs;
  }

  #record(nowMs: number, make: (encoder: TraceEncoder) => readonly TraceRecord[]): void {
    const encoder = this.#encoderNow(nowMs);
    if (encoder === undefined) {
      this.#droppedEvents++;
      return;
    }
    this.#recordedEvents++;
    this.#pending.push(...make(encoder));
    if (this.#pending.length >= RECORDS_PER_FRAME) this.#flush();
    else this.#timer ??= this.#clock.wakeAt(this.#clock.monotonicMs() + FLUSH_MS, () => this.#flush());
  }

  /** The encoder of the file that is being written, which may be a new one; undefined while nothing can be written. */
  #encoderNow(nowMs: number): TraceEncoder | undefined {
    const file = this.#file;
    if (file.hasFailed) return undefined;
    if (file.backlog === 'too much' && this.#encoder !== undefined) {
      this.#log.warn('the disk does not keep up with the recording of the scheduler: it pauses');
      this.#droppedEvents += this.#pending.length;
      this.#encoder = undefined;
      this.#pending = [];
    }
    if (this.#encoder !== undefined && !file.isFull) return this.#encoder;
    // After a pause a new file begins, once the old one is written.
    if (this.#encoder === undefined && file.backlog !== 'none') return undefined;
    return this.#begin(nowMs);
  }

  #begin(nowMs: number): TraceEncoder {
    this.#flush();
    this.#file.begin();
    const encoder = new TraceEncoder();
    this.#encoder = encoder;
    this.#startMs = nowMs;
    this.#pending.push(...encoder.header(this.#clock.nowMs()));
    for (const slot of this.#slots.values()) this.#pending.push(...encoder.slot(slot, 0));
    return encoder;
  }

  #flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const pending = this.#pending;
    this.#pending = [];
    // A file begins with all slots there are, which may be more than a reader takes in one frame.
    const size = Math.max(RECORDS_PER_FRAME, Math.ceil(pending.length / MAX_FRAMES_AT_ONCE));
    for (let at = 0; at < pending.length; at += size) this.#file.write(pending.slice(at, at + size));
  }
}
