import { resultFromMessage } from '../action-cache/action-store.ts';
import { inlineOutputs } from '../action-cache/inline-outputs.ts';
import type { Authorizer } from '../auth/authorizer.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { Config } from '../config/load.ts';
import { DIGEST_FUNCTIONS } from '../digest/digest-function.ts';
import type { InstanceNames } from '../digest/instance-name.ts';
import { type ExecutionServiceParts, executionMethods } from '../execution/execution-service.ts';
import { Executions } from '../execution/executions.ts';
import { InputLeases } from '../execution/input-leases.ts';
import { missingInputsOf } from '../execution/missing-inputs.ts';
import { operationQueueMethods } from '../execution/operation-queue-service.ts';
import { Operations } from '../execution/operations.ts';
import { operationsMethods } from '../execution/operations-service.ts';
import { ActionPreparer, type MissingInputs } from '../execution/prepare-action.ts';
import { recordResult } from '../execution/record-result.ts';
import { DEFAULT_OPTIONS, type SchedulerOptions } from '../execution/scheduler/options.ts';
import { createScheduler } from '../execution/scheduler/scheduler.ts';
import { SchedulerHost } from '../execution/scheduler-host.ts';
import type { PlatformMatcher } from '../platform/platform.ts';
import type { Method } from '../rpc/methods.ts';
import { kindOfCode, toWireStatus } from '../rpc/status.ts';
import type { Clock } from '../system/clock.ts';
import type { Lifecycle } from '../system/lifecycle.ts';
import type { Log } from '../system/log.ts';
import type { Metrics } from '../system/metrics.ts';
import type { Random } from '../system/random.ts';
import type { CacheSide } from './cache.ts';
import { createMatcher } from './platform.ts';

/** What execution stands on. */
export interface ExecutionDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly lifecycle: Lifecycle;
  readonly blobs: BlobStore;
  readonly cache: Pick<CacheSide, 'results' | 'observer' | 'lookUp'>;
  readonly authorizer: Authorizer;
  readonly instances: InstanceNames;
  /** Aborts when the server begins to stop. */
  readonly stopping: AbortSignal;
  /** The scheduler broke a law of its own; the process has to end. */
  readonly onBroken: (error: unknown) => void;
}

/** Methods for build tools, and for workers. */
export interface ExecutionSide {
  readonly clientMethods: readonly Method[];
  readonly workerMethods: readonly Method[];
}

/** Room for what an Operation and its ExecuteResponse have around the result. */
const OPERATION_OVERHEAD_BYTES = 64 * 1024;

/** Node properties that workers can report (R-CM-31). */
export const NODE_PROPERTIES: readonly string[] = ['mtime', 'unix_mode'];

/** Joins queue, scheduler and services. The lifecycle stops them. */
export function createExecution(config: Config, dependencies: ExecutionDependencies): ExecutionSide {
  const { clock, random, log, blobs, cache, authorizer, instances } = dependencies;
  const { execution } = config;
  const { maxResultBytes } = config.actionCache;
  const operations = new Operations(clock, random, {
    maxLive: execution.maxLiveOperations,
    maxFinished: execution.maxFinishedOperations,
    finishedRetentionMs: execution.finishedOperationsSeconds * 1000,
    heartbeatMs: execution.heartbeatSeconds * 1000,
  });
  const matcher = createMatcher(config);
  const observed = { observer: cache.observer, kindOfCode };
  const host: SchedulerHost = new SchedulerHost(
    createScheduler(matcher, schedulerOptions(config, random)),
    {
      record: (work, report) => recordResult({ actions: cache.results, blobs, maxResultBytes, observed }, work, report),
      stage: (name, stage, message) => operations.advance(name, stage, message),
      finish: (name, outcome) => executions.finished(name, outcome),
      broken: dependencies.onBroken,
    },
    clock,
  );
  const missingInputs = createMissingInputs(config, blobs);
  const inputs = new InputLeases(
    { blobs, missingInputs, clock, log },
    { retentionMs: config.store.minRetentionSeconds * 1000 },
  );
  const executions = new Executions({
    operations,
    host,
    inputs,
    preparer: createPreparer(config, blobs, matcher, missingInputs),
    lookUp: cache.lookUp,
    observer: cache.observer,
    statusOf: toWireStatus,
    log,
  });
  // The grace for platforms that nobody offers yet counts from the first event.
  host.apply({ type: 'tick' });
  publish(dependencies.metrics, operations, host);
  dependencies.lifecycle.add('the scheduler', async () => {
    await executions.settle();
    await inputs.stop();
    await host.stop();
  });
  const inline: ExecutionServiceParts['inline'] = async (result, hints, digestFunction, signal) => {
    const source = {
      store: blobs,
      digestFunction,
      maxBytes: config.rpc.maxSendMessageBytes - OPERATION_OVERHEAD_BYTES,
    };
    return (await inlineOutputs(resultFromMessage(result), hints, source, signal)).message;
  };
  return {
    clientMethods: [
      ...executionMethods({ operations, executions, instances, authorizer, inline, stopping: dependencies.stopping }),
      ...operationsMethods({ operations, executions, authorizer, clock, stopping: dependencies.stopping }),
    ],
    workerMethods: operationQueueMethods({
      host,
      matcher,
      authorizer,
      clock,
      pollMs: execution.synchronizeSeconds * 1000,
      reportIntervalMs: execution.synchronizeSeconds * 1000,
      stopping: dependencies.stopping,
      defaultDigestFunctions: DIGEST_FUNCTIONS,
    }),
  };
}

function createMissingInputs({ limits }: Config, blobs: BlobStore): MissingInputs {
  return missingInputsOf(blobs, {
    maxDirectories: limits.maxTreeDirectories,
    maxDepth: limits.maxTreeDepth,
    maxDirectoryBytes: limits.maxMessageBlobBytes,
  });
}

function createPreparer(
  config: Config,
  blobs: BlobStore,
  matcher: PlatformMatcher,
  missingInputs: MissingInputs,
): ActionPreparer {
  const { execution, limits } = config;
  return new ActionPreparer(blobs, matcher, missingInputs, {
    defaultTimeoutMs: execution.defaultTimeoutSeconds * 1000,
    maxTimeoutMs: execution.maxTimeoutSeconds * 1000,
    maxMessageBytes: limits.maxMessageBlobBytes,
    nodeProperties: NODE_PROPERTIES,
  });
}

function schedulerOptions(config: Config, random: Random): SchedulerOptions {
  const { execution } = config;
  const workerTimeoutMs = execution.workerTimeoutSeconds * 1000;
  return {
    ...DEFAULT_OPTIONS,
    abandonAfterMs: execution.abandonAfterSeconds * 1000,
    leaseTimeoutMs: workerTimeoutMs,
    // A slot in an open call is silent for as long as the call may last.
    slotTimeoutMs: workerTimeoutMs + execution.synchronizeSeconds * 1000,
    maxAttempts: execution.maxAttempts,
    maxResends: execution.maxUnansweredOffers,
    recordTimeoutMs: execution.recordSeconds * 1000,
    platformGraceMs: execution.platform.graceSeconds * 1000,
    maxQueuedTasks: execution.maxQueuedTasks,
    maxOperations: execution.maxLiveOperations,
    maxSlots: execution.maxSlots,
    // Leases of a former life of the server must not be taken for ours.
    leasePrefix: `${random.token(4)}-`,
  };
}

function publish(metrics: Metrics, operations: Operations, host: SchedulerHost): void {
  metrics.gauge({ name: 'gantry_operations_live', help: 'Unfinished operations.' }, () => operations.liveCount);
  metrics.gauge(
    { name: 'gantry_slots_waiting', help: 'Slots that wait for work in an open call.' },
    () => host.pollingSlots,
  );
}
