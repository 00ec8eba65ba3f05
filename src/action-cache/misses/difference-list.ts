import type { DigestFact } from '../../errors.ts';
import { cutText } from './cut-text.ts';
import type { ActionDifference, Difference, DifferencePart, UnavailablePart } from './miss-report.ts';

/** How much a comparison reports. */
export interface DifferenceBounds {
  /** Most differences listed for one part; the others are counted. */
  readonly maxPerPart: number;
  /** Longest name or value, in characters. */
  readonly maxTextLength: number;
}

/** Most absent blobs in one report. */
const MAX_UNAVAILABLE = 20;

/** The order in which parts are reported: what people change by hand comes first. */
const PARTS: readonly DifferencePart[] = [
  'arguments',
  'environment',
  'platform',
  'working-directory',
  'output-paths',
  'output-format',
  'timeout',
  'do-not-cache',
  'salt',
  'inputs',
];

/** Collects differences within bounds. */
export class DifferenceList {
  readonly #bounds: DifferenceBounds;
  readonly #byPart = new Map<DifferencePart, Difference[]>();
  readonly #more = new Map<DifferencePart, number>();
  readonly #unavailable: UnavailablePart[] = [];

  constructor(bounds: DifferenceBounds) {
    this.#bounds = bounds;
  }

  /** Notes a value that one or both have; equal values are no difference. */
  compare(part: DifferencePart, name: string, before: string | undefined, after: string | undefined): void {
    if (before === after) return;
    const listed = this.#byPart.get(part) ?? [];
    this.#byPart.set(part, listed);
    if (listed.length >= this.#bounds.maxPerPart) {
      this.#more.set(part, (this.#more.get(part) ?? 0) + 1);
      return;
    }
    const { maxTextLength } = this.#bounds;
    listed.push({
      part,
      name: cutText(name, maxTextLength),
      ...(before !== undefined && { before: cutText(before, maxTextLength) }),
      ...(after !== undefined && { after: cutText(after, maxTextLength) }),
    });
  }

  /** Compares values by name. */
  compareAll(part: DifferencePart, before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): void {
    for (const name of [...new Set([...before.keys(), ...after.keys()])].sort()) {
      this.compare(part, name, before.get(name), after.get(name));
    }
  }

  /** Notes that a blob which is needed for the comparison cannot be read. */
  addUnavailable(side: 'before' | 'after', what: string, { function: fn, hash, sizeBytes }: DigestFact): void {
    if (this.#unavailable.length >= MAX_UNAVAILABLE) return;
    const blob = { function: fn, hash, sizeBytes };
    this.#unavailable.push({ side, what: cutText(what, this.#bounds.maxTextLength), blob });
  }

  finish(): ActionDifference {
    return {
      differences: PARTS.flatMap((part) => this.#byPart.get(part) ?? []),
      more: PARTS.flatMap((part) => {
        const count = this.#more.get(part);
        return count === undefined ? [] : [{ part, count }];
      }),
      unavailable: this.#unavailable,
    };
  }
}
