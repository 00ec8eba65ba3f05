import type { ActionKey } from '../../src/digest/action-key.ts';
import type { Effect, SchedulerEvent } from '../../src/execution/scheduler/events.ts';
import { DEFAULT_RULES } from '../../src/platform/lexicon.ts';
import { RuleMatcher } from '../../src/platform/matcher.ts';
import type { Requirement, WorkerOffer } from '../../src/platform/platform.ts';

/** What happens to a worker that runs the action: it ends, kills its worker each time, or is never taken at all. */
type Nature = 'ordinary' | 'crashes' | 'is-refused';

/** An action of the simulated world. */
export interface SimAction {
  readonly key: ActionKey;
  readonly os: string | undefined;
  readonly pool: string | undefined;
  readonly durationMs: number;
  readonly nature: Nature;
  readonly needs: Requirement;
}

/** What a slot of the simulated world can do, in the world's own words and in the scheduler's. */
export interface SimOffer {
  readonly sets: readonly { readonly os: string; readonly pools: readonly string[] }[];
  readonly prefix: ActionKey['instance'];
  readonly wire: WorkerOffer;
}

/** What a lease carries: the operation that made the task, and its action. */
export interface SimWork {
  readonly madeBy: string;
  readonly action: SimAction;
}

/** What an attempt gives. */
export interface SimResult {
  readonly madeBy: string;
  readonly isFault: boolean;
  /** From a worker that knows no lease ids. */
  readonly isPlain: boolean;
  /** Hash of the action's digest. */
  readonly action: string;
}

/** Events and effects of the simulated world. */
export type SimEvent = SchedulerEvent<SimWork, SimResult>;
export type SimEffect = Effect<SimWork, SimResult>;

/** The matcher of every world, with the default rules. */
export const MATCHER = new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'exact' });

/** Makes an action. @param number makes its digest. */
export function simAction(
  number: number,
  instance: ActionKey['instance'],
  facts: Pick<SimAction, 'os' | 'pool' | 'durationMs' | 'nature'>,
): SimAction {
  const properties = [
    ...(facts.os === undefined ? [] : [{ name: 'OSFamily', value: facts.os }]),
    ...(facts.pool === undefined ? [] : [{ name: 'pool', value: facts.pool }]),
  ];
  const hash = number.toString(16).padStart(64, '0');
  return {
    ...facts,
    key: { instance, action: { function: 'sha256', hash, sizeBytes: 1 } },
    needs: MATCHER.parse(properties, { digestFunction: 'sha256', legacyOutputs: false }),
  };
}

/** Makes an offer. */
export function simOffer(sets: SimOffer['sets'], prefix: ActionKey['instance']): SimOffer {
  const alternatives = sets.map(({ os, pools }) =>
    MATCHER.parseOffer([{ name: 'os', value: os }, ...pools.map((value) => ({ name: 'Pool', value }))]),
  );
  return { sets, prefix, wire: { alternatives, digestFunctions: ['sha256'], legacyOutputs: true } };
}

/** The world's own opinion, found without the matcher under test. */
export function canRun(offer: SimOffer, { key, os, pool }: SimAction): boolean {
  const { prefix } = offer;
  const isServed = prefix === '' || key.instance === prefix || key.instance.startsWith(`${prefix}/`);
  const isFit = offer.sets.some(
    (set) => (os === undefined || set.os === os) && (pool === undefined || set.pools.includes(pool)),
  );
  return isServed && isFit;
}
