import { OpenAuthorizer } from '../../src/auth/authorizer.ts';
import { parseInstanceName } from '../../src/digest/instance-name.ts';
import { buildQueueStateMethods } from '../../src/execution/build-queue-state/build-queue-state-service.ts';
import { queueLabels } from '../../src/execution/build-queue-state/queue-name.ts';
import type { ExecutionWork } from '../../src/execution/execution-work.ts';
import { DEFAULT_OPTIONS } from '../../src/execution/scheduler/options.ts';
import { createScheduler } from '../../src/execution/scheduler/scheduler.ts';
import type { SlotView } from '../../src/execution/scheduler/view.ts';
import { Action } from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { DEFAULT_RULES } from '../../src/platform/lexicon.ts';
import { RuleMatcher } from '../../src/platform/matcher.ts';
import type { PlatformProperty } from '../../src/platform/platform.ts';
import type { Method } from '../../src/rpc/methods.ts';
import { FakeClock } from './fake-clock.ts';

/** BuildQueueState over a scheduler that works, with slots that report what a test tells them to. */
export class RealQueueState {
  readonly clock = new FakeClock(0);
  readonly methods: Method[];
  readonly #matcher = new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'exact' });
  readonly #scheduler = createScheduler<ExecutionWork, string>(this.#matcher);
  #submitted = 0;

  constructor() {
    const { clock } = this;
    this.methods = buildQueueStateMethods({
      view: this.#scheduler.view,
      finished: { list: () => [], find: () => Promise.resolve(undefined) },
      actions: {
        drain: (change) => this.#scheduler.apply({ type: 'drain', ...change }, clock.monotonicMs()),
        kill: (operation, { message }) =>
          this.#scheduler.apply({ type: 'cancel', operation, message }, clock.monotonicMs()),
      },
      wallMs: (schedulerMs) => schedulerMs,
      fairness: DEFAULT_OPTIONS.fairness,
      authorizer: new OpenAuthorizer(),
      clock,
      stopping: new AbortController().signal,
    });
  }

  /** Queues an action of its own. */
  submit(operation: string, platform: readonly PlatformProperty[], shares: readonly string[]): void {
    const hash = (++this.#submitted).toString(16).padStart(64, '0');
    const key = {
      instance: parseInstanceName('main'),
      action: { function: 'sha256', hash, sizeBytes: 1 },
    } as const;
    this.#scheduler.apply(
      {
        type: 'submit',
        operation,
        key,
        needs: this.#matcher.parse(platform, { digestFunction: 'sha256', legacyOutputs: false }),
        priority: 0,
        merge: 'any',
        work: { key, action: Action.fromPartial({}), timeoutMs: 1_000, requestMetadata: undefined },
        shares: shares.map((id) => ({ id, weight: 1 })),
      },
      this.clock.monotonicMs(),
    );
  }

  /** A slot reports that it is idle or, with `isDone`, that it has done what it holds. @returns it as it is then. */
  sync(host: string, platform: readonly PlatformProperty[], isDone = false): SlotView<ExecutionWork> | undefined {
    const offer = {
      alternatives: [this.#matcher.parseOffer(platform)],
      digestFunctions: ['sha256'],
      legacyOutputs: false,
    } as const;
    const instancePrefix = parseInstanceName('main');
    const held = this.#scheduler.view.slot(host)?.hold;
    const completed = { result: 'result', verdict: 'success' } as const;
    this.#scheduler.apply(
      {
        type: 'sync',
        slot: host,
        node: host,
        labels: queueLabels({ host }, instancePrefix, offer),
        offer,
        instancePrefix,
        prefersIdle: false,
        ...(isDone && held && { holding: { action: held.key.action, lease: held.lease, completed } }),
      },
      this.clock.monotonicMs(),
    );
    return this.#scheduler.view.slot(host);
  }
}
