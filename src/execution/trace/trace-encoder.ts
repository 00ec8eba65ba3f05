import { invariant } from '../../errors.ts';
import {
  type TraceAmount,
  TraceAttemptEnd,
  TraceEnd,
  TraceMerge,
  type TraceProperty,
  type TraceRecord,
} from '../../gen/gantry/v1/trace.ts';
import type { Amount, Requirement, WorkerOffer } from '../../platform/platform.ts';
import type { Arrival, ArrivalFinish, SlotFacts } from './trace.ts';

/** Version of the format that is written; a reader refuses higher ones. */
export const TRACE_VERSION = 1;

/** How attempts end, by their number in the file. */
export const ATTEMPT_ENDS = [
  ['success', TraceAttemptEnd.SUCCESS],
  ['failure', TraceAttemptEnd.FAILURE],
  ['exhausted', TraceAttemptEnd.EXHAUSTED],
  ['worker-fault', TraceAttemptEnd.WORKER_FAULT],
  ['worker-lost', TraceAttemptEnd.WORKER_LOST],
  ['cancelled', TraceAttemptEnd.CANCELLED],
  ['superseded', TraceAttemptEnd.SUPERSEDED],
] as const;

/** How operations end, by their number in the file. */
export const ENDS = [
  ['result', TraceEnd.RESULT],
  ['failed', TraceEnd.FAILED],
  ['cancelled', TraceEnd.CANCELLED],
] as const;

/** Merge policies, by their number in the file. */
export const MERGES = [
  ['any', TraceMerge.ANY],
  ['fresh', TraceMerge.FRESH],
  ['never', TraceMerge.NEVER],
] as const;

const MAX_UINT32 = 2 ** 32 - 1;
const KIB = 1024;

type Event = NonNullable<TraceRecord['event']>;

/**
 * Turns what happens into the records of one file. Each method gives the encoded records, definitions that they need first,
 * and costs by the length of what is new: a requirement, an offer or a text is written once a file.
 */
export class TraceEncoder {
  readonly #texts = new Map<string, number>();
  readonly #needs = new Map<string, number>();
  readonly #offers = new Map<string, number>();
  /** Requirements and offers are often the same objects again. */
  readonly #known = new WeakMap<object, number>();
  #lastMs = 0;
  #arrivals = 0;
  #ready: TraceRecord[] = [];

  /** The first record. @param startedAtMs wall time; all other times count from it. */
  header(startedAtMs: number): readonly TraceRecord[] {
    const value = { version: TRACE_VERSION, startedAtMs: BigInt(Math.round(startedAtMs)) };
    return this.#add(0, { $case: 'header', value });
  }

  /** @returns the records, and the number by which `finish` refers to the arrival. */
  arrival(arrival: Omit<Arrival, 'finish'>): { readonly records: readonly TraceRecord[]; readonly number: number } {
    const { atMs, expectedMs, sizeClass, after = [], delayMs = 0, runMs } = arrival;
    const value = {
      key: Buffer.from(arrival.key, 'hex'),
      instance: this.#textOrNone(arrival.instance),
      needs: this.#needsNumber(arrival.needs),
      priority: arrival.priority,
      shares: arrival.shares.map(({ id, weight }) => ({ id: this.#text(id), weight: weight === 1 ? 0 : weight })),
      mnemonic: this.#textOrNone(arrival.mnemonic),
      inputKib: whole(arrival.inputBytes / KIB),
      merge: numberOf(MERGES, arrival.merge),
      after: [...after],
      delayMs: whole(delayMs),
      ...(expectedMs !== undefined && { expectedMs: whole(expectedMs) }),
      ...(sizeClass !== undefined && { sizeClass }),
      ...(runMs !== undefined && { runMs: whole(runMs) }),
    };
    return { records: this.#add(atMs, { $case: 'arrival', value }), number: this.#arrivals++ };
  }

  /** A slot that is new or another than before. */
  slot({ slot, node, offer, prefix }: SlotFacts, atMs: number): readonly TraceRecord[] {
    const value = {
      name: this.#text(slot),
      node: this.#text(node),
      offer: this.#offerNumber(offer),
      prefix: this.#textOrNone(prefix),
    };
    return this.#add(atMs, { $case: 'slot', value });
  }

  /** A slot that is gone. @param isLost with what it ran. */
  slotLeft(slot: string, isLost: boolean, atMs: number): readonly TraceRecord[] {
    return this.#add(atMs, { $case: 'slotLeft', value: { name: this.#text(slot), isLost } });
  }

  /** The end of an operation that arrived in this file. */
  finish(arrival: number, { atMs, how, attempts }: ArrivalFinish): readonly TraceRecord[] {
    const value = {
      arrival,
      end: numberOf(ENDS, how),
      attempts: attempts.map((attempt) => ({
        slot: this.#text(attempt.slot),
        startedBeforeMs: whole(atMs - attempt.startedAtMs),
        heldMs: whole(attempt.heldMs),
        end: numberOf(ATTEMPT_ENDS, attempt.how),
      })),
    };
    return this.#add(atMs, { $case: 'finish', value });
  }

  #add(atMs: number, event: Event): readonly TraceRecord[] {
    const now = Math.max(this.#lastMs, Math.round(atMs));
    const records = this.#ready;
    this.#ready = [];
    records.push({ afterMs: Math.min(now - this.#lastMs, MAX_UINT32), event });
    this.#lastMs = now;
    return records;
  }

  /** Definitions are not at a time of their own. */
  #define(event: Event): void {
    this.#ready.push({ afterMs: 0, event });
  }

  #text(text: string): number {
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    this.#define({ $case: 'text', value: text });
    this.#texts.set(text, this.#texts.size + 1);
    return this.#texts.size;
  }

  #textOrNone(text: string): number {
    return text === '' ? 0 : this.#text(text);
  }

  #needsNumber(needs: Requirement): number {
    return this.#numberOf(needs, this.#needs, () => {
      const { properties, preferences = [], takes = [], digestFunction, legacyOutputs } = needs;
      const value = {
        properties: this.#properties(properties),
        preferences: this.#properties(preferences),
        takes: this.#amounts(takes),
        digestFunction: this.#text(digestFunction),
        legacyOutputs,
      };
      this.#define({ $case: 'needs', value });
    });
  }

  #offerNumber(offer: WorkerOffer): number {
    return this.#numberOf(offer, this.#offers, () => {
      const { alternatives, digestFunctions, legacyOutputs, capacity = [], sizeClass = 0 } = offer;
      const value = {
        alternatives: alternatives.map(({ properties }) => ({ properties: this.#properties(properties) })),
        digestFunctions: digestFunctions.map((name) => this.#text(name)),
        legacyOutputs,
        capacity: this.#amounts(capacity),
        sizeClass,
      };
      this.#define({ $case: 'offer', value });
    });
  }

  #numberOf(thing: object, numbers: Map<string, number>, define: () => void): number {
    const known = this.#known.get(thing);
    if (known !== undefined) return known;
    const text = JSON.stringify(thing);
    let number = numbers.get(text);
    if (number === undefined) {
      define();
      number = numbers.size + 1;
      numbers.set(text, number);
    }
    this.#known.set(thing, number);
    return number;
  }

  #properties(properties: Requirement['properties']): TraceProperty[] {
    return properties.map(({ name, values }) => ({
      name: this.#text(name),
      values: values.map((value) => this.#text(value)),
    }));
  }

  #amounts(amounts: readonly Amount[]): TraceAmount[] {
    return amounts.map(({ name, amount }) => ({ name: this.#text(name), amount }));
  }
}

function numberOf<Name extends string, Value>(pairs: readonly (readonly [Name, Value])[], name: Name): Value {
  const pair = pairs.find(([each]) => each === name);
  invariant(pair !== undefined, `the trace format knows ${name}`);
  return pair[1];
}

function whole(value: number): number {
  return Math.min(Math.max(0, Math.round(value)), MAX_UINT32);
}
