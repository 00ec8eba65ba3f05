import type { DrainEvent, Labels } from './events.ts';
import type { DrainView } from './view.ts';

/** The drains in force. */
export class Drains {
  readonly #byText = new Map<string, DrainView>();
  readonly #maxDrains: number;

  constructor(maxDrains: number) {
    this.#maxDrains = maxDrains;
  }

  /** In the order in which they began. */
  all(): readonly DrainView[] {
    return [...this.#byText.values()];
  }

  /** Begins or ends one. False if nothing changes, also because there are too many. */
  change({ pattern, on, reason, isTermination }: DrainEvent, nowMs: number): boolean {
    const text = labelsText(pattern);
    const known = this.#byText.get(text);
    if (!on) return this.#byText.delete(text);
    if (known === undefined && this.#byText.size >= this.#maxDrains) return false;
    const next: DrainView = {
      pattern: known?.pattern ?? { ...pattern },
      reason: reason ?? known?.reason ?? '',
      isTermination: isTermination ?? known?.isTermination ?? false,
      sinceMs: known?.sinceMs ?? nowMs,
    };
    this.#byText.set(text, next);
    return known === undefined || known.isTermination !== next.isTermination;
  }

  /** How many select a slot, and whether one of them tells it to exit. */
  on(labels: Labels): { readonly count: number; readonly isTerminating: boolean } {
    let count = 0;
    let isTerminating = false;
    for (const { pattern, isTermination } of this.#byText.values()) {
      if (!selects(pattern, labels)) continue;
      count++;
      isTerminating ||= isTermination;
    }
    return { count, isTerminating };
  }

  /** The first that selects a slot. */
  first(labels: Labels): DrainView | undefined {
    return this.all().find(({ pattern }) => selects(pattern, labels));
  }
}

/** Whether the labels have all of the pattern; the empty pattern selects everything (R-BB-30). */
export function selects(pattern: Labels, labels: Labels): boolean {
  return hasAll(labels, Object.entries(pattern));
}

/** The same for a pattern that is compared with many. */
export function hasAll(labels: Labels, pattern: readonly (readonly [name: string, value: string])[]): boolean {
  return pattern.every(([name, value]) => Object.hasOwn(labels, name) && labels[name] === value);
}

function labelsText(labels: Labels): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}
