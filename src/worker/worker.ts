import type { ActionKey } from '../digest/action-key.ts';
import { digestFromWire } from '../digest/digest.ts';
import { resolveDigestFunction } from '../digest/digest-function.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { isKind, ReapiError } from '../errors.ts';
import { ExecuteResponse } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { CachedFiles, NextAction, WorkerOrders } from '../gen/gantry/v1/worker.ts';
import { Code } from '../gen/google/rpc/code.ts';
import type {
  DesiredState_Executing,
  SynchronizeRequest,
  SynchronizeResponse,
} from '../gen/pkg/proto/remoteworker/remoteworker.ts';
import { type Clock, sleep, type Timer } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Random } from '../system/random.ts';
import type { ResultRecorder } from './remote-action-cache.ts';
import type { SlotScheduler } from './remote-scheduler.ts';
import type { Lease, LeaseOutcome, LeaseStage } from './run-lease.ts';
import { type HeldLease, type SlotOptions, slotReport } from './slot-report.ts';
import { millisecondsOf } from './wire-time.ts';

// One slot. It tells the scheduler its state and takes the answer as the whole truth about what it should hold; a lost
// message or a restart on either side does no harm, because the next message says everything again.
//
//   idle ──orders──▶ holding: started → fetching → running → uploading ──▶ completed ──answered──▶ idle or next orders
//
// While idle the call is a long poll. While holding, a call goes out at every change of stage and when the scheduler
// asked for one; the answer "no desired state" means: go on (R-BW-02).

/** Longest pause before trying again after a failed call (R-BW-05). */
const MAX_RETRY_PAUSE_MS = 5_000;

/**
 * The same while a lease is held: a server that was started again adopts work it hears of, and gives out anew what
 * clients ask for before that.
 */
const MAX_HOLDING_RETRY_PAUSE_MS = 1_000;

/**
 * Longest time until the next call, whatever the clocks of both sides say (R-BB-28): half of the 60 s after which schedulers
 * give a silent worker up, and with it what it runs (R-BB-20).
 */
const MAX_SYNC_PAUSE_MS = 30_000;

/** A scheduler that answers an idle slot at once is asked no more often than this. */
const MIN_IDLE_INTERVAL_MS = 200;

/** And one whose clock is so far behind that it always wants the next word of a lease at once, no more often than this. */
const MIN_BUSY_INTERVAL_MS = 1000;

/**
 * Changes of stage are gathered for so long before they are reported. Bb_worker reports each at once (R-BW-02); most
 * actions are over sooner, and one call instead of four is a quarter of the scheduler's work.
 */
const STAGE_REPORT_DELAY_MS = 100;

/** Reasons made once: an abort without one makes an error with a stack, and these happen for every action. */
const INTERRUPTED = new ReapiError('cancelled', 'there is something to report');
const DROPPED = new ReapiError('cancelled', 'the slot gave up its lease');

/** How long after the scheduler was due a slot that is to stop waits for it (R-BW-04). */
const STOP_PATIENCE_MS = 60_000;

/** The same while it has a result that no scheduler has taken, counted from its completion: long enough for a restart. */
const RESULT_PATIENCE_MS = 180_000;

/** What every server takes in one message: 4 MiB, less what is around a response. */
const MAX_SURE_RESPONSE_BYTES = 3 * 1024 * 1024;

/** Troubles of a slot, for people: of this machine, of the server, of what it says. */
const UNUSABLE = 'this slot cannot work on its machine';
const UNANSWERED = 'the server does not answer';
const SENSELESS = 'the server answers what this slot cannot follow';

/** Starts a lease. The promise rejects only if the signal was aborted; `cleanUp` frees what the lease had on disk. */
export interface LeaseRunner {
  /** Cleans up before: that may take minutes, in which the slot has to say what it holds. */
  start(lease: Lease, onStage: (stage: LeaseStage) => void, signal: AbortSignal): Promise<LeaseOutcome>;
  /** Resolves when the folders of former leases are gone. @throws unavailable if the slot cannot work. */
  cleanUp(): Promise<void>;
  /** The same, and none of their processes is left either. */
  close(): Promise<void>;
}

/** Numbers for operators. */
export interface SlotCounters {
  leasesStarted: number;
  leasesCompleted: number;
  leasesCancelled: number;
  workerFaults: number;
  /** Leases that failed because this machine was too small. */
  leasesExhausted: number;
  syncFailures: number;
}

/** What the slots of a worker have in common. */
export interface SlotNode {
  /** What is cached, if the scheduler has to be told; from then on it counts as told. */
  cached(): CachedFiles | undefined;
  /** A call failed: the scheduler may have lost what it was told, or may never have heard it. */
  disconnected(): void;
  /** What the scheduler expects to run here next. @throws invalid-argument. */
  expect(next: NextAction | undefined): void;
}

/** Whom a slot works with. */
export interface SlotPeers {
  readonly scheduler: SlotScheduler;
  readonly runner: LeaseRunner;
  readonly recorder: ResultRecorder;
  readonly node: SlotNode;
}

interface Holding extends HeldLease {
  readonly abort: AbortController;
  stage: 'started' | LeaseStage;
  completed: LeaseOutcome | undefined;
  /** When it was completed. */
  completedMs: number;
  /** Settles, without failing, when nothing of the lease runs any more. */
  over: Promise<void>;
}

/** The loop of one slot: synchronise, start, report. Never holds more than one lease. */
export class Slot {
  readonly #scheduler: SlotScheduler;
  readonly #runner: LeaseRunner;
  readonly #recorder: ResultRecorder;
  readonly #node: SlotNode;
  readonly #system: { readonly clock: Clock; readonly random: Random; readonly log: Log };
  readonly #options: SlotOptions;
  readonly counters: SlotCounters;
  readonly #kill = new AbortController();
  #holding: Holding | undefined;
  #isStopping = false;
  #prefersIdleOnce = false;
  /** What the slot does, in words of what it means if that fails. */
  #attempt: string = UNUSABLE;
  /** The one of these that the log was told of. */
  #trouble: string | undefined;
  /** Armed while a change of stage waits to be reported. */
  #stageTimer: Timer | undefined;
  /** Time until the next call, as the last answer said. */
  #pauseMs = 0;
  /** Ends the wait, or the long poll, that is under way. */
  #interrupt = new AbortController();

  constructor(
    peers: SlotPeers,
    system: { readonly clock: Clock; readonly random: Random; readonly log: Log },
    counters: SlotCounters,
    options: SlotOptions,
  ) {
    this.#scheduler = peers.scheduler;
    this.#runner = peers.runner;
    this.#recorder = peers.recorder;
    this.#node = peers.node;
    this.#system = system;
    this.counters = counters;
    this.#options = options;
  }

  /** Whether a lease is being worked on. */
  get isBusy(): boolean {
    return this.#holding !== undefined && this.#holding.completed === undefined;
  }

  /** Takes nothing new, finishes and reports what it holds; `run` ends when the scheduler has agreed (R-BW-04). */
  stop(): void {
    this.#isStopping = true;
    this.#interrupt.abort(INTERRUPTED);
  }

  /** Aborts everything; `run` ends soon. */
  kill(): void {
    this.#isStopping = true;
    this.#kill.abort();
    this.#interrupt.abort(INTERRUPTED);
    this.#holding?.abort.abort(DROPPED);
  }

  /** Works until stopped. @throws only bugs. */
  async run(): Promise<void> {
    const { clock } = this.#system;
    let dueMs = clock.monotonicMs();
    while (!this.#kill.signal.aborted) {
      if (this.#isStopping && this.#isAwayTooLong(dueMs)) break;
      try {
        this.#attempt = UNUSABLE;
        if (!this.#holding) await this.#runner.cleanUp();
        const isDone = await this.#synchronize();
        if (this.#trouble !== undefined) this.#system.log.info('the slot works again');
        this.#trouble = undefined;
        if (isDone) break;
        dueMs = clock.monotonicMs() + this.#pauseMs;
      } catch (error) {
        // Of a call that was given up here nobody knows when it would have been answered.
        if (isKind(error, 'cancelled') && this.#interrupt.signal.aborted) dueMs = clock.monotonicMs();
        else await this.#afterFailure(error);
        continue;
      }
      // A change of stage ends the pause.
      await this.#pause(dueMs - clock.monotonicMs(), this.#interrupt.signal);
    }
    await this.#drop();
    this.#stageTimer?.cancel();
    await this.#runner.close().catch((error: unknown) => this.#system.log.warn({ err: error }, 'clean-up failed'));
  }

  /** Whether a slot that is to stop has waited long enough for its scheduler, which was due at `dueMs` (R-BW-04). */
  #isAwayTooLong(dueMs: number): boolean {
    if (this.isBusy) return false;
    const nowMs = this.#system.clock.monotonicMs();
    const holding = this.#holding;
    if (holding === undefined) return nowMs > dueMs + STOP_PATIENCE_MS;
    return nowMs > Math.max(dueMs, holding.completedMs) + RESULT_PATIENCE_MS;
  }

  /** One call and what follows from it. True if the slot has stopped in agreement with the scheduler. */
  async #synchronize(): Promise<boolean> {
    const { clock } = this.#system;
    const holding = this.#holding;
    const wasStopping = this.#isStopping;
    const reported = holding?.completed;
    this.#interrupt = new AbortController();
    const prefersIdle = wasStopping || this.#prefersIdleOnce;
    const request = slotReport(this.#options, holding, {
      prefersIdle,
      isLeaving: wasStopping,
      cached: this.#node.cached(),
    });
    // Only a long poll has to end when something happens here: every other call is answered at once.
    const canWait = (holding === undefined || reported !== undefined) && !request.preferBeingIdle;
    const signals = canWait ? [this.#kill.signal, this.#interrupt.signal] : [this.#kill.signal];
    const startedMs = clock.monotonicMs();
    const response = await this.#call(request, AbortSignal.any(signals));
    this.#attempt = SENSELESS;
    if (holding === undefined || reported !== undefined) this.#prefersIdleOnce = false;
    this.#pauseMs = this.#pauseFrom(response);
    if (response.directives?.exit) this.#exit();
    await this.#obey(response, reported);
    this.#expect(response);
    const isIdleAgain = holding === undefined && this.#holding === undefined;
    if (isIdleAgain && clock.monotonicMs() - startedMs < MIN_IDLE_INTERVAL_MS) {
      this.#pauseMs = Math.max(this.#pauseMs, MIN_IDLE_INTERVAL_MS);
    }
    // What there is to report ends the pause.
    if (this.#holding !== undefined) this.#pauseMs = Math.max(this.#pauseMs, MIN_BUSY_INTERVAL_MS);
    return wasStopping && this.#holding === undefined;
  }

  async #call(request: SynchronizeRequest, signal: AbortSignal): Promise<SynchronizeResponse> {
    this.#attempt = UNANSWERED;
    try {
      return await this.#scheduler.synchronize(request, signal);
    } catch (error) {
      this.#node.disconnected();
      throw error;
    }
  }

  /** An operator has the scheduler tell the slot to go; the process ends with its last slot. */
  #exit(): void {
    if (this.#isStopping) return;
    this.#system.log.info('the scheduler told this slot to exit when it holds nothing');
    this.stop();
  }

  /** Most responses do not say what is expected; one to be idle says that nothing waits. */
  #expect({ gantry, desiredState }: SynchronizeResponse): void {
    const next = gantry?.next;
    if (next === undefined && desiredState?.workerState?.$case !== 'idle') return;
    try {
      this.#node.expect(next);
    } catch (error) {
      this.#system.log.debug({ reason: reasonOf(error) }, 'the scheduler expects an action that makes no sense');
    }
  }

  async #obey(response: SynchronizeResponse, reported: LeaseOutcome | undefined): Promise<void> {
    const desired = response.desiredState?.workerState;
    if (desired === undefined) return;
    if (desired.$case === 'idle') {
      await this.#drop();
      return;
    }
    const holding = this.#holding;
    if (holding && isSameLease(holding, response.gantry)) return;
    await this.#drop();
    if (reported === undefined && holding) this.#system.log.info('the scheduler replaced the lease of this slot');
    this.#start(desired.value, response.gantry);
  }

  #start(desired: DesiredState_Executing, orders: WorkerOrders | undefined): void {
    const lease = this.#leaseOf(desired, orders);
    const abort = new AbortController();
    const holding: Holding = {
      lease,
      orders,
      abort,
      stage: 'started',
      completed: undefined,
      completedMs: 0,
      over: Promise.resolve(),
    };
    this.#holding = holding;
    this.counters.leasesStarted++;
    this.#reportSoon();
    holding.over = this.#carryOut(holding);
  }

  async #carryOut(holding: Holding): Promise<void> {
    const onStage = (stage: LeaseStage): void => {
      holding.stage = stage;
      this.#reportSoon();
    };
    try {
      const outcome = await this.#runner.start(holding.lease, onStage, holding.abort.signal);
      await this.#record(holding, outcome);
      holding.completed = outcome;
      this.counters.leasesCompleted++;
      if (outcome.isExhausted) this.counters.leasesExhausted++;
      if (outcome.isWorkerFault) {
        this.counters.workerFaults++;
        // The scheduler should not send the same action straight back to a slot that may be unwell (R-BW-03).
        this.#prefersIdleOnce = true;
      }
    } catch (error) {
      this.counters.leasesCancelled++;
      if (!isKind(error, 'cancelled')) this.#system.log.error({ err: error }, 'a lease failed unexpectedly');
      holding.completed = UNEXPECTED;
    } finally {
      holding.completedMs = this.#system.clock.monotonicMs();
      this.#reportNow();
    }
  }

  #reportSoon(): void {
    const { clock } = this.#system;
    this.#stageTimer ??= clock.wakeAt(clock.monotonicMs() + STAGE_REPORT_DELAY_MS, () => this.#reportNow());
  }

  #reportNow(): void {
    this.#stageTimer?.cancel();
    this.#stageTimer = undefined;
    this.#interrupt.abort(INTERRUPTED);
  }

  /** Under a scheduler that is not ours, the worker writes the action cache (R-BW-07). A failed write leaves the result as it is. */
  async #record(holding: Holding, { response }: LeaseOutcome): Promise<void> {
    if (holding.orders?.serverRecordsResult || holding.lease.action.doNotCache) return;
    if (response.result === undefined || response.result.exitCode !== 0) return;
    if (response.status !== undefined && response.status.code !== Code.OK) return;
    try {
      await this.#recorder.record(holding.lease.key, response.result, holding.abort.signal);
    } catch (error) {
      this.#system.log.warn({ err: error }, 'a result could not be written to the action cache');
    }
  }

  /** Gives up the lease, finished or not. */
  async #drop(): Promise<void> {
    const holding = this.#holding;
    if (!holding) return;
    holding.abort.abort(DROPPED);
    await holding.over;
    this.#holding = undefined;
  }

  /** @throws invalid-argument if the orders make no sense (T-36). */
  #leaseOf(desired: DesiredState_Executing, orders: WorkerOrders | undefined): Lease {
    const fn = resolveDigestFunction(desired.digestFunction, desired.actionDigest?.hash.length);
    const action = digestFromWire(fn, desired.actionDigest, 'action_digest');
    if (desired.action === undefined) throw new ReapiError('invalid-argument', 'the orders have no action');
    const instance = orders?.instanceName || joinInstance(this.#options.instanceNamePrefix, desired.instanceNameSuffix);
    const key: ActionKey = { instance: parseInstanceName(instance), action };
    return {
      key,
      action: desired.action,
      queued: desired.queuedTimestamp,
      auxiliaryMetadata: desired.auxiliaryMetadata,
    };
  }

  #pauseFrom(response: SynchronizeResponse): number {
    const next = response.nextSynchronizationAt;
    if (next === undefined) throw new ReapiError('internal', 'the scheduler did not say when to call again (R-BB-11)');
    return Math.min(MAX_SYNC_PAUSE_MS, Math.max(0, millisecondsOf(next) - this.#system.clock.nowMs()));
  }

  async #afterFailure(error: unknown): Promise<void> {
    if (this.#kill.signal.aborted) return;
    this.counters.syncFailures++;
    this.#dropTooLarge(error);
    if (this.#trouble !== this.#attempt) {
      this.#trouble = this.#attempt;
      this.#system.log.warn({ reason: reasonOf(error) }, `${this.#trouble}; trying again until that changes`);
    }
    const maxPauseMs = this.#holding === undefined ? MAX_RETRY_PAUSE_MS : MAX_HOLDING_RETRY_PAUSE_MS;
    await this.#pause(this.#system.random.fraction() * maxPauseMs, this.#kill.signal);
  }

  /**
   * A response larger than the server takes would be refused for ever, here and wherever the action is tried again: one that says so
   * goes in its place.
   */
  #dropTooLarge(error: unknown): void {
    const holding = this.#holding;
    if (holding?.completed === undefined || !isKind(error, 'quota-exceeded')) return;
    const bytes = ExecuteResponse.encode(holding.completed.response).finish().length;
    if (bytes <= MAX_SURE_RESPONSE_BYTES) return;
    this.#system.log.warn({ bytes, reason: reasonOf(error) }, 'a result is larger than the server takes');
    const message = `the result of the action has ${bytes} bytes, more than the server takes in one message`;
    const response = ExecuteResponse.fromPartial({ status: { code: Code.INVALID_ARGUMENT, message } });
    holding.completed = { response, isWorkerFault: false, isExhausted: false };
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    if (ms <= 0 || signal.aborted) return;
    await sleep(this.#system.clock, ms, signal).catch(() => undefined);
  }
}

/** Without the stack: a server that is away is no fault to be hunted. */
function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A bug of ours ended the lease. */
const UNEXPECTED: LeaseOutcome = {
  response: ExecuteResponse.fromPartial({ status: { code: Code.INTERNAL, message: 'the worker failed' } }),
  isWorkerFault: true,
  isExhausted: false,
};

/**
 * Whether the orders are for what the slot holds already. Schedulers without lease ids name work only when it is not
 * what the slot reported (R-BB-06), so there it is always another attempt.
 */
function isSameLease(holding: Holding, orders: WorkerOrders | undefined): boolean {
  return orders !== undefined && orders.leaseId !== '' && orders.leaseId === holding.orders?.leaseId;
}

function joinInstance(prefix: string, suffix: string): string {
  return prefix === '' || suffix === '' ? prefix + suffix : `${prefix}/${suffix}`;
}
