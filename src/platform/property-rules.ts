import { ReapiError } from '../errors.ts';

/**
 * How the values asked for are compared with the values on offer.
 *
 * - `exact`: one value, and the offer has it. Two different values in one requirement or offer are an error.
 * - `any-of`: one of the values asked for is enough.
 * - `all-of`: every value asked for is on offer (`ISA=x86-64`, `ISA=x86-avx2`).
 * - `minimum`: a decimal number; the offer has at least as much as the largest one asked for.
 * - `ignore`: the property says nothing about where an action may run.
 */
export type PropertyMode = 'exact' | 'any-of' | 'all-of' | 'minimum' | 'ignore';

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

const DECIMAL = /^\d{1,15}(\.\d{1,6})?$/;

/** Rules by every name they go by, and the policy for other names. */
export class PropertyRules {
  readonly #byName = new Map<string, PropertyRule>();
  readonly #modes = new Map<string, PropertyMode>();
  readonly #unknown: UnknownProperty;

  /** @throws invalid-argument if two rules claim a name. */
  constructor(rules: readonly PropertyRule[], options: { readonly unknown: UnknownProperty }) {
    this.#unknown = options.unknown;
    for (const rule of rules) {
      this.#modes.set(rule.name, rule.mode);
      for (const name of [rule.name, ...(rule.aliases ?? [])]) {
        const folded = name.toLowerCase();
        const other = this.#byName.get(folded);
        if (other !== undefined && other !== rule) {
          throw new ReapiError('invalid-argument', `the property name "${name}" has two rules`, { field: 'rules' });
        }
        this.#byName.set(folded, rule);
      }
    }
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

  /** One property after aliases and folding. @throws invalid-argument: an empty name, a minimum that is no number. */
  canonical(name: string, value: string): NamedValue {
    if (name === '') throw new ReapiError('invalid-argument', 'a platform property has no name', { field: 'platform' });
    const rule = this.#byName.get(name.toLowerCase());
    if (rule === undefined) return { name, value, mode: 'all-of' };
    return { name: rule.name, value: canonicalValue(rule, value), mode: rule.mode };
  }
}

function canonicalValue(rule: PropertyRule, value: string): string {
  if (rule.mode === 'ignore') return value;
  if (rule.mode === 'minimum') {
    if (!DECIMAL.test(value)) {
      throw new ReapiError('invalid-argument', `the platform property ${rule.name} is not a plain decimal number`, {
        field: 'platform',
      });
    }
    return String(Number(value));
  }
  const folded = rule.foldsValueCase === true ? value.toLowerCase() : value;
  const aliases = rule.valueAliases;
  return aliases !== undefined && Object.hasOwn(aliases, folded) ? (aliases[folded] ?? folded) : folded;
}
