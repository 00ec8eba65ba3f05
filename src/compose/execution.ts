import { resultFromMessage } from '../action-cache/action-store.ts';
import { inlineOutputs } from '../action-cache/inline-outputs.ts';
import { FleetPages } from '../admin/fleet-pages.ts';
import { fleetMethods } from '../admin/fleet-service.ts';
import { FleetSnapshots } from '../admin/fleet-snapshots.ts';
import { knownOperations } from '../admin/known-operations.ts';
import { workTitle } from '../admin/work-title.ts';
import type { Authorizer } from '../auth/authorizer.ts';
import type { Config } from '../config/load.ts';
import { DIGEST_FUNCTIONS } from '../digest/digest-function.ts';
import type { InstanceNames } from '../digest/instance-name.ts';
import { isKind, ReapiError } from '../errors.ts';
import { botsMethods } from '../execution/bots/bots-service.ts';
import {
  buildQueueStateMethods,
  type FinishedOperations,
} from '../execution/build-queue-state/build-queue-state-service.ts';
import { type ExecutionServiceParts, executionMethods } from '../execution/execution-service.ts';
import type { ExecutionWork } from '../execution/execution-work.ts';
import { operationQueueMethods } from '../execution/operation-queue-service.ts';
import type { Operations } from '../execution/operations.ts';
import { operationsMethods } from '../execution/operations-service.ts';
import { externalScalerMethods } from '../execution/scaling/external-scaler-service.ts';
import { FleetPlan } from '../execution/scaling/fleet-plan.ts';
import type { DrainEvent } from '../execution/scheduler/events.ts';
import type { Method } from '../rpc/methods.ts';
import { createSchedulerEvents, publishSchedulerMetrics } from './scheduler-metrics.ts';
import { createScheduling, type Scheduling, type SchedulingDependencies } from './scheduling.ts';

/** What execution stands on. */
export interface ExecutionDependencies extends SchedulingDependencies {
  readonly authorizer: Authorizer;
  readonly instances: InstanceNames;
  /** Aborts when the server begins to stop. */
  readonly stopping: AbortSignal;
}

/** Methods for build tools, workers and operators, and pages for people. */
export interface ExecutionSide {
  readonly clientMethods: readonly Method[];
  readonly workerMethods: readonly Method[];
  readonly operatorMethods: readonly Method[];
  readonly pages: FleetPages;
}

/** Room for what an Operation and its ExecuteResponse have around the result. */
const OPERATION_OVERHEAD_BYTES = 64 * 1024;

/** How long a plan of the fleet is used: making one costs by the number of slots. */
const PLAN_REFRESH_MS = 2_000;

/** Joins queue, scheduler and services. The lifecycle stops them. */
export async function createExecution(config: Config, dependencies: ExecutionDependencies): Promise<ExecutionSide> {
  const scheduling = await createScheduling(config, dependencies);
  const operator = createOperatorSide(config, dependencies, scheduling);
  return {
    clientMethods: clientMethods(config, dependencies, scheduling),
    workerMethods: workerMethods(config, dependencies, scheduling),
    ...operator,
  };
}

function clientMethods(
  config: Config,
  { blobs, instances, authorizer, stopping, clock }: ExecutionDependencies,
  { operations, executions }: Scheduling,
): readonly Method[] {
  const inline: ExecutionServiceParts['inline'] = async (result, hints, digestFunction, signal) => {
    const source = {
      store: blobs,
      digestFunction,
      maxBytes: config.rpc.maxSendMessageBytes - OPERATION_OVERHEAD_BYTES,
    };
    return (await inlineOutputs(resultFromMessage(result), hints, source, signal)).message;
  };
  return [
    ...executionMethods({ operations, executions, instances, authorizer, inline, stopping }),
    ...operationsMethods({ operations, executions, authorizer, clock, stopping }),
  ];
}

/** Two protocols, one scheduler. */
function workerMethods(
  { execution }: Config,
  { authorizer, clock, random, stopping }: ExecutionDependencies,
  { host, matcher, options }: Scheduling,
): readonly Method[] {
  const pollMs = execution.idlePollSeconds * 1000;
  const reportIntervalMs = execution.synchronizeSeconds * 1000;
  const shared = { host, matcher, authorizer, clock, pollMs, stopping };
  return [
    ...operationQueueMethods({ ...shared, reportIntervalMs, defaultDigestFunctions: DIGEST_FUNCTIONS }),
    ...botsMethods({
      ...{ ...shared, random, digestFunctions: DIGEST_FUNCTIONS },
      sessionTimeoutMs: options.leaseTimeoutMs,
      maxBots: options.maxSlots,
      resumeMs: options.adoptionGraceMs,
    }),
  ];
}

function createOperatorSide(
  config: Config,
  { authorizer, instances, clock, metrics, stopping }: ExecutionDependencies,
  { host, operations, executions, pools, options }: Scheduling,
): Pick<ExecutionSide, 'operatorMethods' | 'pages'> {
  const { view } = host;
  const settleMs = config.execution.workerTimeoutSeconds * 1000;
  const plan = new FleetPlan(host, { pools, settleMs, refreshMs: PLAN_REFRESH_MS });
  publishSchedulerMetrics(metrics, { view, plan, nowMs: () => host.nowMs() });
  host.observe(createSchedulerEvents(metrics, { maxSlots: options.maxSlots }));
  const times = { nowMs: () => host.nowMs(), wallMs: (atMs: number) => host.wallMs(atMs) };
  const source = { view, ...times, ...knownOperations(operations) };
  const snapshots = new FleetSnapshots({
    view,
    ...times,
    title: ({ requestMetadata }: ExecutionWork) => workTitle(requestMetadata),
  });
  const drain = (event: DrainEvent): void => {
    if (event.on && view.drains().length >= options.maxDrains) {
      throw new ReapiError('quota-exceeded', `there are ${options.maxDrains} drains already`);
    }
    host.apply(event);
  };
  const operatorMethods = [
    ...externalScalerMethods({ plan, authorizer, clock, stopping }),
    ...fleetMethods({
      ...{ ...source, snapshots, authorizer, instances, clock, stopping },
      apply: (event) => (event.type === 'drain' ? drain(event) : host.apply(event)),
    }),
    ...buildQueueStateMethods({
      ...{ view, authorizer, clock, stopping, wallMs: times.wallMs, fairness: options.fairness },
      finished: finishedOperations(operations),
      actions: {
        drain: (change) => {
          drain({ type: 'drain', ...change });
          snapshots.forget();
        },
        kill: (operation, status) => executions.kill(operation, status),
      },
    }),
  ];
  return { operatorMethods, pages: new FleetPages(snapshots, source, authorizer) };
}

/** Those in memory are listed; those of a former server are found by name. */
function finishedOperations(operations: Operations): FinishedOperations {
  return {
    *list() {
      for (const state of operations.list()) if (state.stage === 'completed') yield state;
    },
    async find(name, signal) {
      try {
        const state = await operations.find(name, signal);
        return state.stage === 'completed' ? state : undefined;
      } catch (error) {
        if (isKind(error, 'operation-not-found')) return undefined;
        throw error;
      }
    },
  };
}
