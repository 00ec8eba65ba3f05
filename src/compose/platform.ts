import type { Config } from '../config/load.ts';
import { DEFAULT_RULES } from '../platform/lexicon.ts';
import { RuleMatcher } from '../platform/matcher.ts';
import type { PlatformMatcher } from '../platform/platform.ts';
import type { PropertyRule } from '../platform/property-rules.ts';

/**
 * The built-in rules and the configured ones. A configured rule takes its names from the built-in ones: one that loses its own
 * name is gone. Which names are ignored is for the configuration alone to say. @throws invalid-argument if two of its rules claim a name.
 */
export function createMatcher(config: Config): PlatformMatcher {
  const { ignore, rules } = config.execution.platform;
  const own: readonly PropertyRule[] = [
    ...rules.map((rule) => ({
      name: rule.name,
      aliases: rule.aliases,
      mode: rule.match,
      foldsValueCase: rule.foldCase,
    })),
    ...ignore.map((name): PropertyRule => ({ name, mode: 'ignore' })),
  ];
  const claimed = new Set(own.flatMap(namesOf));
  const builtIn = DEFAULT_RULES.filter(({ mode }) => mode !== 'ignore')
    .filter(({ name }) => !claimed.has(name.toLowerCase()))
    .map((rule) => ({ ...rule, aliases: rule.aliases?.filter((alias) => !claimed.has(alias.toLowerCase())) ?? [] }));
  return new RuleMatcher({ rules: [...builtIn, ...own], unknown: 'exact' });
}

/** Names are compared in any case. */
function namesOf({ name, aliases }: PropertyRule): readonly string[] {
  return [name, ...(aliases ?? [])].map((each) => each.toLowerCase());
}
