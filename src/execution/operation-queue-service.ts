import { type Authorizer, demand } from '../auth/authorizer.ts';
import { digestFromWire, digestToWire, sameDigest } from '../digest/digest.ts';
import {
  DIGEST_FUNCTIONS,
  type DigestFunction,
  digestFunctionToWire,
  resolveDigestFunction,
} from '../digest/digest-function.ts';
import { type InstanceName, parseInstanceName } from '../digest/instance-name.ts';
import { ReapiError } from '../errors.ts';
import { type ExecuteResponse, RequestMetadata } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { WorkerReport } from '../gen/gantry/v1/worker.ts';
import { Code } from '../gen/google/rpc/code.ts';
import {
  type CurrentState,
  OperationQueueDefinition,
  type SynchronizeRequest,
  SynchronizeResponse,
} from '../gen/pkg/proto/remoteworker/remoteworker.ts';
import type { PlatformMatcher, WorkerOffer } from '../platform/platform.ts';
import { packAny } from '../rpc/any.ts';
import type { Call } from '../rpc/call.ts';
import { type Method, unary } from '../rpc/methods.ts';
import { kindOfCode } from '../rpc/status.ts';
import type { Clock } from '../system/clock.ts';
import type { ExecutionReport, ExecutionWork } from './execution-work.ts';
import type { LeaseOrder, LeaseReport } from './scheduler/events.ts';
import type { SchedulerHost } from './scheduler-host.ts';

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

/** How soon a slot may ask a server that is stopping again. */
const STOPPING_PAUSE_MS = 1_000;

type Order = LeaseOrder<ExecutionWork>;

/** Buildbarn's `OperationQueue`: the worker protocol (R-BB-01 … R-BB-20). */
export function operationQueueMethods(parts: OperationQueueParts): Method[] {
  return [
    unary(OperationQueueDefinition, OperationQueueDefinition.methods.synchronize, (request, call) =>
      synchronize(parts, request, call),
    ),
  ];
}

async function synchronize(
  parts: OperationQueueParts,
  request: SynchronizeRequest,
  call: Call,
): Promise<SynchronizeResponse> {
  const prefix = parseInstanceName(request.instanceNamePrefix);
  await demand(parts.authorizer, call.principal, 'worker', prefix);
  const { slot, node } = identityOf(request);
  refuseTooLong(slot, request);
  const holding = reportOf(request.currentState, request.gantry);
  const prefersIdle = request.preferBeingIdle || parts.stopping.aborted;
  const mayWait = !prefersIdle && (holding === undefined || holding.completed !== undefined);
  const order = await parts.host.synchronize(
    {
      type: 'sync',
      slot,
      node,
      offer: offerOf(parts, request),
      instancePrefix: prefix,
      prefersIdle,
      ...(holding === undefined ? {} : { holding }),
    },
    mayWait ? parts.pollMs : 0,
    AbortSignal.any([call.signal, parts.stopping]),
  );
  if (order === undefined) return idleResponse(parts);
  const isUnderWay = holding !== undefined && holding.completed === undefined && isSameLease(order, holding);
  return isUnderWay ? carryOn(parts) : workResponse(parts, order, prefix);
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
  const sets = [platform?.properties ?? [], ...(gantry?.offers ?? []).map(({ properties }) => properties)];
  const pairs = sets.flat();
  const characters = pairs.reduce((sum, { name, value }) => sum + name.length + value.length, slot.length);
  // An empty set or property takes room too.
  if (characters + sets.length + pairs.length <= MAX_SLOT_CHARACTERS) return;
  throw invalid(`worker_id and properties have more than ${MAX_SLOT_CHARACTERS} characters together`, 'worker_id');
}

/** For people to read, and still different for different workers. */
function pair(name: string, value: string): string {
  return `${encodeURIComponent(name)}=${encodeURIComponent(value)}`;
}

function offerOf(parts: OperationQueueParts, request: SynchronizeRequest): WorkerOffer {
  const own = request.gantry;
  const platform = request.platform?.properties ?? [];
  const sets = own !== undefined && own.offers.length > 0 ? own.offers.map((offer) => offer.properties) : [platform];
  return {
    alternatives: sets.map((properties) => parts.matcher.parseOffer(properties)),
    digestFunctions:
      own === undefined || own.digestFunctions.length === 0
        ? parts.defaultDigestFunctions
        : DIGEST_FUNCTIONS.filter((fn) => own.digestFunctions.includes(digestFunctionToWire(fn))),
    legacyOutputs: own?.legacyOutputs ?? false,
  };
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
  const lease = own === undefined || own.leaseId === '' ? {} : { lease: own.leaseId };
  if (executionState.$case !== 'completed') return { action, ...lease };
  const response = executionState.value;
  const isRecordedByWorker = own === undefined || !own.serverRecordsResult;
  const completed = { result: { response, isRecordedByWorker }, isWorkerFault: isWorkerFault(response) };
  return { action, ...lease, completed };
}

/** Faults of the machinery, where another worker may do better. A timeout or a bad Command would fail again. */
function isWorkerFault(response: ExecuteResponse): boolean {
  const code = response.status?.code ?? Code.OK;
  // Done without a result would crash Bazel (R-EX-04).
  if (code === Code.OK) return response.result === undefined;
  const kind = kindOfCode(code);
  return kind === 'internal' || kind === 'unavailable' || kind === 'data-loss';
}

function isSameLease(order: Order, holding: LeaseReport<ExecutionReport>): boolean {
  if (!sameDigest(order.key.action, holding.action)) return false;
  return holding.lease === undefined || holding.lease === order.lease;
}

function carryOn(parts: OperationQueueParts): SynchronizeResponse {
  const atMs = parts.clock.nowMs() + parts.reportIntervalMs;
  return SynchronizeResponse.fromPartial({ nextSynchronizationAt: timestampOf(atMs) });
}

/** Come back at once (R-BB-03); but not over and over while the server stops. */
function idleResponse({ clock, stopping }: OperationQueueParts): SynchronizeResponse {
  return SynchronizeResponse.fromPartial({
    nextSynchronizationAt: timestampOf(clock.nowMs() + (stopping.aborted ? STOPPING_PAUSE_MS : 0)),
    desiredState: { workerState: { $case: 'idle', value: {} } },
  });
}

function workResponse(parts: OperationQueueParts, order: Order, prefix: InstanceName): SynchronizeResponse {
  const { clock } = parts;
  const { key, work } = order;
  const queuedAtMs = clock.nowMs() - (clock.monotonicMs() - order.queuedAtMs);
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
          queuedTimestamp: timestampOf(queuedAtMs),
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

/** R-BB-14. */
function suffixOf(instance: InstanceName, prefix: InstanceName): string {
  if (prefix === '') return instance;
  return instance.slice(prefix.length).replace(/^\//, '');
}

function timestampOf(wallMs: number): { seconds: bigint; nanos: number } {
  const seconds = Math.floor(wallMs / 1000);
  return { seconds: BigInt(seconds), nanos: Math.floor((wallMs - seconds * 1000) * 1e6) };
}

function invalid(message: string, field: string): ReapiError {
  return new ReapiError('invalid-argument', message, { field });
}
