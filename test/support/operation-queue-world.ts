import assert from 'node:assert/strict';
import { OpenAuthorizer, ReadOnlyAuthorizer } from '../../src/auth/authorizer.ts';
import { type Digest, digestToWire } from '../../src/digest/digest.ts';
import { digestOf } from '../../src/digest/hasher.ts';
import { parseInstanceName } from '../../src/digest/instance-name.ts';
import type { ExecutionReport, ExecutionWork } from '../../src/execution/execution-work.ts';
import { operationQueueMethods } from '../../src/execution/operation-queue-service.ts';
import type { Outcome } from '../../src/execution/scheduler/events.ts';
import { DEFAULT_OPTIONS, type SchedulerOptions } from '../../src/execution/scheduler/options.ts';
import { createScheduler } from '../../src/execution/scheduler/scheduler.ts';
import { SchedulerHost } from '../../src/execution/scheduler-host.ts';
import {
  type Action,
  ActionResult,
  ExecuteResponse,
  type RequestMetadata,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { SynchronizeRequest, SynchronizeResponse } from '../../src/gen/pkg/proto/remoteworker/remoteworker.ts';
import { DEFAULT_RULES } from '../../src/platform/lexicon.ts';
import type { InputSketch } from '../../src/platform/locality.ts';
import { RuleMatcher } from '../../src/platform/matcher.ts';
import type { PlatformProperty } from '../../src/platform/platform.ts';
import { fakeCall } from './fake-call.ts';
import { FakeClock } from './fake-clock.ts';

/** Fields of a SynchronizeRequest. */
export type Fields = Parameters<typeof SynchronizeRequest.fromPartial>[0];

/** What an idle slot says. */
export const IDLE: Fields = { currentState: { workerState: { $case: 'idle', value: {} } } };
/** Properties of a Linux machine. */
export const LINUX = [{ name: 'OSFamily', value: 'linux' }];
/** The action of most tests. */
export const action = digestOf('sha256', Buffer.from('action'));
/** Another action. */
export const other = digestOf('sha256', Buffer.from('other'));

/** The service over a scheduler, with workers that the test plays and clients that only submit. */
export class Queue {
  readonly clock = new FakeClock(1_700_000_000_000);
  readonly matcher = new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'exact' });
  readonly outcomes: Outcome<ExecutionReport>[] = [];
  readonly stages: string[] = [];
  readonly recorded: boolean[] = [];
  readonly stopping = new AbortController();
  readonly host: SchedulerHost;
  readonly #authorizer = new OpenAuthorizer();

  constructor(options: Partial<SchedulerOptions> = {}) {
    this.host = new SchedulerHost(
      createScheduler<ExecutionWork, ExecutionReport>(this.matcher, { ...DEFAULT_OPTIONS, ...options }),
      {
        record: async (_, _work, { isRecordedByWorker }) => {
          this.recorded.push(isRecordedByWorker);
        },
        stage: (_, stage) => this.stages.push(stage),
        finish: (_, outcome) => this.outcomes.push(outcome),
        learn: () => undefined,
        notice: () => undefined,
        broken: (error) => assert.fail(String(error)),
      },
      this.clock,
    );
  }

  async synchronize(fields: Fields, signal?: AbortSignal, isReadOnly = false): Promise<SynchronizeResponse> {
    const [method] = operationQueueMethods({
      host: this.host,
      matcher: this.matcher,
      authorizer: isReadOnly ? new ReadOnlyAuthorizer(this.#authorizer) : this.#authorizer,
      clock: this.clock,
      pollMs: 50_000,
      reportIntervalMs: 10_000,
      defaultDigestFunctions: ['sha256'],
      stopping: this.stopping.signal,
    });
    assert.ok(method?.kind === 'unary');
    const request = SynchronizeRequest.fromPartial({ workerId: { node: 'n', thread: '0' }, ...fields });
    const call = fakeCall(signal === undefined ? {} : { signal });
    return SynchronizeResponse.decode(await method.handle(SynchronizeRequest.encode(request).finish(), call));
  }

  submit({
    operation = 'op',
    instance = 'main/sub',
    of = action,
    requestMetadata,
    platform = [],
    inputs,
    shares,
  }: Submission = {}): void {
    const needs = this.matcher.parse(platform, { digestFunction: 'sha256', legacyOutputs: false });
    const key = { instance: parseInstanceName(instance), action: of };
    const work: ExecutionWork = { key, action: WIRE_ACTION, timeoutMs: 60_000, requestMetadata };
    this.host.apply({
      type: 'submit',
      operation,
      key,
      needs,
      priority: 0,
      merge: 'any',
      work,
      ...(inputs && { inputs }),
      ...(shares && { shares: shares.map((id) => ({ id, weight: 1 })) }),
    });
  }
}

/** What workers are given to run. */
export const WIRE_ACTION: Action = {
  commandDigest: digestToWire(action),
  inputRootDigest: digestToWire(action),
  timeout: { seconds: 60n, nanos: 0 },
  doNotCache: false,
  salt: Buffer.alloc(0),
  platform: undefined,
};

/** What a client asks for; everything has a default. */
export interface Submission {
  readonly operation?: string;
  readonly instance?: string;
  readonly of?: Digest;
  readonly requestMetadata?: RequestMetadata;
  readonly platform?: readonly PlatformProperty[];
  readonly inputs?: InputSketch;
  /** Ids, all with weight 1. */
  readonly shares?: readonly string[];
}

/** What else a slot that executes says. */
export interface ExecutingFields {
  readonly leaseId?: string;
  readonly of?: Digest;
  /** Anything else that our own worker says. */
  readonly gantry?: NonNullable<Fields['gantry']>;
}

/** What a slot says that executes; with a lease it is one of ours. */
export function executing(
  state: 'running' | 'fetching' | ExecuteResponse,
  { leaseId = '', of = action, gantry }: ExecutingFields = {},
): Fields {
  const value = {
    actionDigest: digestToWire(of),
    executionState: typeof state === 'string' ? STATES[state] : ({ $case: 'completed', value: state } as const),
  };
  const own = leaseId === '' ? gantry : { leaseId, serverRecordsResult: true, ...gantry };
  return { currentState: { workerState: { $case: 'executing', value } }, ...(own && { gantry: own }) };
}

const STATES = {
  running: { $case: 'running', value: {} },
  fetching: { $case: 'fetchingInputs', value: {} },
} as const;

/** The state that the answer asks for. */
export const caseOf = (response: SynchronizeResponse): string | undefined => response.desiredState?.workerState?.$case;
/** Of a command that succeeded. */
export const passed = ExecuteResponse.fromPartial({ result: ActionResult.fromPartial({}) });

/** Lets the handler get to its wait. */
export const settle = (): Promise<void> => new Promise(setImmediate);
