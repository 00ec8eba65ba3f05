import type { Authorizer, Permission } from '../../src/auth/authorizer.ts';
import { type InstanceName, parseInstanceName } from '../../src/digest/instance-name.ts';
import {
  type BuildQueueStateParts,
  buildQueueStateMethods,
} from '../../src/execution/build-queue-state/build-queue-state-service.ts';
import { InvocationIds } from '../../src/execution/build-queue-state/invocation-id.ts';
import type { FinishedOperation } from '../../src/execution/build-queue-state/operation-state.ts';
import { queueLabels } from '../../src/execution/build-queue-state/queue-name.ts';
import type { ExecutionWork } from '../../src/execution/execution-work.ts';
import { selects } from '../../src/execution/scheduler/drains.ts';
import type { DrainEvent } from '../../src/execution/scheduler/events.ts';
import { DEFAULT_OPTIONS } from '../../src/execution/scheduler/options.ts';
import type { SlotView } from '../../src/execution/scheduler/view.ts';
import { ExecuteResponse } from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Any } from '../../src/gen/google/protobuf/any.ts';
import type { Status } from '../../src/gen/google/rpc/status.ts';
import type { SizeClassQueueName } from '../../src/gen/pkg/proto/buildqueuestate/buildqueuestate.ts';
import { callUnary } from './call-method.ts';
import { fakeCall } from './fake-call.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeSchedulerView, type FakeSlot } from './scheduler-view.ts';

/** Wall time when the scheduler's is 0. */
export const WALL_ZERO_MS = 1_700_000_000_000;

/** A BuildQueueState service over a fake scheduler, whose drains take effect at once. */
export class BuildQueueStateWorld {
  readonly view = new FakeSchedulerView<ExecutionWork>();
  readonly clock = new FakeClock();
  readonly stopping = new AbortController();
  readonly finished: FinishedOperation[] = [];
  readonly killed: { readonly operation: string; readonly status: Status }[] = [];
  /** Drains in force beyond this number are not begun. */
  maxDrains = 10;
  /** Permission and instance name of each question; those that `denied` matches are answered with no. */
  readonly asked: string[] = [];
  denied: RegExp | undefined;
  readonly parts: BuildQueueStateParts;
  readonly #methods: ReturnType<typeof buildQueueStateMethods>;

  constructor() {
    const authorizer: Authorizer = {
      allows: (_, what: Permission, where: InstanceName) => {
        const question = `${what} ${where}`;
        this.asked.push(question);
        return Promise.resolve(this.denied?.test(question) !== true);
      },
    };
    this.parts = {
      view: this.view,
      finished: {
        list: () => this.finished,
        find: (name) => Promise.resolve(this.finished.find((operation) => operation.name === name)),
      },
      actions: {
        drain: (change) => this.#drain(change),
        kill: (operation, status) => this.killed.push({ operation, status }),
      },
      wallMs: (schedulerMs) => schedulerMs + WALL_ZERO_MS,
      fairness: DEFAULT_OPTIONS.fairness,
      authorizer,
      clock: this.clock,
      stopping: this.stopping.signal,
    };
    this.#methods = buildQueueStateMethods(this.parts);
  }

  /** Calls a method over encoded messages. */
  call<Req, Res>(
    method: Parameters<typeof callUnary<Req, Res>>[1],
    request: object = {},
    signal: AbortSignal = new AbortController().signal,
  ): Promise<Res> {
    return callUnary(this.#methods, method, request, fakeCall({ signal }));
  }

  /** Adds a slot as the worker protocol does: its labels say which queue it belongs to. */
  addSlot(options: FakeSlot<ExecutionWork>): SlotView<ExecutionWork> {
    const slot = this.view.addSlot(options);
    const pool = [...this.view.pools()].find(({ id }) => id === slot.pool);
    return pool === undefined
      ? slot
      : this.view.changeSlot(slot.name, { labels: queueLabels(slot.labels, pool.prefix, pool.offer) });
  }

  #drain({ pattern, on, reason = '', isTermination = false }: Omit<DrainEvent, 'type'>): void {
    this.view.removeDrain(pattern);
    if (on && this.view.drains().length < this.maxDrains) {
      this.view.addDrain({ pattern, reason, isTermination, sinceMs: this.clock.monotonicMs() });
    }
    for (const { name, labels } of [...this.view.slots()]) {
      const holding = this.view.drains().filter((drain) => selects(drain.pattern, labels));
      const isTerminating = holding.some((drain) => drain.isTermination);
      this.view.changeSlot(name, { isDrained: holding.length > 0, isTerminating });
    }
  }
}

/** The name of a queue in a request. */
export function queueName(
  instanceNamePrefix = '',
  properties: Readonly<Record<string, string>> = {},
  sizeClass = 0,
): SizeClassQueueName {
  const platform = { properties: Object.entries(properties).map(([name, value]) => ({ name, value })) };
  return { platformQueueName: { instanceNamePrefix, platform }, sizeClass };
}

/** Shares, from the outermost to the innermost, as ids of invocations. */
export function idsOf(...shares: readonly string[]): Any[] {
  return new InvocationIds().of(shares.map((id) => ({ id }))).map(({ any }) => any);
}

/** An operation that is over, with an output and text. */
export function finishedOperation(name: string, overrides: Partial<FinishedOperation> = {}): FinishedOperation {
  return {
    name,
    key: {
      instance: parseInstanceName('main'),
      action: { function: 'sha256', hash: 'a'.repeat(64), sizeBytes: 5 },
    },
    createdAtMs: WALL_ZERO_MS,
    priority: 3,
    ids: { invocation: 'i', correlated: 'c', target: '//t' },
    response: ExecuteResponse.encode(
      ExecuteResponse.fromPartial({
        message: 'done',
        result: {
          exitCode: 1,
          stdoutRaw: Buffer.from('out'),
          outputFiles: [{ path: 'f', contents: Buffer.from('bytes') }],
        },
      }),
    ).finish(),
    ...overrides,
  };
}
