import { digestToWire } from '../digest/digest.ts';
import { DIGEST_FUNCTIONS, digestFunctionToWire } from '../digest/digest-function.ts';
import type { InstanceName } from '../digest/instance-name.ts';
import type { CachedFiles, WorkerOrders, WorkerReport } from '../gen/gantry/v1/worker.ts';
import { type CurrentState_Executing, SynchronizeRequest } from '../gen/pkg/proto/remoteworker/remoteworker.ts';
import type { PlatformProperty } from '../platform/platform.ts';
import type { Lease, LeaseOutcome, LeaseStage } from './run-lease.ts';

/** Who the slot is and what it offers. */
export interface SlotOptions {
  /** Identity; all but `thread` is the node. */
  readonly workerId: Readonly<Record<string, string>>;
  readonly instanceNamePrefix: InstanceName;
  /** Sorted by name, then value (R-BB-17). */
  readonly properties: readonly PlatformProperty[];
  /** Further platforms, each instead of `properties` as a whole. */
  readonly alternatives: readonly (readonly PlatformProperty[])[];
  readonly sizeClass: number;
  /** Drawn anew by every process. */
  readonly incarnation: string;
}

/** What a slot holds, as far as the scheduler is told of it. */
export interface HeldLease {
  readonly lease: Lease;
  readonly orders: WorkerOrders | undefined;
  readonly stage: 'started' | LeaseStage;
  readonly completed: LeaseOutcome | undefined;
}

/** What a slot says: everything, every time (R-BW-02); only the cache is left out when it is known. */
export function slotReport(
  options: SlotOptions,
  held: HeldLease | undefined,
  now: { readonly prefersIdle: boolean; readonly isLeaving: boolean; readonly cached: CachedFiles | undefined },
): SynchronizeRequest {
  const { workerId, instanceNamePrefix, properties, sizeClass } = options;
  const request = SynchronizeRequest.create();
  request.workerId = { ...workerId };
  request.instanceNamePrefix = instanceNamePrefix;
  request.platform = { properties: [...properties] };
  request.sizeClass = sizeClass;
  request.preferBeingIdle = now.prefersIdle;
  request.currentState = {
    workerState: held ? { $case: 'executing', value: executing(held) } : { $case: 'idle', value: {} },
  };
  request.gantry = ownReport(held, options, now);
  return request;
}

function ownReport(
  held: HeldLease | undefined,
  { properties, alternatives, incarnation }: SlotOptions,
  now: { readonly isLeaving: boolean; readonly cached: CachedFiles | undefined },
): WorkerReport {
  return {
    protocolVersion: 1,
    running: held && {
      instanceName: held.lease.key.instance,
      actionDigest: digestToWire(held.lease.key.action),
      digestFunction: digestFunctionToWire(held.lease.key.action.function),
    },
    leaseId: held?.orders?.leaseId ?? '',
    offers: alternatives.length === 0 ? [] : [properties, ...alternatives].map((set) => ({ properties: [...set] })),
    serverRecordsResult: true,
    digestFunctions: DIGEST_FUNCTIONS.map(digestFunctionToWire),
    legacyOutputs: true,
    liveLogs: false,
    assetMounts: false,
    cached: now.cached,
    exhausted: held?.completed?.isExhausted ?? false,
    leaving: now.isLeaving,
    incarnation,
  };
}

function executing(held: HeldLease): CurrentState_Executing {
  return { actionDigest: digestToWire(held.lease.key.action), executionState: executionState(held) };
}

function executionState({ completed, stage }: HeldLease): CurrentState_Executing['executionState'] {
  if (completed !== undefined) return { $case: 'completed', value: completed.response };
  switch (stage) {
    case 'started':
      return { $case: 'started', value: {} };
    case 'fetching':
      return { $case: 'fetchingInputs', value: {} };
    case 'running':
      return { $case: 'running', value: {} };
    case 'uploading':
      return { $case: 'uploadingOutputs', value: {} };
  }
}
