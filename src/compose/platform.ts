import type { Config } from '../config/load.ts';
import { DEFAULT_RULES } from '../platform/lexicon.ts';
import { RuleMatcher } from '../platform/matcher.ts';
import type { PlatformMatcher } from '../platform/platform.ts';
import type { PropertyRule } from '../platform/property-rules.ts';

/**
 * The built-in rules and the configured ones. A configured rule takes its names from the built-in ones: one that loses its own
 * name is gone; but where both are amounts, as when `cores` gets a default amount, the other names and the spellings of
 * values stay. Which names are ignored is for the configuration alone to say.
 * @throws invalid-argument if two of its rules claim a name.
 */
export function createMatcher(config: Config): PlatformMatcher {
  const { ignore, rules } = config.execution.platform;
  const own: readonly PropertyRule[] = [
    ...rules.map((rule) => ({
      name: rule.name,
      aliases: rule.aliases,
      mode: rule.match,
      foldsValueCase: rule.foldCase,
      isTaken: rule.isTaken,
      defaultAmount: rule.defaultAmount,
    })),
    ...ignore.map((name): PropertyRule => ({ name, mode: 'ignore' })),
  ];
  const claimed = new Set(own.flatMap(namesOf));
  const builtIn = DEFAULT_RULES.filter(({ mode }) => mode !== 'ignore').map((rule) => withoutNames(rule, claimed));
  const kept = builtIn.filter(({ name }) => !claimed.has(name.toLowerCase()));
  return new RuleMatcher({ rules: [...kept, ...own.map((rule) => withSpellings(rule, builtIn))], unknown: 'exact' });
}

/** Names are compared in any case. */
function namesOf({ name, aliases }: PropertyRule): readonly string[] {
  return [name, ...(aliases ?? [])].map((each) => each.toLowerCase());
}

/** The rule without other names that are claimed. */
function withoutNames(rule: PropertyRule, claimed: ReadonlySet<string>): PropertyRule {
  const isFree = (alias: string): boolean => !claimed.has(alias.toLowerCase());
  const { aliases = [], scaledAliases } = rule;
  return {
    ...rule,
    aliases: aliases.filter(isFree),
    ...(scaledAliases !== undefined && {
      scaledAliases: Object.fromEntries(Object.entries(scaledAliases).filter(([alias]) => isFree(alias))),
    }),
  };
}

/** The rule with how the built-in one for the same amounts is written. */
function withSpellings(rule: PropertyRule, builtIn: readonly PropertyRule[]): PropertyRule {
  const same = builtIn.find(({ name }) => name.toLowerCase() === rule.name.toLowerCase());
  if (same?.mode !== 'minimum' || rule.mode !== 'minimum') return rule;
  const { aliases = [], unit, scaledAliases } = same;
  return {
    ...rule,
    aliases: [...(rule.aliases ?? []), ...aliases],
    ...(unit !== undefined && { unit }),
    ...(scaledAliases !== undefined && { scaledAliases }),
  };
}
