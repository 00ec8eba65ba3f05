import { type Authorizer, demand, type Permission } from '../../auth/authorizer.ts';
import { type InstanceName, parseInstanceName } from '../../digest/instance-name.ts';
import { ReapiError } from '../../errors.ts';
import {
  BuildQueueStateDefinition,
  type GetOperationRequest,
  type GetOperationResponse,
  type KillOperationsRequest,
  type ListOperationsRequest,
  type ListOperationsResponse,
  type ListPlatformQueuesResponse,
  type PlatformQueueState,
  type SizeClassQueueName,
} from '../../gen/pkg/proto/buildqueuestate/buildqueuestate.ts';
import type { Call } from '../../rpc/call.ts';
import { type Method, unary } from '../../rpc/methods.ts';
import type { Clock } from '../../system/clock.ts';
import type { ExecutionWork } from '../execution-work.ts';
import type { FairnessOptions } from '../scheduler/options.ts';
import type { SchedulerView } from '../scheduler/view.ts';
import type { FleetActions } from './fleet-actions.ts';
import { InvocationIds } from './invocation-id.ts';
import { KeptTrees } from './kept-trees.ts';
import { listOperations, listQueuedOperations } from './operation-lists.ts';
import { type FinishedOperation, operationOfFinished } from './operation-state.ts';
import { addDrain, checkedPattern, killStatus, operationsWithoutWorkers, removeDrain } from './queue-changes.ts';
import { listDrains, listInvocationChildren, listPlatformQueues } from './queue-lists.ts';
import { queueFromWire } from './queue-name.ts';
import { required, Snapshot } from './snapshot.ts';
import { Terminations } from './terminations.ts';
import { WireClock } from './wire-clock.ts';
import { listWorkers, queueOfWorkers } from './worker-list.ts';

/** Operations that are over, as long as they are remembered. */
export interface FinishedOperations {
  /** Those that can be listed, in any order. */
  list(): Iterable<FinishedOperation>;
  /** Undefined if it is unknown, forgotten or unfinished. @throws unavailable; cancelled. */
  find(name: string, signal: AbortSignal): Promise<FinishedOperation | undefined>;
}

/** What the service works with. */
export interface BuildQueueStateParts {
  readonly view: SchedulerView<ExecutionWork>;
  readonly finished: FinishedOperations;
  readonly actions: FleetActions;
  /** The scheduler's time as wall time, in milliseconds. */
  readonly wallMs: (schedulerMs: number) => number;
  /** As the scheduler has them, to show whose turn it is. */
  readonly fairness: FairnessOptions;
  readonly authorizer: Authorizer;
  readonly clock: Clock;
  /** Aborts when the server begins to stop: whoever waits is told UNAVAILABLE at once (R-XC-11). */
  readonly stopping: AbortSignal;
}

/** A pattern of worker ids may match under any instance name. */
const EVERYWHERE = parseInstanceName('');

/**
 * Buildbarn's `BuildQueueState` (spec section 9.5), for its browser, its portal and autoscalers. Looking asks for `operate`, changing
 * for `admin`, under the prefix of the queue or the instance name of the operation. Every call reads the scheduler as it is then, but for
 * the tree of shares of a long queue; lists cost by what is queued and connected, not by the size of the page.
 */
export function buildQueueStateMethods(parts: BuildQueueStateParts): Method[] {
  const service = new BuildQueueStateService(parts);
  const definition = BuildQueueStateDefinition;
  const { methods } = definition;
  return [
    unary(definition, methods.getOperation, (request, call) => service.getOperation(request, call)),
    unary(definition, methods.listOperations, (request, call) => service.listOperations(request, call)),
    unary(definition, methods.killOperations, (request, call) => service.killOperations(request, call)),
    unary(definition, methods.listPlatformQueues, (_, call) => service.listPlatformQueues(call)),
    unary(definition, methods.listInvocationChildren, async (request, call) => {
      await service.admit('operate', required(request.invocationName).sizeClassQueueName, call);
      return {
        children: listInvocationChildren(service.snapshot().invocation(request.invocationName), request.filter),
      };
    }),
    unary(definition, methods.listQueuedOperations, async (request, call) => {
      await service.admit('operate', required(request.invocationName).sizeClassQueueName, call);
      return listQueuedOperations(service.snapshot(), request);
    }),
    unary(definition, methods.listWorkers, async (request, call) => {
      await service.admit('operate', queueOfWorkers(request), call);
      return listWorkers(service.snapshot(), request);
    }),
    unary(definition, methods.terminateWorkers, async (request, call) => {
      await demand(parts.authorizer, call.principal, 'admin', EVERYWHERE);
      const signal = AbortSignal.any([call.signal, parts.stopping]);
      await service.terminations.terminate(checkedPattern(request.workerIdPattern), signal);
      return {};
    }),
    unary(definition, methods.listDrains, async (request, call) => {
      await service.admit('operate', request.sizeClassQueueName, call);
      return { drains: listDrains(service.snapshot(), request.sizeClassQueueName) };
    }),
    unary(definition, methods.addDrain, async (request, call) => {
      await service.admit('admin', request.sizeClassQueueName, call);
      addDrain(service.snapshot(), parts.actions, request);
      return {};
    }),
    unary(definition, methods.removeDrain, async (request, call) => {
      await service.admit('admin', request.sizeClassQueueName, call);
      removeDrain(service.snapshot(), parts.actions, request);
      return {};
    }),
  ];
}

class BuildQueueStateService {
  readonly terminations: Terminations;
  readonly #parts: BuildQueueStateParts;
  readonly #wireClock: WireClock;
  readonly #trees: KeptTrees;

  constructor(parts: BuildQueueStateParts) {
    this.#parts = parts;
    this.#wireClock = new WireClock(parts.wallMs);
    this.#trees = new KeptTrees(parts.clock);
    this.terminations = new Terminations(parts);
  }

  /** The state now. */
  snapshot(): Snapshot {
    return new Snapshot({ ...this.#parts, clock: this.#wireClock, trees: this.#trees });
  }

  /** @throws denied; invalid-argument: no name of a queue. */
  async admit(what: Permission, name: SizeClassQueueName | undefined, call: Call): Promise<void> {
    await demand(this.#parts.authorizer, call.principal, what, queueFromWire(name).prefix);
  }

  async getOperation({ operationName }: GetOperationRequest, call: Call): Promise<GetOperationResponse> {
    const { view, finished, authorizer } = this.#parts;
    const task = view.taskOf(operationName);
    if (task !== undefined) await demand(authorizer, call.principal, 'operate', task.key.instance);
    // It may have finished meanwhile.
    const latest = task && view.taskOf(operationName);
    if (latest !== undefined) return { operation: this.snapshot().operationOf('', latest) };
    const found = await finished.find(operationName, call.signal);
    if (found === undefined) throw noOperation();
    await demand(authorizer, call.principal, 'operate', found.key.instance);
    return { operation: { ...operationOfFinished(found, new InvocationIds(), true), name: '' } };
  }

  async listOperations(request: ListOperationsRequest, call: Call): Promise<ListOperationsResponse> {
    const { view, finished } = this.#parts;
    const snapshot = this.snapshot();
    // All of one moment: what finishes meanwhile would be listed twice.
    const [tasks, over] = [[...view.tasks()], [...finished.list()]];
    const isVisible = await this.#visible(new Set([...tasks, ...over].map(({ key }) => key.instance)), call);
    return listOperations(snapshot, request, { tasks, finished: over, isVisible });
  }

  async listPlatformQueues(call: Call): Promise<ListPlatformQueuesResponse> {
    const all = listPlatformQueues(this.snapshot());
    const isVisible = await this.#visible(new Set(all.map(prefixOf)), call);
    return { platformQueues: all.filter((queue) => isVisible(prefixOf(queue))) };
  }

  /** Kills one operation, others of the same task go on (R-OP-02); or all that wait where nobody works. */
  async killOperations({ filter, status }: KillOperationsRequest, call: Call): Promise<Record<string, never>> {
    const { view, finished, actions, authorizer } = this.#parts;
    const type = filter?.type;
    if (type === undefined) throw new ReapiError('invalid-argument', 'filter is required', { field: 'filter' });
    const reason = killStatus(status);
    if (type.$case === 'sizeClassQueueWithoutWorkers') {
      await this.admit('admin', type.value, call);
      const snapshot = this.snapshot();
      for (const name of operationsWithoutWorkers(snapshot, snapshot.queue(type.value))) actions.kill(name, reason);
      return {};
    }
    const key = view.taskOf(type.value)?.key ?? (await finished.find(type.value, call.signal))?.key;
    if (key === undefined) throw noOperation();
    await demand(authorizer, call.principal, 'admin', key.instance);
    actions.kill(type.value, reason);
    return {};
  }

  /** Asks once for each name: what came meanwhile is not shown. */
  async #visible(names: ReadonlySet<InstanceName>, call: Call): Promise<(name: InstanceName) => boolean> {
    const visible = new Set<InstanceName>();
    for (const name of names) {
      if (await this.#parts.authorizer.allows(call.principal, 'operate', name)) visible.add(name);
    }
    return (name) => visible.has(name);
  }
}

function prefixOf({ name }: PlatformQueueState): InstanceName {
  return parseInstanceName(name?.instanceNamePrefix ?? '');
}

function noOperation(): ReapiError {
  return new ReapiError('operation-not-found', 'there is no such operation; it may have expired');
}
