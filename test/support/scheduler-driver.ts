import type { ActionKey } from '../../src/digest/action-key.ts';
import { parseInstanceName } from '../../src/digest/instance-name.ts';
import type { ReapiError } from '../../src/errors.ts';
import type {
  AttemptRecord,
  Completion,
  DrainEvent,
  Effect,
  Labels,
  LeaseReport,
  MergePolicy,
  Notice,
  SchedulerEvent,
  ShareKey,
  Verdict,
} from '../../src/execution/scheduler/events.ts';
import type { SchedulerOptions } from '../../src/execution/scheduler/options.ts';
import { createScheduler, type ViewedScheduler } from '../../src/execution/scheduler/scheduler.ts';
import type { Explanation, SchedulerView } from '../../src/execution/scheduler/view.ts';
import { DEFAULT_RULES } from '../../src/platform/lexicon.ts';
import type { CacheSketch, InputSketch } from '../../src/platform/locality.ts';
import { RuleMatcher } from '../../src/platform/matcher.ts';
import type { PlatformMatcher, PlatformProperty, Requirement, WorkerOffer } from '../../src/platform/platform.ts';

/** Work and result of driven schedulers are plain words. */
type DrivenEffect = Effect<string, string>;

/** What a driven client asks for; everything has a default. */
export interface SubmitFacts {
  /** A letter of `a` to `f` or a number, which makes the digest. Default `a`. */
  readonly action?: string;
  readonly instance?: string;
  /** `name=value` pairs, separated by spaces. */
  readonly platform?: string;
  readonly priority?: number;
  readonly merge?: MergePolicy;
  readonly legacyOutputs?: boolean;
  /** Ids with weight 1, or whole keys. */
  readonly shares?: readonly (string | ShareKey)[];
  readonly expectedMs?: number;
  readonly sizeClass?: number;
  readonly inputs?: InputSketch;
}

/** What a driven slot says; everything has a default. */
export interface SyncFacts {
  /** Default `node`. */
  readonly node?: string;
  readonly labels?: Labels;
  /** `name=value` pairs, separated by spaces; alternatives are separated by `|`. */
  readonly platform?: string;
  readonly sizeClass?: number;
  readonly prefix?: string;
  readonly prefersIdle?: boolean;
  readonly canExit?: boolean;
  /** Tells one life of the worker's process from another. */
  readonly incarnation?: string;
  readonly prefetches?: boolean;
  readonly cached?: CacheSketch;
  /** The action it runs; with `lease` unless it is a plain bb_worker. */
  readonly action?: string;
  readonly lease?: string;
  /** Reports the whole key, under this instance name. */
  readonly instance?: string;
  /** The result, if the attempt is over. */
  readonly completed?: string;
  /** Default `success`. */
  readonly verdict?: Verdict;
  readonly cause?: string;
}

/** Drives a scheduler by short calls at times the test chooses, and retells its effects in one line each, without `wake`. */
export class SchedulerDriver {
  /** Time of the next event, in milliseconds. */
  nowMs = 0;
  /** What the last event led to, complete. */
  effects: readonly DrivenEffect[] = [];
  readonly #matcher: PlatformMatcher;
  readonly #scheduler: ViewedScheduler<string, string>;

  /** @param matcher instead of the default rules. */
  constructor(options: Partial<SchedulerOptions> = {}, matcher: PlatformMatcher = DRIVEN_MATCHER) {
    this.#matcher = matcher;
    this.#scheduler = createScheduler(matcher, options);
  }

  get view(): SchedulerView<string> {
    return this.#scheduler.view;
  }

  submit(operation: string, facts: SubmitFacts = {}): readonly string[] {
    const { action, instance, platform = '', legacyOutputs = false, shares, expectedMs, sizeClass, inputs } = facts;
    return this.apply({
      type: 'submit',
      operation,
      key: drivenKey(action, instance),
      needs: this.#matcher.parse(propertiesOf(platform), { digestFunction: 'sha256', legacyOutputs }),
      priority: facts.priority ?? 0,
      merge: facts.merge ?? 'any',
      work: `work of ${operation}`,
      ...(shares && { shares: shares.map((share) => (typeof share === 'string' ? { id: share, weight: 1 } : share)) }),
      ...(expectedMs !== undefined && { expectedMs }),
      ...(sizeClass !== undefined && { sizeClass }),
      ...(inputs && { inputs }),
    });
  }

  sync(slot: string, facts: SyncFacts = {}): readonly string[] {
    const { platform = '', sizeClass, prefix = '', labels, canExit, incarnation, prefetches, cached } = facts;
    const holding = holdingOf(facts);
    return this.apply({
      type: 'sync',
      slot,
      node: facts.node ?? 'node',
      offer: drivenOffer(platform, sizeClass, this.#matcher),
      instancePrefix: parseInstanceName(prefix),
      prefersIdle: facts.prefersIdle ?? false,
      ...(labels && { labels }),
      ...(canExit !== undefined && { canExit }),
      ...(incarnation !== undefined && { incarnation }),
      ...(prefetches !== undefined && { prefetches }),
      ...(cached && { cached }),
      ...(holding && { holding }),
    });
  }

  /** Begins a drain, or ends it with `on: false`. */
  drain(pattern: Labels, facts: Partial<DrainEvent> = {}): readonly string[] {
    return this.apply({ type: 'drain', pattern, on: true, ...facts });
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

  /** Why an unfinished operation is where it is. */
  explain(operation: string): Explanation {
    const explanation = this.view.explain(operation, this.nowMs);
    if (explanation === undefined) throw new Error(`${operation} is not there`);
    return explanation;
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

  /** The notices of the last event. */
  get notices(): readonly Notice[] {
    return this.effects.flatMap((effect) => (effect.type === 'notice' ? [effect.notice] : []));
  }

  /** The attempts of the first operation that the last event finished. */
  get attempts(): readonly AttemptRecord[] {
    return this.effects.find((effect) => effect.type === 'finish')?.attempts ?? [];
  }
}

/** The default rules, for anything that needs no others. */
export const DRIVEN_MATCHER: PlatformMatcher = new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'exact' });

/** A key whose digest is made of a letter or a number. */
export function drivenKey(action = 'a', instance = ''): ActionKey {
  const hash = action.length === 1 ? action.repeat(64) : action.padStart(64, '0');
  return { instance: parseInstanceName(instance), action: { function: 'sha256', hash, sizeBytes: 1 } };
}

/** What a worker offers, as in `SyncFacts.platform`. */
export function drivenOffer(platform: string, sizeClass = 0, matcher = DRIVEN_MATCHER): WorkerOffer {
  const alternatives = platform.split('|').map((set) => matcher.parseOffer(propertiesOf(set)));
  const capacity = matcher.capacityOf(alternatives);
  return { alternatives, digestFunctions: ['sha256'], legacyOutputs: false, capacity, sizeClass };
}

/** What an action needs, as in `SubmitFacts.platform`. */
export function drivenNeeds(platform = '', matcher = DRIVEN_MATCHER): Requirement {
  return matcher.parse(propertiesOf(platform), { digestFunction: 'sha256', legacyOutputs: false });
}

function propertiesOf(text: string): readonly PlatformProperty[] {
  const words = text.split(' ').filter((word) => word !== '');
  return words.map((word) => ({
    name: word.slice(0, word.indexOf('=')),
    value: word.slice(word.indexOf('=') + 1),
  }));
}

function holdingOf(facts: SyncFacts): LeaseReport<string> | undefined {
  const { action, lease, instance, completed, verdict = 'success', cause } = facts;
  if (action === undefined && lease === undefined) return undefined;
  const key = drivenKey(action, instance);
  const completion: Completion<string> | undefined =
    completed === undefined ? undefined : { result: completed, verdict, ...(cause !== undefined && { cause }) };
  return {
    action: key.action,
    ...(lease !== undefined && { lease }),
    ...(instance !== undefined && { key }),
    ...(completion && { completed: completion }),
  };
}

function retold(effect: DrivenEffect): string {
  switch (effect.type) {
    case 'orders':
      return retoldOrders(effect);
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
    case 'notice':
      return `notice ${effect.notice.kind}`;
    case 'wake':
      return `wake ${effect.atMs}`;
  }
}

function retoldOrders({ slot, hold, waits, next, exits }: Extract<DrivenEffect, { type: 'orders' }>): string {
  const hint = next === undefined ? '' : `, next ${next.work}`;
  if (hold !== undefined) return `${slot}: ${hold.lease} attempt ${hold.attempt}, ${hold.work ?? 'no work'}${hint}`;
  if (exits === true) return `${slot}: exit`;
  return `${slot}: ${waits ? 'wait' : 'nothing'}`;
}
