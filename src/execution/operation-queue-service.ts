import { type Authorizer, demand } from '../auth/authorizer.ts';
import { EMBEDDED_WORKER } from '../auth/principal.ts';
import type { ActionKey } from '../digest/action-key.ts';
import { type Digest, digestFromWire, digestToWire, sameDigest } from '../digest/digest.ts';
import { type DigestFunction, digestFunctionToWire, resolveDigestFunction } from '../digest/digest-function.ts';
import { type InstanceName, parseInstanceName } from '../digest/instance-name.ts';
import { ReapiError } from '../errors.ts';
import { type ExecuteResponse, RequestMetadata } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { NextAction, WorkerReport } from '../gen/gantry/v1/worker.ts';
import { Code } from '../gen/google/rpc/code.ts';
import {
  type CurrentState,
  OperationQueueDefinition,
  type SynchronizeRequest,
  SynchronizeResponse,
} from '../gen/pkg/proto/remoteworker/remoteworker.ts';
import { type CacheSketch, isWellFormed } from '../platform/locality.ts';
import type { PlatformMatcher } from '../platform/platform.ts';
import { packAny } from '../rpc/any.ts';
import type { Call } from '../rpc/call.ts';
import { type Method, unary } from '../rpc/methods.ts';
import type { Clock } from '../system/clock.ts';
import { verdictOf } from './attempt-verdict.ts';
import { queueLabels, suffixOf } from './build-queue-state/queue-name.ts';
import type { ExecutionReport, ExecutionWork } from './execution-work.ts';
import { ranMsOf } from './history/ran-ms.ts';
import { timestampOf } from './operations/wire-times.ts';
import type { LeaseHint, LeaseOrder, LeaseReport } from './scheduler/events.ts';
import { serves } from './scheduler/placement.ts';
import type { SchedulerHost } from './scheduler-host.ts';
import { WorkerOffers } from './worker-offers.ts';

/** What the service works with. */
export interface OperationQueueParts {
  readonly host: SchedulerHost;
  readonly matcher: PlatformMatcher;
  readonly authorizer: Authorizer;
  readonly clock: Clock;
  /** How long an idle slot waits for work in one call (R-BB-02: at most 2 minutes). */
  readonly pollMs: number;
  /** When a busy slot is to report again (R-BB-04). */
  readonly reportIntervalMs: number;
  /** Aborts when the server begins to stop: from then on slots get no work and are not kept waiting. */
  readonly stopping: AbortSignal;
  /** Workers that say nothing of it are taken to hash with these. */
  readonly defaultDigestFunctions: readonly DigestFunction[];
}

/** A worker's identity has at most so many entries. */
const MAX_WORKER_ID_ENTRIES = 32;

/** What a slot says of itself, identity and offers together, is kept while it lives. In characters; real ones have hundreds. */
const MAX_SLOT_CHARACTERS = 64 * 1024;

/** Platforms that a slot may offer instead of each other: every action is compared with each. Ours has 17 at most. */
const MAX_OFFERS = 64;

/** Digest functions that a slot may list: more than there are. */
const MAX_DIGEST_FUNCTIONS = 64;

/** How soon a slot may ask a server that is stopping again. */
const STOPPING_PAUSE_MS = 1_000;

/** Orders that can be sent. */
type Order = LeaseOrder<ExecutionWork> & { readonly work: ExecutionWork };

/** Buildbarn's `OperationQueue`: the worker protocol (R-BB-01 … R-BB-20). */
export function operationQueueMethods(parts: OperationQueueParts): Method[] {
  const offers = new WorkerOffers(parts.matcher, parts.defaultDigestFunctions);
  return [
    unary(OperationQueueDefinition, OperationQueueDefinition.methods.synchronize, (request, call) =>
      synchronize(parts, offers, request, call),
    ),
  ];
}

async function synchronize(
  parts: OperationQueueParts,
  offers: WorkerOffers,
  request: SynchronizeRequest,
  call: Call,
): Promise<SynchronizeResponse> {
  const prefix = parseInstanceName(request.instanceNamePrefix);
  await demand(parts.authorizer, call.principal, 'worker', prefix);
  const { slot, node } = identityOf(request);
  refuseTooLong(slot, request);
  const holding = reportOf(request.currentState, request.gantry);
  refuseForeign(holding?.key, prefix);
  const cached = sketchOf(request.gantry);
  const prefersIdle = request.preferBeingIdle || parts.stopping.aborted;
  const mayWait = !prefersIdle && (holding === undefined || holding.completed !== undefined);
  const isOurs = request.gantry !== undefined;
  const offer = offers.read(request);
  const { hold, next, exits } = await parts.host.synchronize(
    {
      type: 'sync',
      slot,
      node,
      labels: queueLabels(request.workerId, prefix, offer),
      offer,
      instancePrefix: prefix,
      prefersIdle,
      ...(request.gantry && request.gantry.incarnation !== '' && { incarnation: request.gantry.incarnation }),
      // The embedded one is started again by its server.
      canExit: isOurs && call.principal.name !== EMBEDDED_WORKER.name,
      prefetches: isOurs,
      ...(holding && { holding }),
      ...(cached && { cached }),
    },
    mayWait ? parts.pollMs : 0,
    AbortSignal.any([call.signal, parts.stopping]),
  );
  if (hold === undefined) {
    // Nothing more will come of it: without this it would count as there until it has been silent for long enough.
    if (request.gantry?.leaving) parts.host.apply({ type: 'leave', slot });
    return idleResponse(parts, exits ?? false);
  }
  const isUnderWay = holding !== undefined && holding.completed === undefined && isSameLease(hold, holding);
  if (isUnderWay) return carryOn(parts, next);
  const { work } = hold;
  // What nobody asked this server for cannot be told anew.
  return work === undefined ? idleResponse(parts, false) : workResponse(parts, { ...hold, work }, prefix);
}

/**
 * The slot and the node it belongs to. Buildbarn tells workers apart by their platform too (R-BB-01); ours may come
 * back with other properties and is still the same slot.
 */
function identityOf(request: SynchronizeRequest): { readonly slot: string; readonly node: string } {
  const entries = Object.entries(request.workerId).sort(([a], [b]) => (a < b ? -1 : 1));
  if (entries.length === 0) throw invalid('worker_id is empty', 'worker_id');
  if (entries.length > MAX_WORKER_ID_ENTRIES) throw invalid('worker_id has too many entries', 'worker_id');
  const isOurs = request.gantry !== undefined;
  const platform = isOurs ? [] : (request.platform?.properties ?? []).map(({ name, value }) => pair(name, value));
  const who = entries.map(([name, value]) => pair(name, value)).join(',');
  const { instanceNamePrefix, sizeClass } = request;
  // Words without `=` cannot be taken for a pair.
  const under = instanceNamePrefix === '' ? [] : [`under ${encodeURIComponent(instanceNamePrefix)}`];
  const size = sizeClass === 0 ? [] : [`class ${sizeClass}`];
  const slot = [who, ...platform, ...under, ...size].join(' ');
  const node = entries.flatMap(([name, value]) => (name === 'thread' ? [] : [pair(name, value)])).join(',');
  return { slot, node };
}

function refuseTooLong(slot: string, { platform, gantry }: SynchronizeRequest): void {
  const { offers = [], digestFunctions = [], incarnation = '', leaseId = '' } = gantry ?? {};
  if (offers.length > MAX_OFFERS) throw invalid(`there are more than ${MAX_OFFERS} offers`, 'gantry.offers');
  if (digestFunctions.length > MAX_DIGEST_FUNCTIONS) {
    throw invalid(`there are more than ${MAX_DIGEST_FUNCTIONS} digest functions`, 'gantry.digest_functions');
  }
  const sets = [platform?.properties ?? [], ...offers.map(({ properties }) => properties)];
  const pairs = sets.flat();
  const own = slot.length + incarnation.length + leaseId.length;
  const characters = pairs.reduce((sum, { name, value }) => sum + name.length + value.length, own);
  // An empty set or property takes room too.
  if (characters + sets.length + pairs.length <= MAX_SLOT_CHARACTERS) return;
  throw invalid(`worker_id and properties have more than ${MAX_SLOT_CHARACTERS} characters together`, 'worker_id');
}

/** For people to read, and still different for different workers. */
function pair(name: string, value: string): string {
  return `${encodeURIComponent(name)}=${encodeURIComponent(value)}`;
}

function reportOf(
  current: CurrentState | undefined,
  own: WorkerReport | undefined,
): LeaseReport<ExecutionReport> | undefined {
  const state = current?.workerState;
  if (state === undefined) throw invalid('current_state is required', 'current_state');
  if (state.$case === 'idle') return undefined;
  const { actionDigest, executionState } = state.value;
  const fn = resolveDigestFunction(own?.running?.digestFunction ?? 0, actionDigest?.hash.length);
  const action = digestFromWire(fn, actionDigest, 'current_state.executing.action_digest');
  if (executionState === undefined) throw invalid('the execution state is required', 'current_state.executing');
  const known = own === undefined || own.leaseId === '' ? {} : { lease: own.leaseId, ...keyOf(own, action) };
  if (executionState.$case !== 'completed') return { action, ...known };
  const response = saidOf(executionState.value);
  const isRecordedByWorker = own === undefined || !own.serverRecordsResult;
  const ranMs = ranMsOf(response.result?.executionMetadata);
  const completed = {
    result: { response, isRecordedByWorker },
    ...verdictOf(response, own?.exhausted ?? false),
    ...(ranMs !== undefined && { ranMs }),
  };
  return { action, ...known, completed };
}

/** Done with neither a result nor an error would crash Bazel (R-EX-04). */
function saidOf(response: ExecuteResponse): ExecuteResponse {
  if (response.result !== undefined || (response.status?.code ?? Code.OK) !== Code.OK) return response;
  return { ...response, status: { code: Code.INTERNAL, message: 'the worker sent no result', details: [] } };
}

/** Ours says the whole key, so that a server that was started again can adopt the work. */
function keyOf({ running }: WorkerReport, action: Digest): { readonly key?: ActionKey } {
  return running === undefined ? {} : { key: { instance: parseInstanceName(running.instanceName), action } };
}

/** Whoever may work under one instance name must not answer the clients of another. */
function refuseForeign(key: ActionKey | undefined, prefix: InstanceName): void {
  if (key === undefined || serves(prefix, key.instance)) return;
  throw invalid('the action is of an instance name that the worker does not serve', 'gantry.running.instance_name');
}

function sketchOf(own: WorkerReport | undefined): CacheSketch | undefined {
  const cached = own?.cached;
  if (cached === undefined) return undefined;
  if (!isWellFormed(cached.bits, cached.hashes))
    throw invalid('the sketch of cached files is malformed', 'gantry.cached');
  // The message is a view of a larger buffer, and the sketch is kept.
  return { bits: Uint8Array.from(cached.bits), hashes: cached.hashes };
}

function isSameLease(order: LeaseOrder<ExecutionWork>, holding: LeaseReport<ExecutionReport>): boolean {
  if (!sameDigest(order.key.action, holding.action)) return false;
  return holding.lease === undefined || holding.lease === order.lease;
}

function carryOn(parts: OperationQueueParts, next: LeaseHint<ExecutionWork> | undefined): SynchronizeResponse {
  const atMs = parts.clock.nowMs() + parts.reportIntervalMs;
  return SynchronizeResponse.fromPartial({
    nextSynchronizationAt: timestampOf(atMs),
    ...(next && { gantry: { next: nextAction(next) } }),
  });
}

function nextAction({ key, work }: LeaseHint<ExecutionWork>): NextAction {
  return {
    actionDigest: digestToWire(key.action),
    digestFunction: digestFunctionToWire(key.action.function),
    instanceName: key.instance,
    inputRootDigest: work.action.inputRootDigest,
  };
}

/** Come back at once (R-BB-03); but not over and over while the server stops. */
function idleResponse({ clock, stopping }: OperationQueueParts, exits: boolean): SynchronizeResponse {
  return SynchronizeResponse.fromPartial({
    nextSynchronizationAt: timestampOf(clock.nowMs() + (stopping.aborted ? STOPPING_PAUSE_MS : 0)),
    desiredState: { workerState: { $case: 'idle', value: {} } },
    ...(exits && { directives: { exit: true } }),
  });
}

function workResponse(parts: OperationQueueParts, order: Order, prefix: InstanceName): SynchronizeResponse {
  const { clock } = parts;
  const { key, work } = order;
  const { requestMetadata } = work;
  const metadataName = 'build.bazel.remote.execution.v2.RequestMetadata';
  return SynchronizeResponse.fromPartial({
    nextSynchronizationAt: timestampOf(clock.nowMs() + parts.reportIntervalMs),
    desiredState: {
      workerState: {
        $case: 'executing',
        value: {
          actionDigest: digestToWire(key.action),
          action: work.action,
          queuedTimestamp: timestampOf(parts.host.wallMs(order.queuedAtMs)),
          auxiliaryMetadata:
            requestMetadata === undefined
              ? []
              : [packAny(metadataName, RequestMetadata.encode(requestMetadata).finish())],
          instanceNameSuffix: suffixOf(key.instance, prefix),
          digestFunction: digestFunctionToWire(key.action.function),
        },
      },
    },
    gantry: {
      leaseId: order.lease,
      serverRecordsResult: true,
      attempt: order.attempt,
      instanceName: key.instance,
    },
  });
}

function invalid(message: string, field: string): ReapiError {
  return new ReapiError('invalid-argument', message, { field });
}
