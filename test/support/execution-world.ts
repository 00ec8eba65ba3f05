import assert from 'node:assert/strict';
import { MemoryBlobStore } from '../../src/cas/memory-blob-store.ts';
import type { ActionKey } from '../../src/digest/action-key.ts';
import { type Digest, digestToWire } from '../../src/digest/digest.ts';
import { digestOf } from '../../src/digest/hasher.ts';
import { parseInstanceName } from '../../src/digest/instance-name.ts';
import type { ReapiError } from '../../src/errors.ts';
import { verdictOf } from '../../src/execution/attempt-verdict.ts';
import type { ExecutionReport, ExecutionWork } from '../../src/execution/execution-work.ts';
import { type ExecutionParts, Executions } from '../../src/execution/executions.ts';
import { DurationHistory } from '../../src/execution/history/duration-history.ts';
import { type OperationState, Operations } from '../../src/execution/operations.ts';
import { ActionPreparer } from '../../src/execution/prepare-action.ts';
import type { Completion, Notice } from '../../src/execution/scheduler/events.ts';
import { DEFAULT_OPTIONS } from '../../src/execution/scheduler/options.ts';
import { createScheduler } from '../../src/execution/scheduler/scheduler.ts';
import { SchedulerHost } from '../../src/execution/scheduler-host.ts';
import { ShareRules } from '../../src/execution/share-rules.ts';
import {
  Action,
  ActionResult,
  Command,
  ExecuteResponse,
  type RequestMetadata,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { DEFAULT_RULES } from '../../src/platform/lexicon.ts';
import { RuleMatcher } from '../../src/platform/matcher.ts';
import { toWireStatus } from '../../src/rpc/status.ts';
import { NO_LOG } from '../../src/system/log.ts';
import { SystemRandom } from '../../src/system/random.ts';
import { FakeClock } from './fake-clock.ts';

/** Never aborts. */
export const never = new AbortController().signal;
/** The instance name of all its actions. */
export const instance = parseInstanceName('main');
/** A result of a command that succeeded. */
export const passed = ActionResult.fromPartial({ stdoutRaw: new TextEncoder().encode('ok') });
/** An idle slot of a worker that can do anything. */
export const idleSlot = {
  type: 'sync',
  slot: 'slot-1',
  node: 'node-1',
  offer: { alternatives: [{ properties: [] }], digestFunctions: ['sha256'], legacyOutputs: true },
  instancePrefix: parseInstanceName(''),
  prefersIdle: false,
} as const;

/** No worker ever comes in some of these tests; that is not what they are about. */
export const SCHEDULER = { ...DEFAULT_OPTIONS, platformGraceMs: 3_600_000 };

/** What is different about an Execute call. */
interface StartOptions {
  readonly skipCacheLookup?: boolean;
  readonly inline?: string;
  readonly principal?: string;
  readonly requestMetadata?: RequestMetadata;
}

/** What an attempt taught. */
interface Learned {
  readonly work: ExecutionWork;
  readonly completion: Completion<ExecutionReport>;
  readonly sizeClass: number;
}

/** Executions over a memory store, with a worker that the test plays. Action results are a map. */
export class ExecutionWorld {
  readonly clock = new FakeClock();
  readonly store = new MemoryBlobStore({ maxBytes: 1_000_000 });
  readonly cached = new Map<string, ActionResult>();
  readonly recorded: ActionResult[] = [];
  readonly learned: Learned[] = [];
  readonly notices: Notice[] = [];
  readonly history = new DurationHistory({ maxActions: 100 });
  recordFailure: ReapiError | undefined;
  readonly operations = new Operations(this.clock, new SystemRandom(), {
    maxLive: 100,
    maxFinished: 100,
    finishedRetentionMs: 3_600_000,
    heartbeatMs: 30_000,
  });
  readonly host: SchedulerHost;
  readonly executions: Executions;

  /** @param parts what is different from, or beside, the usual. */
  constructor(parts: Partial<ExecutionParts> = {}) {
    const matcher = new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'exact' });
    this.host = new SchedulerHost(
      createScheduler(matcher, SCHEDULER),
      {
        record: async (_, _work, report) => {
          if (this.recordFailure) throw this.recordFailure;
          if (report.response.result) this.recorded.push(report.response.result);
        },
        stage: (name, stage, message, slot) => this.operations.advance(name, stage, message, slot),
        finish: (name, outcome, attempts) => this.executions.finished(name, outcome, attempts),
        learn: (work, completion, sizeClass) => this.learned.push({ work, completion, sizeClass }),
        notice: (notice) => this.notices.push(notice),
        broken: (error) => assert.fail(String(error)),
      },
      this.clock,
    );
    this.executions = new Executions({
      operations: this.operations,
      host: this.host,
      clock: this.clock,
      preparer: new ActionPreparer(this.store, matcher, async () => [], {
        defaultTimeoutMs: 1_000,
        maxTimeoutMs: 10_000,
        maxMessageBytes: 10_000,
        nodeProperties: [],
      }),
      lookUp: async (key) => this.cached.get(key.action.hash),
      shares: new ShareRules({ levels: ['principal', 'invocation'], weights: [] }),
      history: this.history,
      statusOf: toWireStatus,
      maxResponseBytes: 100_000,
      log: NO_LOG,
      ...parts,
    });
  }

  async put(bytes: Uint8Array): Promise<Digest> {
    const digest = digestOf('sha256', bytes);
    await this.store.putBytes(digest, bytes, never);
    return digest;
  }

  async action(salt: string, doNotCache = false): Promise<ActionKey> {
    const command = Command.encode(Command.fromPartial({ arguments: ['/bin/true'] })).finish();
    const action = Action.fromPartial({
      commandDigest: digestToWire(await this.put(command)),
      inputRootDigest: digestToWire(digestOf('sha256', new Uint8Array())),
      salt: Buffer.from(salt),
      doNotCache,
    });
    return { instance, action: await this.put(Action.encode(action).finish()) };
  }

  start(key: ActionKey, options: StartOptions = {}): OperationState {
    return this.executions.start({
      key,
      skipCacheLookup: options.skipCacheLookup ?? false,
      priority: 0,
      requestMetadata: options.requestMetadata,
      principal: options.principal ?? 'somebody',
      inline: async (result) =>
        options.inline === undefined ? result : { ...result, stderrRaw: Buffer.from(options.inline) },
    });
  }

  /** A worker that takes one lease and reports `response`. */
  async work(response = ExecuteResponse.fromPartial({ result: passed, status: { code: 0 } })): Promise<void> {
    const { hold } = await this.host.synchronize(idleSlot, 0, never);
    assert.ok(hold, 'there is work');
    const completed = { result: { response, isRecordedByWorker: false }, ...verdictOf(response, false) };
    const holding = { action: hold.key.action, lease: hold.lease, completed };
    await this.host.synchronize({ ...idleSlot, holding }, 0, never);
  }

  async finished(name: string): Promise<ExecuteResponse> {
    for await (const { response } of this.operations.watch(name, never))
      if (response) return ExecuteResponse.decode(response);
    throw new Error('the watch ended early');
  }

  /** Until nothing but the outside world could change anything. */
  async quiet(): Promise<void> {
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
  }
}
