import { type Authorizer, demand, type Permission } from '../auth/authorizer.ts';
import { type ActionKey, actionKeyText } from '../digest/action-key.ts';
import { digestFromWire, digestPath } from '../digest/digest.ts';
import { resolveDigestFunction } from '../digest/digest-function.ts';
import { type InstanceNames, parseInstanceName } from '../digest/instance-name.ts';
import { ReapiError, throwIfAborted } from '../errors.ts';
import type { DrainEvent } from '../execution/scheduler/events.ts';
import {
  type ExplainActionRequest,
  type ExplainActionResponse,
  FleetDefinition,
  type FleetSnapshot,
  type ForgiveNodeRequest,
  type MatchingSlots,
  type OperationExplanation,
  type ReleaseActionRequest,
  type SlotPattern,
  type TerminateNodesRequest,
  type TerminateNodesUpdate,
  type WatchFleetRequest,
} from '../gen/gantry/v1/fleet.ts';
import type { Call } from '../rpc/call.ts';
import { type Method, serverStreaming, unary } from '../rpc/methods.ts';
import { type Clock, sleep } from '../system/clock.ts';
import { DEFAULT_LISTED, type FleetSnapshots, MAX_LISTED } from './fleet-snapshots.ts';
import { type ExplanationSource, OperationExplanations } from './operation-explanations.ts';
import { checkedReason, isSamePattern, matchingSlots, patternFromWire, patternText } from './slot-patterns.ts';

/** What operators make the scheduler do. */
export type FleetEvent =
  | DrainEvent
  | { readonly type: 'forgive'; readonly node: string }
  | { readonly type: 'release'; readonly key: ActionKey };

/** What the service works on. */
export interface FleetParts extends ExplanationSource {
  readonly snapshots: Pick<FleetSnapshots<never>, 'get' | 'forget'>;
  /** Gives the scheduler an event; its view has changed when this returns. One drain too many changes nothing. */
  readonly apply: (event: FleetEvent) => void;
  readonly authorizer: Authorizer;
  readonly instances: InstanceNames;
  readonly clock: Clock;
  /** Aborts when the server begins to stop: streams do not outlast that. */
  readonly stopping: AbortSignal;
}

/** Most streams at a time, watching and waiting together. */
export const MAX_FLEET_STREAMS = 64;

/** Bounds of the time between two snapshots of a stream. */
const MIN_INTERVAL_MS = 500;
const MAX_INTERVAL_MS = 60_000;
const DEFAULT_INTERVAL_MS = 1_000;

/** How often it is looked whether slots that terminate hold something. */
const TERMINATE_CHECK_MS = 500;

/** Longest wait for slots to terminate. */
const MAX_WAIT_SECONDS = 86_400;

/** The fleet belongs to no instance name: whoever may operate under the empty one may operate it. */
const EVERYWHERE = parseInstanceName('');

/** `gantry.v1.Fleet`. What only looks asks for `operate`, what changes the fleet for `admin`. */
export function fleetMethods(parts: FleetParts): Method[] {
  const service = new FleetService(parts);
  const { methods } = FleetDefinition;
  return [
    unary(FleetDefinition, methods.explainOperation, ({ operation }, call) =>
      service.explainOperation(operation, call),
    ),
    unary(FleetDefinition, methods.explainAction, (request, call) => service.explainAction(request, call)),
    unary(FleetDefinition, methods.getFleet, async ({ limit, withNodes }, call) => {
      await service.admit('operate', call);
      return parts.snapshots.get({ limit: listed(limit), hasNodes: withNodes });
    }),
    serverStreaming(FleetDefinition, methods.watchFleet, (request, call) => service.watch(request, call)),
    unary(FleetDefinition, methods.drainNodes, async ({ pattern, reason }, call) => ({
      matching: await service.drain(pattern, reason, call),
    })),
    unary(FleetDefinition, methods.undrainNodes, async ({ pattern }, call) => ({
      matching: await service.undrain(pattern, call),
    })),
    serverStreaming(FleetDefinition, methods.terminateNodes, (request, call) => service.terminate(request, call)),
    unary(FleetDefinition, methods.forgiveNode, async (request, call) => {
      await service.forgive(request, call);
      return {};
    }),
    unary(FleetDefinition, methods.releaseAction, async (request, call) => {
      await service.release(request, call);
      return {};
    }),
  ];
}

class FleetService {
  readonly #parts: FleetParts;
  readonly #explanations: OperationExplanations;
  #streams = 0;

  constructor(parts: FleetParts) {
    this.#parts = parts;
    this.#explanations = new OperationExplanations(parts);
  }

  /** @throws denied. */
  admit(what: Permission, call: Call, where = EVERYWHERE): Promise<void> {
    return demand(this.#parts.authorizer, call.principal, what, where);
  }

  async explainOperation(name: string, call: Call): Promise<OperationExplanation> {
    if (name === '') throw new ReapiError('invalid-argument', 'operation is required', { field: 'operation' });
    const found = await this.#explanations.find(name, call.signal);
    await this.admit('operate', call, found.key.instance);
    return found.explain();
  }

  async explainAction(request: ExplainActionRequest, call: Call): Promise<ExplainActionResponse> {
    const key = this.#keyOf(request);
    await this.admit('operate', call, key.instance);
    return this.#explanations.ofAction(key, call.signal);
  }

  async *watch(request: WatchFleetRequest, call: Call): AsyncGenerator<FleetSnapshot, void> {
    await this.admit('operate', call);
    const { snapshots, clock } = this.#parts;
    const selection = { limit: listed(request.limit), hasNodes: request.withNodes };
    const wantedMs = request.intervalMs === 0 ? DEFAULT_INTERVAL_MS : request.intervalMs;
    const intervalMs = Math.min(Math.max(wantedMs, MIN_INTERVAL_MS), MAX_INTERVAL_MS);
    yield* this.#streaming(call, async function* (signal) {
      for (;;) {
        throwIfAborted(signal);
        yield snapshots.get(selection);
        await sleep(clock, intervalMs, signal);
      }
    });
  }

  async drain(pattern: SlotPattern | undefined, reason: string, call: Call): Promise<MatchingSlots> {
    await this.admit('admin', call);
    return this.#drain({ pattern: patternFromWire(pattern), reason, isTermination: false });
  }

  async undrain(pattern: SlotPattern | undefined, call: Call): Promise<MatchingSlots> {
    await this.admit('admin', call);
    const labels = patternFromWire(pattern);
    const { apply, snapshots, view } = this.#parts;
    if (!view.drains().some((drain) => isSamePattern(drain.pattern, labels))) {
      throw new ReapiError('not-found', `there is no drain of exactly ${patternText(labels)}`);
    }
    apply({ type: 'drain', pattern: labels, on: false });
    snapshots.forget();
    return matchingSlots(view, labels);
  }

  async *terminate(request: TerminateNodesRequest, call: Call): AsyncGenerator<TerminateNodesUpdate, void> {
    const { pattern, reason, waitSeconds } = request;
    if (!(waitSeconds >= 0 && waitSeconds <= MAX_WAIT_SECONDS)) {
      const message = `wait_seconds is not between 0 and ${MAX_WAIT_SECONDS}`;
      throw new ReapiError('invalid-argument', message, { field: 'wait_seconds' });
    }
    await this.admit('admin', call);
    const { clock, view } = this.#parts;
    const labels = patternFromWire(pattern);
    const first = this.#drain({ pattern: labels, reason, isTermination: true });
    const untilMs = clock.monotonicMs() + waitSeconds * 1000;
    yield { matching: first, isDone: first.busySlots === 0 };
    if (first.busySlots === 0 || waitSeconds === 0) return;
    yield* this.#streaming(call, async function* (signal) {
      let told = first.busySlots;
      for (;;) {
        const leftMs = untilMs - clock.monotonicMs();
        if (leftMs <= 0) return;
        await sleep(clock, Math.min(TERMINATE_CHECK_MS, leftMs), signal);
        const matching = matchingSlots(view, labels);
        const { busySlots } = matching;
        if (busySlots !== told || busySlots === 0) yield { matching, isDone: busySlots === 0 };
        if (busySlots === 0) return;
        told = busySlots;
      }
    });
  }

  async forgive({ node }: ForgiveNodeRequest, call: Call): Promise<void> {
    await this.admit('admin', call);
    const { apply, snapshots, view } = this.#parts;
    if (!view.isolated().some((isolated) => isolated.node === node)) {
      throw new ReapiError('not-found', `the node "${node}" is not isolated`);
    }
    apply({ type: 'forgive', node });
    snapshots.forget();
  }

  async release(request: ReleaseActionRequest, call: Call): Promise<void> {
    const key = this.#keyOf(request);
    await this.admit('admin', call, key.instance);
    const { apply, snapshots, view } = this.#parts;
    const text = actionKeyText(key);
    if (!view.quarantined().some((quarantined) => actionKeyText(quarantined.key) === text)) {
      const where = `under the instance name "${key.instance}"`;
      throw new ReapiError('not-found', `the action ${digestPath(key.action)} is not in quarantine ${where}`);
    }
    apply({ type: 'release', key });
    snapshots.forget();
  }

  /** @throws quota-exceeded: there are too many drains. */
  #drain({ pattern, reason, isTermination }: Omit<Required<DrainEvent>, 'type' | 'on'>): MatchingSlots {
    const { apply, snapshots, view } = this.#parts;
    apply({ type: 'drain', pattern, on: true, reason: checkedReason(reason), isTermination });
    snapshots.forget();
    const drains = view.drains();
    if (!drains.some((drain) => isSamePattern(drain.pattern, pattern))) {
      throw new ReapiError('quota-exceeded', `${drains.length} drains are in force; no more are taken, end one first`);
    }
    return matchingSlots(view, pattern);
  }

  /** Counts a stream, and ends it with its call or the server. @throws quota-exceeded: there are too many. */
  async *#streaming<T>(call: Call, make: (signal: AbortSignal) => AsyncGenerator<T, void>): AsyncGenerator<T, void> {
    if (this.#streams >= MAX_FLEET_STREAMS) {
      throw new ReapiError('quota-exceeded', `${MAX_FLEET_STREAMS} streams watch the fleet already`);
    }
    this.#streams++;
    try {
      yield* make(AbortSignal.any([call.signal, this.#parts.stopping]));
    } finally {
      this.#streams--;
    }
  }

  #keyOf(request: ExplainActionRequest | ReleaseActionRequest): ActionKey {
    const instance = this.#parts.instances.resolve(request.instanceName);
    const fn = resolveDigestFunction(request.digestFunction, request.actionDigest?.hash.length);
    return { instance, action: digestFromWire(fn, request.actionDigest, 'action_digest') };
  }
}

/** How many entries of each list are meant. @throws invalid-argument. */
function listed(limit: number): number {
  if (limit < 0) throw new ReapiError('invalid-argument', 'limit is negative', { field: 'limit' });
  return limit === 0 ? DEFAULT_LISTED : Math.min(limit, MAX_LISTED);
}
