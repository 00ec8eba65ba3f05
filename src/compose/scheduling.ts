import type { BlobStore } from '../cas/blob-store.ts';
import type { Config } from '../config/load.ts';
import type { ActionKey } from '../digest/action-key.ts';
import type { EntryStore } from '../entries/entry-store.ts';
import { DrainKeeper } from '../execution/drain-keeper.ts';
import { historyKey } from '../execution/execution-work.ts';
import { Executions } from '../execution/executions.ts';
import { DurationHistory } from '../execution/history/duration-history.ts';
import { HistoryKeeper } from '../execution/history/history-keeper.ts';
import { InputLeases } from '../execution/input-leases.ts';
import { missingInputsOf } from '../execution/missing-inputs.ts';
import { OperationArchive } from '../execution/operations/operation-archive.ts';
import { Operations } from '../execution/operations.ts';
import { ActionPreparer, type MissingInputs } from '../execution/prepare-action.ts';
import { type RecordedWork, recordResult } from '../execution/record-result.ts';
import type { Notice } from '../execution/scheduler/events.ts';
import type { SchedulerOptions } from '../execution/scheduler/options.ts';
import { createScheduler } from '../execution/scheduler/scheduler.ts';
import { SchedulerHost } from '../execution/scheduler-host.ts';
import { ShareRules } from '../execution/share-rules.ts';
import type { PlatformMatcher } from '../platform/platform.ts';
import { kindOfCode, toWireStatus } from '../rpc/status.ts';
import type { Clock } from '../system/clock.ts';
import type { DataFolder } from '../system/data-folder.ts';
import type { Lifecycle } from '../system/lifecycle.ts';
import type { Log } from '../system/log.ts';
import type { Metrics } from '../system/metrics.ts';
import type { Random } from '../system/random.ts';
import type { CacheSide } from './cache.ts';
import { type ConfiguredPool, configuredPools } from './configured-pools.ts';
import { createMatcher } from './platform.ts';
import { RunningMarker } from './running-marker.ts';
import { schedulerOptions } from './scheduler-options.ts';
import { recordTrace } from './trace.ts';

/** What scheduling stands on. */
export interface SchedulingDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly lifecycle: Lifecycle;
  readonly blobs: BlobStore;
  readonly entries: EntryStore;
  readonly folder: DataFolder;
  readonly cache: Pick<CacheSide, 'results' | 'observer' | 'lookUp'>;
  /** Aborts when the start is given up. */
  readonly starting: AbortSignal;
  /** The scheduler broke a law of its own; the process has to end. */
  readonly onBroken: (error: unknown) => void;
}

/** Operations, and the scheduler that carries them out. */
export interface Scheduling {
  readonly operations: Operations;
  readonly executions: Executions;
  readonly host: SchedulerHost;
  readonly matcher: PlatformMatcher;
  readonly pools: readonly ConfiguredPool[];
  readonly options: SchedulerOptions;
}

/** Node properties that workers can report (R-CM-31). */
export const NODE_PROPERTIES: readonly string[] = ['mtime', 'unix_mode'];

/** Room for what an Operation has around its response: its name, its metadata, its attempts. */
const OPERATION_OVERHEAD_BYTES = 32 * 1024;

/** How often what was learned of actions is written down. */
const HISTORY_INTERVAL_MS = 300_000;

/** Largest snapshot of it. */
const MAX_HISTORY_BYTES = 2 * 1024 * 1024;

/**
 * How long nothing is started if a former server ended while actions were running: its workers come back within a second of their
 * connection, which is tried again every second.
 */
const REUNION_MS = 3_000;

/** Joins queue, scheduler and memory. The lifecycle stops them. */
export async function createScheduling(config: Config, dependencies: SchedulingDependencies): Promise<Scheduling> {
  const { clock, log, metrics, lifecycle, blobs, cache, entries } = dependencies;
  const { fairness } = config.execution;
  const matcher = createMatcher(config);
  const pools = configuredPools(config, matcher);
  const marker = new RunningMarker(dependencies.folder.sub('running'), clock, log);
  const options = {
    ...schedulerOptions(config, pools, dependencies.random),
    reunionMs: marker.isSet && config.execution.adoptionGraceSeconds > 0 ? REUNION_MS : 0,
  };
  const missingInputs = createMissingInputs(config, blobs);
  const preparer = createPreparer(config, blobs, matcher, missingInputs);
  const archive = createArchive(config, dependencies);
  const operations = createOperations(config, dependencies, archive);
  const history = new DurationHistory({ maxActions: config.execution.history.maxActions });
  const keeper = new HistoryKeeper(
    { history, entries, clock, log },
    { everyMs: HISTORY_INTERVAL_MS, maxBytes: Math.min(MAX_HISTORY_BYTES, config.actionCache.maxResultBytes) },
  );
  await keeper.start(dependencies.starting);
  const recordParts = {
    ...{ actions: cache.results, blobs, maxResultBytes: config.actionCache.maxResultBytes },
    observed: { observer: cache.observer, kindOfCode },
  };
  const host: SchedulerHost = new SchedulerHost(
    createScheduler(matcher, options),
    {
      record: async (key, work, report) =>
        recordResult(recordParts, work ?? (await adoptedWork(preparer, key)), report),
      stage: (name, stage, message, slot) => operations.advance(name, stage, message, slot),
      finish: (name, outcome, attempts) => executions.finished(name, outcome, attempts),
      learn: (work, { verdict, ranMs }, sizeClass) =>
        history.learn(work.requestMetadata, historyKey(work), { verdict, ranMs, sizeClass }),
      notice: (notice) => tellNotice(log, notice),
      broken: dependencies.onBroken,
    },
    clock,
  );
  const retentionMs = config.store.minRetentionSeconds * 1000;
  const inputs = new InputLeases({ blobs, missingInputs, clock, log }, { retentionMs });
  const executions = new Executions({
    ...{ operations, host, inputs, preparer, history, clock, log },
    shares: new ShareRules({ levels: fairness.levels, weights: fairness.weights }),
    lookUp: cache.lookUp,
    observer: cache.observer,
    statusOf: toWireStatus,
    maxResponseBytes: config.rpc.maxSendMessageBytes - OPERATION_OVERHEAD_BYTES,
  });
  host.observe(() => marker.note(host.view.busySlots > 0));
  recordTrace(config, { ...dependencies, host, slotTimeoutMs: options.slotTimeoutMs });
  // The graces for platforms that nobody offers yet, and for work begun before, count from the first event.
  host.apply({ type: 'tick' });
  const drains = new DrainKeeper({ host, entries, clock, log });
  await drains.start(dependencies.starting);
  publish(metrics, { operations, host, history, archive });
  lifecycle.add('the scheduler', async (graceMs) => {
    await executions.settle();
    await inputs.stop();
    await host.stop();
    marker.stop();
    await drains.stop(graceMs);
    await archive?.settle(graceMs);
    await keeper.stop(graceMs);
  });
  return { operations, executions, host, matcher, pools, options };
}

/** Unset if no finished operation is kept. */
function createArchive(config: Config, parts: SchedulingDependencies): OperationArchive | undefined {
  const { finishedOperationsSeconds, maxFinishedOperations } = config.execution;
  if (finishedOperationsSeconds === 0 || maxFinishedOperations === 0) return undefined;
  return new OperationArchive(parts.entries, parts.clock, parts.log, { retentionMs: finishedOperationsSeconds * 1000 });
}

function createOperations(
  { execution }: Config,
  { clock, random }: SchedulingDependencies,
  archive: OperationArchive | undefined,
): Operations {
  const options = {
    maxLive: execution.maxLiveOperations,
    maxFinished: execution.maxFinishedOperations,
    finishedRetentionMs: execution.finishedOperationsSeconds * 1000,
    heartbeatMs: execution.heartbeatSeconds * 1000,
  };
  return new Operations(clock, random, options, archive);
}

/** Work of a former server that nobody asked this one for: only its key is known. */
async function adoptedWork(preparer: ActionPreparer, key: ActionKey): Promise<RecordedWork> {
  // Nobody could lose interest: the result is kept for whoever asks next.
  const { signal } = new AbortController();
  return { key, action: await preparer.load(key, signal), requestMetadata: undefined };
}

function tellNotice(log: Log, notice: Notice): void {
  const level = notice.kind === 'node-isolated' || notice.kind === 'action-quarantined' ? 'warn' : 'info';
  log[level]({ notice: notice.kind }, notice.text);
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

interface Published {
  readonly operations: Operations;
  readonly host: SchedulerHost;
  readonly history: DurationHistory;
  readonly archive: OperationArchive | undefined;
}

function publish(metrics: Metrics, { operations, host, history, archive }: Published): void {
  const gauge = (name: string, help: string, read: () => number): void => metrics.gauge({ name, help }, read);
  gauge('gantry_operations_live', 'Unfinished operations.', () => operations.liveCount);
  gauge('gantry_slots_waiting', 'Slots that wait for work in an open call.', () => host.pollingSlots);
  gauge('gantry_history_actions', 'Kinds of actions whose durations are remembered.', () => history.size);
  if (archive === undefined) return;
  gauge('gantry_operations_archive_pending', 'Finished operations that wait to be written.', () => archive.pending);
  gauge(
    'gantry_operations_archive_lost',
    'Finished operations since the start that could not be written, and will not be known after a restart.',
    () => archive.skipped + archive.failed,
  );
}
