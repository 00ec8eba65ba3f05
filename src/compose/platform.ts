import type { Config } from '../config/load.ts';
import { DEFAULT_RULES } from '../platform/lexicon.ts';
import { RuleMatcher } from '../platform/matcher.ts';
import type { PlatformMatcher } from '../platform/platform.ts';
import type { PropertyRule } from '../platform/property-rules.ts';

/** The built-in rules with the configured ones in place of those of the same name. */
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
  const replaced = new Set(own.map(({ name }) => name));
  const builtIn = DEFAULT_RULES.filter(({ name, mode }) => !replaced.has(name) && mode !== 'ignore');
  return new RuleMatcher({ rules: [...builtIn, ...own], unknown: 'exact' });
}
