import type { ActionKey } from '../../src/digest/action-key.ts';
import { parseInstanceName } from '../../src/digest/instance-name.ts';
import type { ReapiError } from '../../src/errors.ts';
import type { Effect, MergePolicy, Scheduler, SchedulerEvent } from '../../src/execution/scheduler/events.ts';
import type { SchedulerOptions } from '../../src/execution/scheduler/options.ts';
import { createScheduler } from '../../src/execution/scheduler/scheduler.ts';
import { DEFAULT_RULES } from '../../src/platform/lexicon.ts';
import { RuleMatcher } from '../../src/platform/matcher.ts';
import type { PlatformProperty } from '../../src/platform/platform.ts';

/** Work and result of driven schedulers are plain words. */
type DrivenEffect = Effect<string, string>;

interface SubmitFacts {
  /** A letter of `a` to `f`, which makes the digest. Default `a`. */
  readonly action?: string;
  readonly instance?: string;
  readonly platform?: readonly PlatformProperty[];
  readonly priority?: number;
  readonly merge?: MergePolicy;
  readonly legacyOutputs?: boolean;
}

interface SyncFacts {
  /** Default `node`. */
  readonly node?: string;
  readonly platform?: readonly PlatformProperty[];
  readonly prefix?: string;
  readonly prefersIdle?: boolean;
  /** The action it runs, a letter; with `lease` unless it is a plain bb_worker. */
  readonly action?: string;
  readonly lease?: string;
  /** The result, if the attempt is over. */
  readonly completed?: string;
  readonly isWorkerFault?: boolean;
}

/** Drives a scheduler by short calls at times the test chooses, and retells its effects in one line each, without `wake`. */
export class SchedulerDriver {
  /** Time of the next event, in milliseconds. */
  nowMs = 0;
  /** What the last event led to, complete. */
  effects: readonly DrivenEffect[] = [];
  readonly #matcher = new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'exact' });
  readonly #scheduler: Scheduler<string, string>;

  constructor(options: Partial<SchedulerOptions> = {}) {
    this.#scheduler = createScheduler(this.#matcher, options);
  }

  submit(operation: string, facts: SubmitFacts = {}): readonly string[] {
    const demands = { digestFunction: 'sha256' as const, legacyOutputs: facts.legacyOutputs ?? false };
    return this.apply({
      type: 'submit',
      operation,
      key: drivenKey(facts.action, facts.instance),
      needs: this.#matcher.parse(facts.platform ?? [], demands),
      priority: facts.priority ?? 0,
      merge: facts.merge ?? 'any',
      work: `work of ${operation}`,
    });
  }

  sync(slot: string, facts: SyncFacts = {}): readonly string[] {
    const { action, lease, completed } = facts;
    const result = { result: completed ?? '', isWorkerFault: facts.isWorkerFault ?? false };
    const isHolding = action !== undefined || lease !== undefined;
    const holding = {
      action: drivenKey(action).action,
      ...(lease === undefined ? {} : { lease }),
      ...(completed === undefined ? {} : { completed: result }),
    };
    return this.apply({
      type: 'sync',
      slot,
      node: facts.node ?? 'node',
      offer: {
        alternatives: [this.#matcher.parseOffer(facts.platform ?? [])],
        digestFunctions: ['sha256'],
        legacyOutputs: false,
      },
      instancePrefix: parseInstanceName(facts.prefix ?? ''),
      prefersIdle: facts.prefersIdle ?? false,
      ...(isHolding ? { holding } : {}),
    });
  }

  /** Lets time pass and ticks. */
  tickAt(nowMs: number): readonly string[] {
    this.nowMs = nowMs;
    return this.apply({ type: 'tick' });
  }

  apply(event: SchedulerEvent<string, string>): readonly string[] {
    this.effects = this.#scheduler.apply(event, this.nowMs);
    return this.effects.filter((effect) => effect.type !== 'wake').map(retold);
  }

  /** The time asked for by the last event, if it asked. */
  get wakeMs(): number | undefined {
    return this.effects.find((effect) => effect.type === 'wake')?.atMs;
  }

  /** The errors with which the last event finished operations. */
  get errors(): readonly ReapiError[] {
    return this.effects.flatMap((effect) =>
      effect.type === 'finish' && effect.outcome.type === 'failed' ? [effect.outcome.error] : [],
    );
  }

  /** The messages of the stages the last event told. */
  get messages(): readonly (string | undefined)[] {
    return this.effects.flatMap((effect) => (effect.type === 'stage' ? [effect.message] : []));
  }
}

function drivenKey(action = 'a', instance = ''): ActionKey {
  return {
    instance: parseInstanceName(instance),
    action: { function: 'sha256', hash: action.repeat(64), sizeBytes: 1 },
  };
}

function retold(effect: DrivenEffect): string {
  switch (effect.type) {
    case 'orders':
      if (effect.hold === undefined) return `${effect.slot}: ${effect.waits ? 'wait' : 'nothing'}`;
      return `${effect.slot}: ${effect.hold.lease} attempt ${effect.hold.attempt}, ${effect.hold.work}`;
    case 'stage':
      return `${effect.operation} ${effect.stage}`;
    case 'record':
      return `record ${effect.lease} ${effect.result}`;
    case 'finish': {
      const { outcome } = effect;
      if (outcome.type === 'failed') return `${effect.operation} failed: ${outcome.error.kind}`;
      const suffix = outcome.recordFailed === undefined ? '' : `, record failed: ${outcome.recordFailed.kind}`;
      return `${effect.operation} result ${outcome.result}${suffix}`;
    }
    case 'wake':
      return `wake ${effect.atMs}`;
  }
}
