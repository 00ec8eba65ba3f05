import { ReapiError } from '../errors.ts';
import { type AmountUnit, parseAmount } from './amount.ts';

/**
 * How the values asked for are compared with the values on offer.
 *
 * - `exact`: one value, and the offer has it. Two different values in one requirement or offer are an error.
 * - `any-of`: one of the values asked for is enough.
 * - `all-of`: every value asked for is on offer (`ISA=x86-64`, `ISA=x86-avx2`).
 * - `minimum`: an amount; the offer has at least as much as the largest one asked for.
 * - `preference`: like `any-of`, but a worker without it is only the second choice: it is never refused for it.
 * - `ignore`: the property says nothing about where an action may run.
 */
export type PropertyMode = 'exact' | 'any-of' | 'all-of' | 'minimum' | 'preference' | 'ignore';

/** What one platform property means. Plain data: configuration produces it. */
export interface PropertyRule {
  /** How we spell it in messages. Clients and workers may use any case. */
  readonly name: string;
  /** Other names for it, in any case. */
  readonly aliases?: readonly string[];
  readonly mode: PropertyMode;
  /** Whether values differing in case only are equal; then they are kept in lower case. Default false (R-PL-03). */
  readonly foldsValueCase?: boolean;
  /** Other spellings of a value, in lower case if `foldsValueCase`, and what they mean. */
  readonly valueAliases?: Readonly<Record<string, string>>;
  /** Only with `minimum`: how values may be written besides plain decimal numbers. */
  readonly unit?: AmountUnit;
  /** Only with `minimum`: other names that count in larger steps, and the size of a step (`memory_kb`: 1024). */
  readonly scaledAliases?: Readonly<Record<string, number>>;
  /** Only with `minimum`: the amount asked for is taken from the node while the action runs. Default false. */
  readonly isTaken?: boolean;
  /** Only with `isTaken`: what an action takes that does not ask. It is not asked of a worker. Default 0. */
  readonly defaultAmount?: number;
}

/**
 * What a property means that no rule names: `refuse` it, or take every value asked for as one that must be on offer.
 * The latter is refused too unless some worker offers that very name (R-PL-03, R-PL-04).
 */
export type UnknownProperty = 'refuse' | 'exact';

/** Most properties in one platform message: it bounds the work of matching, and is far above what clients send. */
export const MAX_PLATFORM_PROPERTIES = 256;

/** What a rule makes of names, and the values after aliases and folding. */
export interface NamedValue {
  readonly name: string;
  readonly value: string;
  readonly mode: PropertyMode;
}

/** A property whose amounts are taken while an action runs. */
export interface TakenProperty {
  readonly name: string;
  /** What an action takes that does not ask. */
  readonly defaultAmount: number;
}

/** A rule under one of its names. */
interface NamedRule {
  readonly rule: PropertyRule;
  /** What one stands for under this name. */
  readonly factor: number;
}

/** What a value of `minimum` has to be, by its unit. */
const AMOUNTS = {
  plain: 'a plain decimal number',
  bytes: 'a number of bytes, like 4096 or 4GB',
  milli: 'a decimal number, or one of thousandths like 1500m',
} as const;

/** Rules by every name they go by, and the policy for other names. */
export class PropertyRules {
  /** Sorted by name. */
  readonly taken: readonly TakenProperty[];
  readonly #byName = new Map<string, NamedRule>();
  readonly #modes = new Map<string, PropertyMode>();
  readonly #unknown: UnknownProperty;

  /** @throws invalid-argument if two rules claim a name, or a rule has what does not go with its mode. */
  constructor(rules: readonly PropertyRule[], options: { readonly unknown: UnknownProperty }) {
    this.#unknown = options.unknown;
    for (const rule of rules) {
      checkRule(rule);
      this.#modes.set(rule.name, rule.mode);
      for (const name of [rule.name, ...(rule.aliases ?? [])]) this.#claim(name, rule, 1);
      for (const [name, factor] of Object.entries(rule.scaledAliases ?? {})) this.#claim(name, rule, factor);
    }
    this.taken = rules
      .filter((rule) => rule.isTaken === true)
      .map(({ name, defaultAmount = 0 }) => ({ name, defaultAmount }))
      .sort(byName);
  }

  /** Whether a rule names the property. */
  knows(name: string): boolean {
    return this.#byName.has(name.toLowerCase());
  }

  /** Policy for names without a rule. */
  get unknown(): UnknownProperty {
    return this.#unknown;
  }

  /** The mode of a name that `canonical` returned; names without a rule take several values, all of them needed. */
  modeOf(canonicalName: string): PropertyMode {
    return this.#modes.get(canonicalName) ?? 'all-of';
  }

  /** One property after aliases and folding. @throws invalid-argument: an empty name, a minimum that is no amount. */
  canonical(name: string, value: string): NamedValue {
    if (name === '') throw new ReapiError('invalid-argument', 'a platform property has no name', { field: 'platform' });
    const known = this.#byName.get(name.toLowerCase());
    if (known === undefined) return { name, value, mode: 'all-of' };
    return { name: known.rule.name, value: canonicalValue(known, value), mode: known.rule.mode };
  }

  #claim(name: string, rule: PropertyRule, factor: number): void {
    const folded = name.toLowerCase();
    const other = this.#byName.get(folded);
    if (other !== undefined && other.rule !== rule) {
      throw new ReapiError('invalid-argument', `the property name "${name}" has two rules`, { field: 'rules' });
    }
    this.#byName.set(folded, { rule, factor });
  }
}

/** By UTF-16 code units, so that the order does not depend on a locale. */
export function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  if (a.name === b.name) return 0;
  return a.name < b.name ? -1 : 1;
}

function checkRule(rule: PropertyRule): void {
  const { name, mode, unit, scaledAliases, isTaken, defaultAmount = 0 } = rule;
  const wrong = (why: string): ReapiError =>
    new ReapiError('invalid-argument', `the rule of the property "${name}" ${why}`, { field: 'rules' });
  if (mode !== 'minimum') {
    if (isTaken === true) throw wrong('cannot be taken: only amounts can, whose match is "minimum"');
    if (unit !== undefined || scaledAliases !== undefined) throw wrong('has a unit, but its match is not "minimum"');
  }
  if (!(defaultAmount >= 0 && defaultAmount <= Number.MAX_SAFE_INTEGER)) throw wrong('has no usable default amount');
  if (defaultAmount > 0 && isTaken !== true) throw wrong('has a default amount, but nothing of it is taken');
}

function canonicalValue({ rule, factor }: NamedRule, value: string): string {
  if (rule.mode === 'ignore') return value;
  if (rule.mode === 'minimum') {
    const amount = parseAmount(value, rule.unit);
    // Beyond 2^53 numbers are written with exponents, and nobody has that much.
    if (amount === undefined || amount * factor > Number.MAX_SAFE_INTEGER) {
      const message = `the platform property ${rule.name} is not ${AMOUNTS[rule.unit ?? 'plain']}`;
      throw new ReapiError('invalid-argument', message, { field: 'platform' });
    }
    return String(amount * factor);
  }
  const folded = rule.foldsValueCase === true ? value.toLowerCase() : value;
  const aliases = rule.valueAliases;
  return aliases !== undefined && Object.hasOwn(aliases, folded) ? (aliases[folded] ?? folded) : folded;
}
