import type { FairnessOptions } from './options.ts';

/** What decides the order of a task. */
export interface OrderFacts {
  readonly priority: number;
  readonly queuedAtMs: number;
  readonly expectedMs: number | undefined;
}

/** Longest expectation that counts: beyond it a guess should not decide. */
const MAX_EXPECTED_MS = 3_600_000;

/**
 * Priority and age in points. Waiting lowers it, and everything that waits ages alike: so it is the moment of arrival that is added,
 * and the order of two tasks never changes while time passes.
 */
export function seniorityOf({ priority, queuedAtMs }: OrderFacts, options: FairnessOptions): number {
  const { maxPriority, ageingMsPerPoint } = options;
  return Math.max(-maxPriority, Math.min(maxPriority, priority)) + queuedAtMs / ageingMsPerPoint;
}

/** The same, with those expected to take longest earlier: then the last of a build are short ones. */
export function orderOf(facts: OrderFacts, options: FairnessOptions): number {
  const expectedMs = Math.min(facts.expectedMs ?? options.unknownMs, MAX_EXPECTED_MS);
  return seniorityOf(facts, options) - (options.longestFirst * expectedMs) / options.ageingMsPerPoint;
}
