import { executionCauseOf } from '../action-cache/misses/miss.ts';
import type { ResultObserver } from '../action-cache/misses/result-observer.ts';
import type { ActionKey } from '../digest/action-key.ts';
import { ReapiError } from '../errors.ts';
import {
  type ActionResult,
  ExecuteResponse,
  type RequestMetadata,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Status } from '../gen/google/rpc/status.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import { encodeResponse } from './encode-response.ts';
import { type ExecutionReport, historyKey } from './execution-work.ts';
import type { DurationHistory } from './history/duration-history.ts';
import { type InputLeases, inputsOf } from './input-leases.ts';
import { type Attempt, attemptsOf } from './operations/attempts.ts';
import type { OperationState, Operations } from './operations.ts';
import type { ActionPreparer, PreparedAction } from './prepare-action.ts';
import type { AttemptRecord, MergePolicy, Outcome } from './scheduler/events.ts';
import { attemptsText } from './scheduler/explanation-text.ts';
import type { HostEvent, SchedulerHost } from './scheduler-host.ts';
import type { ShareRules } from './share-rules.ts';

/** What one Execute call asks for. */
export interface ExecutionRequest {
  readonly key: ActionKey;
  readonly skipCacheLookup: boolean;
  /** Lower runs sooner (R-EX-24). */
  readonly priority: number;
  readonly requestMetadata: RequestMetadata | undefined;
  /** Name of the principal that asks. */
  readonly principal: string;
  /** Puts small outputs into the result as this caller asked (R-EX-26). */
  readonly inline: (result: ActionResult, signal: AbortSignal) => Promise<ActionResult>;
}

/** What executions work with. */
export interface ExecutionParts {
  readonly operations: Operations;
  readonly host: SchedulerHost;
  readonly preparer: ActionPreparer;
  /** A complete result, or undefined (R-EX-14). `metadata` is what the build tool says of the action. */
  readonly lookUp: (
    key: ActionKey,
    signal: AbortSignal,
    metadata: RequestMetadata | undefined,
  ) => Promise<ActionResult | undefined>;
  /** Is told of actions that run without a lookup, and of those that end without a result. */
  readonly observer?: ResultObserver;
  /** Whose share of the fleet an action is counted for. */
  readonly shares: ShareRules;
  /** What to expect of an action. */
  readonly history: DurationHistory;
  /** Keeps the inputs of what is queued or runs. */
  readonly inputs?: InputLeases;
  /** How a failure is said inside a response. */
  readonly statusOf: (error: unknown) => Status;
  /** Largest encoded response. */
  readonly maxResponseBytes: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** Longest that loading an action, looking it up and checking its inputs may take: nothing waits for ever. */
const MAX_PREPARATION_MS = 300_000;

/** Answers are not given up. */
const NEVER = new AbortController().signal;

type Submit = Extract<HostEvent, { readonly type: 'submit' }>;

interface Ended {
  readonly outcome: Outcome<ExecutionReport>;
  readonly attempts: readonly AttemptRecord[];
}

interface Live {
  readonly request: ExecutionRequest;
  /** Ends the preparation; gone once that is over, as there may be a hundred thousand in the queue. */
  abort: AbortController | undefined;
  isSubmitted: boolean;
  isWatched: boolean;
  /** An operator ended it, and its client is told this. */
  killedWith: Status | undefined;
}

/**
 * Carries operations from Execute to their response: cache check, preparation, queue, answer. An operation goes on
 * without its streams until the scheduler abandons it. Errors while running are in the response (R-EX-01, R-EX-02).
 */
export class Executions {
  readonly #parts: ExecutionParts;
  readonly #live = new Map<string, Live>();
  readonly #running = new Set<Promise<void>>();

  constructor(parts: ExecutionParts) {
    this.#parts = parts;
    parts.operations.observe({
      attached: (name) => this.#watched(name, true),
      detached: (name) => this.#watched(name, false),
    });
  }

  /** Begins an operation and returns at once (R-EX-05). @throws queue-full. */
  start(request: ExecutionRequest): OperationState {
    const { priority, requestMetadata } = request;
    const state = this.#parts.operations.create(request.key, { priority, requestMetadata });
    const abort = new AbortController();
    const live: Live = {
      request,
      abort,
      isSubmitted: false,
      isWatched: true,
      killedWith: undefined,
    };
    this.#live.set(state.name, live);
    this.#track(this.#begin(state.name, live, abort));
    return state;
  }

  /** Cancels one caller's operation; others that share the task go on (R-OP-02). @throws operation-not-found. */
  cancel(name: string, message = 'the operation was cancelled'): void {
    this.#parts.operations.get(name);
    const live = this.#live.get(name);
    if (live !== undefined) this.#end(name, live, message);
  }

  /**
   * An operator ends an operation: its client gets this status (R-OP-02). One that its client has deleted is not over yet (R-OP-04).
   * Does nothing if it is over or unknown.
   */
  kill(name: string, status: Status): void {
    const live = this.#live.get(name);
    if (live === undefined) return;
    live.killedWith = status;
    this.#end(name, live, status.message === '' ? 'an operator ended the operation' : status.message);
  }

  /** The scheduler's word that an operation is over. */
  finished(name: string, outcome: Outcome<ExecutionReport>, attempts: readonly AttemptRecord[]): void {
    const live = this.#live.get(name);
    if (live !== undefined) this.#track(this.#answer(name, live, { outcome, attempts }));
  }

  /** Waits for the answers being made. */
  async settle(): Promise<void> {
    for (const live of this.#live.values()) {
      if (!live.isSubmitted) live.abort?.abort(new ReapiError('unavailable', 'the server is stopping'));
    }
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
  }

  #end(name: string, live: Live, message: string): void {
    if (live.isSubmitted) this.#parts.host.apply({ type: 'cancel', operation: name, message });
    else live.abort?.abort(new ReapiError('cancelled', message));
  }

  async #begin(name: string, live: Live, abort: AbortController): Promise<void> {
    const { clock } = this.#parts;
    const limit = clock.wakeAt(clock.monotonicMs() + MAX_PREPARATION_MS, () =>
      abort.abort(new ReapiError('unavailable', 'preparing the action took too long', { retryAfterMs: 1_000 })),
    );
    try {
      const cached = await this.#prepareAndSubmit(name, live, abort.signal);
      if (cached === undefined) return;
      this.#complete(name, okResponse(await live.request.inline(cached, abort.signal), true));
    } catch (error) {
      this.#complete(name, this.#endedResponse(live, whatEnded(abort.signal, error)));
    } finally {
      limit.cancel();
    }
  }

  /** In the order of R-EX-13. Returns a cached result instead of submitting. */
  async #prepareAndSubmit(name: string, live: Live, signal: AbortSignal): Promise<ActionResult | undefined> {
    const { preparer, host, lookUp, observer, inputs } = this.#parts;
    const { request } = live;
    try {
      const action = await preparer.load(request.key, signal);
      if (request.skipCacheLookup || action.doNotCache) {
        const because = action.doNotCache ? 'do-not-cache' : 'skip-cache-lookup';
        observer?.skipped(request.key, because, request.requestMetadata);
      } else {
        const cached = await lookUp(request.key, signal, request.requestMetadata);
        if (cached?.exitCode === 0) return cached;
        if (cached !== undefined) observer?.skipped(request.key, 'failed-result', request.requestMetadata);
      }
      const prepared = await preparer.prepare(request.key, action, signal);
      signal.throwIfAborted();
      inputs?.hold(name, inputsOf(request.key.action, action));
      live.isSubmitted = true;
      live.abort = undefined;
      host.apply(this.#submission(name, request, prepared));
      if (!live.isWatched) host.apply({ type: 'detach', operation: name });
      return undefined;
    } catch (error) {
      this.#endedWithout(request, whatEnded(signal, error));
      throw error;
    }
  }

  #submission(name: string, request: ExecutionRequest, { work, needs, inputs }: PreparedAction): Submit {
    const { key, priority, requestMetadata, principal, skipCacheLookup } = request;
    const { history, shares } = this.#parts;
    const { expectedMs, sizeClass } = history.expect(requestMetadata, historyKey(work));
    return {
      ...{ type: 'submit', operation: name, key, needs, priority },
      merge: mergePolicy(skipCacheLookup, work.action.doNotCache),
      work: { ...work, requestMetadata },
      shares: shares.sharesOf(principal, requestMetadata),
      ...(expectedMs !== undefined && { expectedMs }),
      ...(sizeClass !== undefined && { sizeClass }),
      ...(inputs && { inputs }),
    };
  }

  async #answer(name: string, live: Live, { outcome, attempts }: Ended): Promise<void> {
    const kept = attemptsOf(attempts, (atMs) => this.#parts.host.wallMs(atMs));
    // What was tried before is said where clients show it (Bazel: --remote_print_execution_messages).
    const told = attempts.length > 1 || outcome.type === 'failed' ? attemptsText(attempts) : '';
    try {
      const response = await this.#responseOf(live, outcome);
      this.#complete(name, { ...response, message: lines(response.message, told) }, kept);
    } catch (error) {
      this.#complete(name, this.#failedResponse(error), kept);
    }
  }

  async #responseOf(live: Live, outcome: Outcome<ExecutionReport>): Promise<ExecuteResponse> {
    if (outcome.type === 'failed') {
      this.#endedWithout(live.request, outcome.error);
      return this.#endedResponse(live, outcome.error);
    }
    const { response } = outcome.result;
    const result = response.result && (await live.request.inline(response.result, NEVER));
    const { recordFailed } = outcome;
    const notRecorded = recordFailed === undefined ? '' : `the result could not be cached: ${recordFailed.message}`;
    return { ...response, result, cachedResult: false, message: lines(response.message, notRecorded) };
  }

  /** Tells that there is no result to keep. */
  #endedWithout({ key, requestMetadata }: ExecutionRequest, error: unknown): void {
    const cause = executionCauseOf(error instanceof ReapiError ? error.kind : 'internal');
    this.#parts.observer?.notStored(key, cause, requestMetadata);
  }

  /** With the status of the operator, if one ended it. */
  #endedResponse({ killedWith }: Live, error: unknown): ExecuteResponse {
    if (killedWith === undefined) return this.#failedResponse(error);
    const message = error instanceof ReapiError ? error.message : killedWith.message;
    return ExecuteResponse.fromPartial({ status: killedWith, message });
  }

  #failedResponse(error: unknown): ExecuteResponse {
    if (!(error instanceof ReapiError)) this.#parts.log.error({ err: error }, 'an execution failed by a fault of ours');
    const status = this.#parts.statusOf(error);
    return ExecuteResponse.fromPartial({ status, message: status.message });
  }

  #complete(name: string, response: ExecuteResponse, attempts: readonly Attempt[] = []): void {
    this.#live.delete(name);
    this.#parts.inputs?.release(name);
    this.#parts.operations.finish(name, this.#encoded(response), attempts);
  }

  #encoded(response: ExecuteResponse): Uint8Array {
    const { maxResponseBytes } = this.#parts;
    try {
      return encodeResponse(response, maxResponseBytes);
    } catch (error) {
      return encodeResponse(this.#failedResponse(error), maxResponseBytes);
    }
  }

  #watched(name: string, isWatched: boolean): void {
    const live = this.#live.get(name);
    if (live === undefined) return;
    live.isWatched = isWatched;
    if (live.isSubmitted) this.#parts.host.apply({ type: isWatched ? 'attach' : 'detach', operation: name });
  }

  #track(work: Promise<void>): void {
    const tracked: Promise<void> = work
      .catch((error: unknown) => this.#parts.log.error({ err: error }, 'an operation could not be answered'))
      .finally(() => this.#running.delete(tracked));
    this.#running.add(tracked);
  }
}

/** Why an operation that was not submitted yet could not be: it was cancelled, or `error`. */
function whatEnded(signal: AbortSignal, error: unknown): unknown {
  return signal.aborted ? signal.reason : error;
}

/** The texts that say something, one a line. */
function lines(...texts: readonly string[]): string {
  return texts.filter((text) => text !== '').join('\n');
}

function okResponse(result: ActionResult, cachedResult: boolean): ExecuteResponse {
  return ExecuteResponse.fromPartial({ result, cachedResult, status: { code: 0 } });
}

function mergePolicy(skipCacheLookup: boolean, doNotCache: boolean): MergePolicy {
  if (doNotCache) return 'never';
  return skipCacheLookup ? 'fresh' : 'any';
}
