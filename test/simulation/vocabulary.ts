import { type ActionKey, actionKeyText } from '../../src/digest/action-key.ts';
import type { Effect, SchedulerEvent, Verdict } from '../../src/execution/scheduler/events.ts';
import { DEFAULT_RULES } from '../../src/platform/lexicon.ts';
import { RuleMatcher } from '../../src/platform/matcher.ts';
import type { Requirement, WorkerOffer } from '../../src/platform/platform.ts';

/**
 * What happens to a worker that runs the action: it ends; the command fails; small machines are too small for it; it kills
 * its worker each time; or it is never taken at all.
 */
export type Nature = 'ordinary' | 'fails' | 'is-big' | 'crashes' | 'is-refused';

/** An action of the simulated world. */
export interface SimAction {
  readonly key: ActionKey;
  readonly keyText: string;
  readonly os: string | undefined;
  readonly pool: string | undefined;
  /** Taken from its node while it runs. */
  readonly cores: number | undefined;
  readonly durationMs: number;
  /** What clients say of the duration. */
  readonly expectedMs: number | undefined;
  readonly nature: Nature;
  readonly needs: Requirement;
  /** Equal for actions that any slot treats alike. */
  readonly wishes: string;
}

/** What a slot of the simulated world can do, in the world's own words and in the scheduler's. */
export interface SimOffer {
  readonly sets: readonly { readonly os: string; readonly pools: readonly string[] }[];
  readonly prefix: ActionKey['instance'];
  /** What the slots of a node share; undefined: without end, and not offered. */
  readonly cores: number | undefined;
  /** 0: none. */
  readonly sizeClass: number;
  readonly wire: WorkerOffer;
  /** Equal for offers that are alike. */
  readonly text: string;
}

/** What a lease carries: the operation that made the task, and its action. */
export interface SimWork {
  readonly madeBy: string;
  readonly action: SimAction;
}

/** What an attempt gives. */
export interface SimResult {
  /** The lease it was run under. */
  readonly lease: string;
  readonly verdict: Verdict;
  /** From a worker that knows no lease ids. */
  readonly isPlain: boolean;
  /** Hash of the action's digest. */
  readonly action: string;
}

/** Events and effects of the simulated world. */
export type SimEvent = SchedulerEvent<SimWork, SimResult>;
export type SimEffect = Effect<SimWork, SimResult>;
export type SimSync = Extract<SimEvent, { type: 'sync' }>;
export type SimSubmit = Extract<SimEvent, { type: 'submit' }>;

/** The matcher of every world, with the default rules. */
export const MATCHER = new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'exact' });

type ActionFacts = Pick<SimAction, 'os' | 'pool' | 'cores' | 'durationMs' | 'expectedMs' | 'nature'>;

/** Makes an action. @param number makes its digest. */
export function simAction(number: number, instance: ActionKey['instance'], facts: ActionFacts): SimAction {
  const properties = [
    ...(facts.os === undefined ? [] : [{ name: 'OSFamily', value: facts.os }]),
    ...(facts.pool === undefined ? [] : [{ name: 'pool', value: facts.pool }]),
    ...(facts.cores === undefined ? [] : [{ name: 'cores', value: String(facts.cores) }]),
  ];
  const hash = number.toString(16).padStart(64, '0');
  const key: ActionKey = { instance, action: { function: 'sha256', hash, sizeBytes: 1 } };
  return {
    ...facts,
    key,
    keyText: actionKeyText(key),
    needs: MATCHER.parse(properties, { digestFunction: 'sha256', legacyOutputs: false }),
    wishes: JSON.stringify([instance, facts.os, facts.pool, facts.cores]),
  };
}

/** Makes an offer. */
export function simOffer(facts: Pick<SimOffer, 'sets' | 'prefix' | 'cores' | 'sizeClass'>): SimOffer {
  const { sets, prefix, cores, sizeClass } = facts;
  const counted = cores === undefined ? [] : [{ name: 'cores', value: String(cores) }];
  const alternatives = sets.map(({ os, pools }) =>
    MATCHER.parseOffer([{ name: 'os', value: os }, ...pools.map((value) => ({ name: 'Pool', value })), ...counted]),
  );
  return {
    ...facts,
    wire: {
      alternatives,
      digestFunctions: ['sha256'],
      legacyOutputs: true,
      capacity: MATCHER.capacityOf(alternatives),
      ...(sizeClass === 0 ? {} : { sizeClass }),
    },
    text: JSON.stringify([prefix, sets, cores, sizeClass]),
  };
}

/** Whether a worker with this prefix serves the instance name: the world's own opinion. */
export function isServed(prefix: string, instance: string): boolean {
  return prefix === '' || instance === prefix || instance.startsWith(`${prefix}/`);
}

/** Whether the platform fits, found without the matcher under test. */
export function canRun(offer: SimOffer, { key, os, pool, cores }: SimAction): boolean {
  const isFit = offer.sets.some(
    (set) => (os === undefined || set.os === os) && (pool === undefined || set.pools.includes(pool)),
  );
  return isServed(offer.prefix, key.instance) && isFit && (cores === undefined || (offer.cores ?? 0) >= cores);
}
