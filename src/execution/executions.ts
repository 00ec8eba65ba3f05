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
import type { Log } from '../system/log.ts';
import type { ExecutionReport } from './execution-work.ts';
import { type InputLeases, inputsOf } from './input-leases.ts';
import type { OperationState, Operations } from './operations.ts';
import type { ActionPreparer } from './prepare-action.ts';
import type { MergePolicy, Outcome } from './scheduler/events.ts';
import type { SchedulerHost } from './scheduler-host.ts';

/** What one Execute call asks for. */
export interface ExecutionRequest {
  readonly key: ActionKey;
  readonly skipCacheLookup: boolean;
  /** Lower runs sooner (R-EX-24). */
  readonly priority: number;
  readonly requestMetadata: RequestMetadata | undefined;
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
  /** Keeps the inputs of what is queued or runs. */
  readonly inputs?: InputLeases;
  /** How a failure is said inside a response. */
  readonly statusOf: (error: unknown) => Status;
  readonly log: Log;
}

interface Live {
  readonly request: ExecutionRequest;
  readonly abort: AbortController;
  isSubmitted: boolean;
  isWatched: boolean;
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
    const state = this.#parts.operations.create(request.key);
    const live: Live = { request, abort: new AbortController(), isSubmitted: false, isWatched: true };
    this.#live.set(state.name, live);
    this.#track(this.#begin(state.name, live));
    return state;
  }

  /** Cancels one caller's operation; others that share the task go on (R-OP-02). @throws operation-not-found. */
  cancel(name: string): void {
    const { stage } = this.#parts.operations.get(name);
    const live = this.#live.get(name);
    if (stage === 'completed' || live === undefined) return;
    if (live.isSubmitted) this.#parts.host.apply({ type: 'cancel', operation: name });
    else live.abort.abort(new ReapiError('cancelled', 'the operation was cancelled'));
  }

  /** The scheduler's word that an operation is over. */
  finished(name: string, outcome: Outcome<ExecutionReport>): void {
    const live = this.#live.get(name);
    if (live !== undefined) this.#track(this.#answer(name, live, outcome));
  }

  /** Waits for the answers being made. */
  async settle(): Promise<void> {
    for (const live of this.#live.values()) {
      if (!live.isSubmitted) live.abort.abort(new ReapiError('unavailable', 'the server is stopping'));
    }
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
  }

  async #begin(name: string, live: Live): Promise<void> {
    try {
      const cached = await this.#prepareAndSubmit(name, live);
      if (cached === undefined) return;
      this.#complete(name, okResponse(await live.request.inline(cached, live.abort.signal), true));
    } catch (error) {
      this.#complete(name, this.#failedResponse(whatEnded(live, error)));
    }
  }

  /** In the order of R-EX-13. Returns a cached result instead of submitting. */
  async #prepareAndSubmit(name: string, live: Live): Promise<ActionResult | undefined> {
    const { preparer, host, lookUp, observer, inputs } = this.#parts;
    const { request } = live;
    const { signal } = live.abort;
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
      const { work, needs } = await preparer.prepare(request.key, action, signal);
      signal.throwIfAborted();
      inputs?.hold(name, inputsOf(request.key.action, action));
      live.isSubmitted = true;
      host.apply({
        type: 'submit',
        operation: name,
        key: request.key,
        needs,
        priority: request.priority,
        merge: mergePolicy(request.skipCacheLookup, action.doNotCache),
        work: { ...work, requestMetadata: request.requestMetadata },
      });
      if (!live.isWatched) host.apply({ type: 'detach', operation: name });
      return undefined;
    } catch (error) {
      this.#endedWithout(request, whatEnded(live, error));
      throw error;
    }
  }

  async #answer(name: string, live: Live, outcome: Outcome<ExecutionReport>): Promise<void> {
    try {
      this.#complete(name, await this.#responseOf(live, outcome));
    } catch (error) {
      this.#complete(name, this.#failedResponse(error));
    }
  }

  async #responseOf(live: Live, outcome: Outcome<ExecutionReport>): Promise<ExecuteResponse> {
    if (outcome.type === 'failed') {
      this.#endedWithout(live.request, outcome.error);
      return this.#failedResponse(outcome.error);
    }
    const { response } = outcome.result;
    const result = response.result && (await live.request.inline(response.result, live.abort.signal));
    const notRecorded = outcome.recordFailed && `the result could not be cached: ${outcome.recordFailed.message}`;
    const message = [response.message, notRecorded].filter((text) => text !== undefined && text !== '').join('\n');
    return { ...response, result, cachedResult: false, message };
  }

  /** Tells that there is no result to keep. */
  #endedWithout({ key, requestMetadata }: ExecutionRequest, error: unknown): void {
    const cause = executionCauseOf(error instanceof ReapiError ? error.kind : 'internal');
    this.#parts.observer?.notStored(key, cause, requestMetadata);
  }

  #failedResponse(error: unknown): ExecuteResponse {
    if (!(error instanceof ReapiError)) this.#parts.log.error({ err: error }, 'an execution failed by a fault of ours');
    const status = this.#parts.statusOf(error);
    return ExecuteResponse.fromPartial({ status, message: status.message });
  }

  #complete(name: string, response: ExecuteResponse): void {
    this.#live.delete(name);
    this.#parts.inputs?.release(name);
    // The encoder's buffer may be larger than what it wrote.
    const encoded = Uint8Array.from(ExecuteResponse.encode(response).finish());
    this.#parts.operations.finish(name, encoded);
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
function whatEnded({ abort }: Live, error: unknown): unknown {
  return abort.signal.aborted ? abort.signal.reason : error;
}

function okResponse(result: ActionResult, cachedResult: boolean): ExecuteResponse {
  return ExecuteResponse.fromPartial({ result, cachedResult, status: { code: 0 } });
}

function mergePolicy(skipCacheLookup: boolean, doNotCache: boolean): MergePolicy {
  if (doNotCache) return 'never';
  return skipCacheLookup ? 'fresh' : 'any';
}
