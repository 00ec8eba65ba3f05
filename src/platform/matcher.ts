import { ReapiError } from '../errors.ts';
import type {
  Amount,
  Match,
  PlatformMatcher,
  PlatformProperty,
  PropertySet,
  Refusal,
  Requirement,
  TypedDemands,
  WorkerOffer,
} from './platform.ts';
import {
  byName,
  MAX_PLATFORM_PROPERTIES,
  type PropertyMode,
  type PropertyRule,
  PropertyRules,
  type UnknownProperty,
} from './property-rules.ts';

const NOTHING: readonly string[] = [];

/** Which rules the matcher goes by. `DEFAULT_RULES` with `exact` for unknown names is the default of the server. */
export interface RuleMatcherOptions {
  readonly rules: readonly PropertyRule[];
  readonly unknown: UnknownProperty;
}

/** Meaning of platform properties by a table of rules. */
export class RuleMatcher implements PlatformMatcher {
  readonly #rules: PropertyRules;

  /** @throws invalid-argument if two rules claim a name, or a rule has what does not go with its mode. */
  constructor(options: RuleMatcherOptions) {
    this.#rules = new PropertyRules(options.rules, { unknown: options.unknown });
  }

  parse(platform: readonly PlatformProperty[], demands: TypedDemands): Requirement {
    for (const { name } of platform) {
      if (this.#rules.unknown === 'refuse' && name !== '' && !this.#rules.knows(name)) {
        throw new ReapiError('no-such-platform', `the platform property ${shown(name)} is not known here`, {
          field: 'platform',
        });
      }
    }
    const asked = this.#canonical(platform);
    const preferences = asked.filter(({ name }) => this.#rules.modeOf(name) === 'preference');
    const takes = this.#takes(asked);
    return {
      properties: preferences.length === 0 ? asked : asked.filter((property) => !preferences.includes(property)),
      digestFunction: demands.digestFunction,
      legacyOutputs: demands.legacyOutputs,
      ...(takes.length > 0 && { takes }),
      ...(preferences.length > 0 && { preferences }),
    };
  }

  parseOffer(platform: readonly PlatformProperty[]): PropertySet {
    return { properties: this.#canonical(platform) };
  }

  match(offer: WorkerOffer, needs: Requirement): Match {
    const typed = typedRefusals(offer, needs);
    let nearest: readonly Refusal[] | undefined;
    for (const alternative of offer.alternatives) {
      const refusals = this.#refusals(alternative, needs);
      if (nearest === undefined || refusals.length < nearest.length) nearest = refusals;
    }
    const all = [...(nearest ?? this.#refusals({ properties: [] }, needs)), ...typed];
    if (all.length > 0) return { fits: false, refusals: all };
    if (nearest !== undefined) return { fits: true };
    return { fits: false, refusals: [{ property: 'platform', wanted: NOTHING, offered: NOTHING }] };
  }

  preferred(offer: WorkerOffer, needs: Requirement): number {
    const { preferences } = needs;
    if (preferences === undefined || typedRefusals(offer, needs).length > 0) return 0;
    let best = 0;
    for (const alternative of offer.alternatives) {
      const satisfied = preferences.filter(({ name, values }) =>
        isSatisfied('any-of', values, valuesOf(alternative, name)),
      );
      // Counting is cheaper than matching, so it comes first.
      if (satisfied.length > best && this.#refusals(alternative, needs).length === 0) best = satisfied.length;
    }
    return best;
  }

  capacityOf(alternatives: readonly PropertySet[]): readonly Amount[] {
    const capacity: Amount[] = [];
    for (const { name } of this.#rules.taken) {
      const amounts = alternatives.flatMap((alternative) => valuesOf(alternative, name).map(Number));
      if (amounts.length > 0) capacity.push({ name, amount: Math.max(...amounts) });
    }
    return capacity;
  }

  #takes(asked: PropertySet['properties']): readonly Amount[] {
    const takes: Amount[] = [];
    for (const { name, defaultAmount } of this.#rules.taken) {
      const values = asked.find((property) => property.name === name)?.values;
      const amount = values === undefined ? defaultAmount : Math.max(...values.map(Number));
      if (amount > 0) takes.push({ name, amount });
    }
    return takes;
  }

  #canonical(platform: readonly PlatformProperty[]): PropertySet['properties'] {
    if (platform.length > MAX_PLATFORM_PROPERTIES) {
      throw new ReapiError('invalid-argument', `a platform has more than ${MAX_PLATFORM_PROPERTIES} properties`, {
        field: 'platform',
      });
    }
    const values = new Map<string, Set<string>>();
    for (const property of platform) {
      const { name, value, mode } = this.#rules.canonical(property.name, property.value);
      if (mode === 'ignore') continue;
      const known = values.get(name) ?? new Set();
      values.set(name, known.add(value));
      if (mode === 'exact' && known.size > 1) {
        throw new ReapiError('invalid-argument', `the platform property ${name} has more than one value`, {
          field: 'platform',
        });
      }
    }
    return [...values].map(([name, set]) => ({ name, values: [...set].sort() })).sort(byName);
  }

  #refusals(set: PropertySet, needs: Requirement): readonly Refusal[] {
    const refusals: Refusal[] = [];
    for (const { name, values: wanted } of needs.properties) {
      const offered = valuesOf(set, name);
      if (!isSatisfied(this.#rules.modeOf(name), wanted, offered)) refusals.push({ property: name, wanted, offered });
    }
    return refusals;
  }
}

function valuesOf(set: PropertySet, name: string): readonly string[] {
  return set.properties.find((property) => property.name === name)?.values ?? NOTHING;
}

function isSatisfied(mode: PropertyMode, wanted: readonly string[], offered: readonly string[]): boolean {
  switch (mode) {
    case 'ignore':
    case 'preference':
      return true;
    case 'exact':
    case 'all-of':
      return wanted.every((value) => offered.includes(value));
    case 'any-of':
      return wanted.length === 0 || wanted.some((value) => offered.includes(value));
    case 'minimum':
      return wanted.every((value) => offered.some((has) => Number(has) >= Number(value)));
  }
}

function typedRefusals(offer: WorkerOffer, needs: Requirement): readonly Refusal[] {
  const refusals: Refusal[] = [];
  if (!offer.digestFunctions.includes(needs.digestFunction)) {
    refusals.push({ property: 'digest function', wanted: [needs.digestFunction], offered: offer.digestFunctions });
  }
  if (needs.legacyOutputs && !offer.legacyOutputs) {
    refusals.push({ property: 'legacy outputs', wanted: ['yes'], offered: ['no'] });
  }
  return refusals;
}

/** A name from outside, for messages: quoted, at most 80 characters, control characters replaced. */
function shown(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}
