import type { Config } from '../config/load.ts';
import { isKind } from '../errors.ts';
import { configuredPools } from './configured-pools.ts';
import { createMatcher } from './platform.ts';

/** What is wrong with a configuration whose every value is fine by itself: rules or pools that contradict each other, or cannot be meant. */
export function contradictionOf(config: Config): string | undefined {
  try {
    configuredPools(config, createMatcher(config));
    return undefined;
  } catch (error) {
    if (isKind(error, 'invalid-argument')) return error.message;
    throw error;
  }
}
