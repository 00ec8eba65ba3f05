import { lstatSync, mkdirSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ActionKey } from '../digest/action-key.ts';
import { type Digest, digestFromWire, digestKey, digestToWire } from '../digest/digest.ts';
import { isKind, ReapiError } from '../errors.ts';
import {
  type Action,
  ActionResult,
  Command,
  ExecuteResponse,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Any } from '../gen/google/protobuf/any.ts';
import type { Timestamp } from '../gen/google/protobuf/timestamp.ts';
import type { Status } from '../gen/google/rpc/status.ts';
import { POSIXResourceUsage } from '../gen/pkg/proto/resourceusage/resourceusage.ts';
import type { Clock } from '../system/clock.ts';
import { withDeadline } from './deadline.ts';
import { diskFailure, MachineTooSmall } from './exhaustion.ts';
import { type InputRoots, type MaterializedRoot, missingInputs } from './inputs/input-root.ts';
import { killProcessesIn } from './leftovers.ts';
import { digestFile, type OutputBlob } from './outputs/output-files.ts';
import { realInside, resolveInRoot } from './outputs/output-paths.ts';
import type { OutputLimits } from './outputs/output-tree.ts';
import { type CollectedOutputs, Outputs } from './outputs/outputs.ts';
import type { Uploader } from './outputs/upload.ts';
import { type Patience, withPatience } from './patience.ts';
import type { Sandbox, SandboxOutcome } from './sandbox.ts';
import { Timeline } from './timeline.ts';
import { durationOf } from './wire-time.ts';
import type { WorkerStore } from './worker-store.ts';

/** Largest Command message; clients put long argument lists into files well before. */
const MAX_COMMAND_BYTES = 16 * 1024 * 1024;

/**
 * How long a lease waits for a server that is away, with its inputs half fetched or its outputs not yet uploaded: a
 * restart takes seconds, and its worst case of reading all segments a minute or two.
 */
const SERVER_PATIENCE_MS = 180_000;

/** What is to be done. */
export interface Lease {
  readonly key: ActionKey;
  readonly action: Action;
  readonly queued: Timestamp | undefined;
  /** Copied into the result (R-BB-26). */
  readonly auxiliaryMetadata: readonly Any[];
}

/** What a lease is carried out with; shared by all leases of a slot. */
export interface LeaseTools {
  readonly clock: Clock;
  readonly sandbox: Sandbox;
  readonly inputRoots: InputRoots;
  readonly uploader: Uploader;
  readonly storeFor: (key: ActionKey) => WorkerStore;
  /** The wire form of a failure. */
  readonly statusOf: (error: unknown) => Status;
}

/** Limits of a lease. */
export interface LeaseOptions {
  /** Name of the slot in results. */
  readonly worker: string;
  readonly fetchTimeoutMs: number;
  readonly uploadTimeoutMs: number;
  /** Run time when the action names none, which a scheduler should not let happen (R-BB-12). */
  readonly defaultTimeoutMs: number;
  readonly maxLogBytes: number;
  readonly outputs: OutputLimits;
  /** Variables a command has unless it sets them itself (R-CM-14). */
  readonly environment: Readonly<Record<string, string>>;
}

/** Stages as the scheduler is told of them. */
export type LeaseStage = 'fetching' | 'running' | 'uploading';

/** One lease under way: where it works and how it tells of its progress. */
export interface LeaseRun {
  /** A folder that does not exist yet and is the caller's to remove. */
  readonly folder: string;
  /** Resolves when there is room for it. @throws unavailable. */
  readonly makeReady: () => Promise<void>;
  readonly onStage: (stage: LeaseStage) => void;
  readonly signal: AbortSignal;
}

/** A response for the scheduler, and whose failure it is if it is one: the action's own unless one of the others is true. */
export interface LeaseOutcome {
  readonly response: ExecuteResponse;
  /** This worker's. */
  readonly isWorkerFault: boolean;
  /** The machine was too small: memory or disk. */
  readonly isExhausted: boolean;
}

interface Ran {
  readonly outcome: SandboxOutcome;
  readonly collected: CollectedOutputs;
  readonly logs: { readonly stdout: OutputBlob; readonly stderr: OutputBlob };
}

/**
 * Carries out one lease: fetch, run, collect, upload. Failures are reported in the response (R-EX-01), never as an exit
 * code of the action.
 * @throws cancelled only.
 */
export async function runLease(
  lease: Lease,
  tools: LeaseTools,
  options: LeaseOptions,
  run: LeaseRun,
): Promise<LeaseOutcome> {
  const timeline = new Timeline(tools.clock);
  let result: ActionResult | undefined;
  try {
    await run.makeReady();
    const store = tools.storeFor(lease.key);
    const prepared = await fetchInputs(lease, store, { tools, options, run, timeline });
    const ran = await runCommand(lease, prepared, { tools, options, run, timeline });
    await uploadOutputs(ran, store, { tools, options, run, timeline });
    result = resultOf(ran);
    finishMetadata(result, lease, ran.outcome, { tools, options, run, timeline });
    throwUnlessExited(ran.outcome, lease, options);
    const response = ExecuteResponse.fromPartial({ result, status: { code: 0 } });
    return { response, isWorkerFault: false, isExhausted: false };
  } catch (error) {
    if (run.signal.aborted) throw new ReapiError('cancelled', 'the lease was cancelled', { cause: error });
    const response = ExecuteResponse.create();
    response.result = result;
    response.status = tools.statusOf(error);
    const isExhausted = error instanceof MachineTooSmall;
    return { response, isExhausted, isWorkerFault: !isExhausted && isWorkerFault(error) };
  }
}

interface Context {
  readonly tools: LeaseTools;
  readonly options: LeaseOptions;
  readonly run: LeaseRun;
  readonly timeline: Timeline;
}

interface Prepared {
  readonly command: Command;
  readonly outputs: Outputs;
  readonly root: string;
  readonly inputs: MaterializedRoot;
}

function fetchInputs(lease: Lease, store: WorkerStore, context: Context): Promise<Prepared> {
  const { tools, options, run, timeline } = context;
  run.onStage('fetching');
  timeline.mark('inputFetchStartTimestamp');
  const limit = { name: 'fetching the inputs', ms: options.fetchTimeoutMs };
  return withDeadline(tools.clock, limit, run.signal, async (signal) => {
    const fn = lease.key.action.function;
    const rootDigest = digestFromWire(fn, lease.action.inputRootDigest, 'input_root_digest');
    const commandDigest = digestFromWire(fn, lease.action.commandDigest, 'command_digest');
    const patiently = patienceOf(tools, signal);
    const command = await patiently(() => fetchCommand(commandDigest, store, signal));
    if (command.arguments.length === 0) {
      throw new ReapiError('invalid-argument', 'the command has no arguments', { field: 'arguments' });
    }
    const outputs = new Outputs(command);
    const root = makeRoot(run.folder);
    const inputs = await tools.inputRoots.materialize(rootDigest, root, { store, patiently }, signal);
    checkWorkingDirectory(root, command);
    await outputs.prepare(root, signal);
    timeline.mark('inputFetchCompletedTimestamp');
    return { command, outputs, root, inputs };
  });
}

async function runCommand(lease: Lease, prepared: Prepared, context: Context): Promise<Ran> {
  const { tools, options, run, timeline } = context;
  const { command, outputs, root } = prepared;
  const stdoutPath = `${run.folder}/stdout`;
  const stderrPath = `${run.folder}/stderr`;
  run.onStage('running');
  timeline.mark('executionStartTimestamp');
  let outcome: SandboxOutcome;
  try {
    outcome = await tools.sandbox.run(
      {
        arguments: command.arguments,
        environment: environmentOf(command, options),
        root,
        workingDirectory: command.workingDirectory,
        stdoutPath,
        stderrPath,
        timeoutMs: timeoutOf(lease.action, options),
        maxLogBytes: options.maxLogBytes,
      },
      run.signal,
    );
    // Processes that left the group are worth a look only when a command was cut short: a look costs milliseconds.
    if (outcome.ended !== 'exited') killProcessesIn(dirname(root));
    throwIfTooSmall(outcome);
  } finally {
    timeline.mark('executionCompletedTimestamp');
    if (run.signal.aborted) killProcessesIn(dirname(root));
    await tools.inputRoots.verify(prepared.inputs);
  }
  run.onStage('uploading');
  timeline.mark('outputUploadStartTimestamp');
  const limit = { name: 'collecting the outputs', ms: options.uploadTimeoutMs };
  return withDeadline(tools.clock, limit, run.signal, async (signal) => {
    const fn = lease.key.action.function;
    const { keepBelowBytes } = options.outputs;
    const [stdout, stderr] = [
      await digestFile(stdoutPath, fn, { keepBelowBytes }, signal),
      await digestFile(stderrPath, fn, { keepBelowBytes }, signal),
    ];
    const collected = await outputs.collect(root, fn, options.outputs, signal).catch((error: unknown) => {
      // A command that was cut short left what it had at that moment; that it was cut short is what failed (R-EX-21).
      if (outcome.ended === 'exited' || isWorkerFault(error) || signal.aborted) throw error;
      return { result: ActionResult.create(), blobs: [] };
    });
    return { outcome, collected, logs: { stdout: stdout.blob, stderr: stderr.blob } };
  });
}

async function uploadOutputs(ran: Ran, store: WorkerStore, context: Context): Promise<void> {
  const { tools, options, run, timeline } = context;
  const blobs = [...ran.collected.blobs, ran.logs.stdout, ran.logs.stderr];
  const limit = { name: 'uploading the outputs', ms: options.uploadTimeoutMs };
  await withDeadline(tools.clock, limit, run.signal, (signal) =>
    patienceOf(tools, signal)(() => tools.uploader.upload(blobs, store, signal)),
  );
  timeline.mark('outputUploadCompletedTimestamp');
}

function patienceOf(tools: LeaseTools, signal: AbortSignal): Patience {
  return (attempt) => withPatience(tools.clock, SERVER_PATIENCE_MS, signal, attempt);
}

function resultOf(ran: Ran): ActionResult {
  const { stdout, stderr } = ran.logs;
  const orUnset = (digest: Digest) => (digest.sizeBytes === 0 ? undefined : digestToWire(digest));
  return {
    ...ran.collected.result,
    exitCode: ran.outcome.exitCode,
    stdoutDigest: orUnset(stdout.digest),
    stderrDigest: orUnset(stderr.digest),
  };
}

function finishMetadata(result: ActionResult, lease: Lease, outcome: SandboxOutcome, context: Context): void {
  const { timeline, options } = context;
  const usage = POSIXResourceUsage.fromPartial({
    userTime: durationOf(outcome.userMs),
    systemTime: durationOf(outcome.systemMs),
    terminationSignal: outcome.ended === 'exited' ? '' : 'KILL',
  });
  const typeUrl = 'type.googleapis.com/buildbarn.resourceusage.POSIXResourceUsage';
  result.executionMetadata = {
    ...timeline.metadata(options.worker, lease.queued),
    virtualExecutionDuration: durationOf(outcome.wallMs),
    auxiliaryMetadata: [...lease.auxiliaryMetadata, { typeUrl, value: POSIXResourceUsage.encode(usage).finish() }],
  };
}

/** Nothing of the result is kept: an exit code in it would look like the action's own. */
function throwIfTooSmall({ ended, exitCode }: SandboxOutcome): void {
  if (ended === 'out-of-memory') {
    throw new MachineTooSmall(`memory ran out on the worker and the kernel killed the command (exit code ${exitCode})`);
  }
  if (ended === 'disk-full') {
    throw new MachineTooSmall(`the command failed (exit code ${exitCode}) and left the disk of the worker full`);
  }
}

/** The result goes with the failure: what the command had written by then may explain it (R-EX-21). */
function throwUnlessExited(outcome: SandboxOutcome, lease: Lease, options: LeaseOptions): void {
  if (outcome.ended === 'timed-out') {
    const seconds = timeoutOf(lease.action, options) / 1000;
    throw new ReapiError('timed-out', `the command ran longer than its timeout of ${seconds} s`);
  }
  if (outcome.ended === 'log-overflow') {
    throw new ReapiError('too-large', `the command wrote more than ${options.maxLogBytes} bytes to stdout or stderr`);
  }
}

async function fetchCommand(digest: Digest, store: WorkerStore, signal: AbortSignal): Promise<Command> {
  if (digest.sizeBytes > MAX_COMMAND_BYTES) {
    throw new ReapiError('too-large', `the Command has more than ${MAX_COMMAND_BYTES} bytes`, {
      field: 'command_digest',
    });
  }
  const bytes = (await store.readAll([digest], signal)).get(digestKey(digest));
  if (bytes === undefined) throw missingInputs([digest]);
  try {
    return Command.decode(bytes);
  } catch (error) {
    throw new ReapiError('invalid-argument', `${digestKey(digest)} is not a Command message`, { cause: error });
  }
}

/** @returns the real path, by which a symlink that takes its place can be told. */
function makeRoot(folder: string): string {
  try {
    mkdirSync(folder, { mode: 0o755 });
    const root = join(realpathSync.native(folder), 'root');
    mkdirSync(root, { mode: 0o755 });
    return root;
  } catch (error) {
    throw diskFailure('the worker cannot make a build directory', error);
  }
}

/** @throws invalid-argument (R-CM-07): it must exist in the input tree and be a directory. */
function checkWorkingDirectory(root: string, command: Command): void {
  const field = 'working_directory';
  const inRoot = resolveInRoot('', command.workingDirectory, field);
  const real = realInside(root, inRoot, field);
  if (real === undefined || !lstatSync(real).isDirectory())
    throw new ReapiError('invalid-argument', `${field}: "${inRoot}" is no directory of the input root`, { field });
}

/** A later variable of the same name wins (R-CM-02). */
function environmentOf(command: Command, options: LeaseOptions): Map<string, string> {
  const variables = new Map(Object.entries(options.environment));
  for (const { name, value } of command.environmentVariables) variables.set(name, value);
  return variables;
}

function timeoutOf(action: Action, options: LeaseOptions): number {
  if (action.timeout === undefined) return options.defaultTimeoutMs;
  return Number(action.timeout.seconds) * 1000 + action.timeout.nanos / 1e6;
}

function isWorkerFault(error: unknown): boolean {
  if (!(error instanceof ReapiError)) return true;
  return isKind(error, 'unavailable') || isKind(error, 'internal') || isKind(error, 'quota-exceeded');
}
