import { type InstanceName, parseInstanceName } from '../../../src/digest/instance-name.ts';
import type { Arrival, SlotChange, Trace } from '../../../src/execution/trace/trace.ts';
import { DEFAULT_RULES } from '../../../src/platform/lexicon.ts';
import { RuleMatcher } from '../../../src/platform/matcher.ts';
import type { Requirement, WorkerOffer } from '../../../src/platform/platform.ts';

/** What properties mean in the library. */
export const TRACE_MATCHER = new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'exact' });

const ROOT: InstanceName = parseInstanceName('');
const DEMANDS = { digestFunction: 'sha256', legacyOutputs: false } as const;

/** A platform by operating system and instruction set. */
export type Platform = readonly [os: string, isa?: string];

/** An action to add: by default it comes at once, for nobody in particular, runs on anything and was never seen before. */
export interface BuiltAction {
  readonly invocation: string;
  readonly runMs: number;
  /** After the last of `after`, else since the start. */
  readonly delayMs?: number;
  readonly after?: readonly number[];
  readonly priority?: number;
  readonly platform?: Platform;
  readonly expectedMs?: number;
}

/** Collects what a made trace consists of. */
export class TraceBuilder {
  readonly #arrivals: Arrival[] = [];
  readonly #slots: SlotChange[] = [];
  readonly #needs = new Map<string, Requirement>();

  /** Adds an action. @returns the number by which others come after it. */
  action(action: BuiltAction): number {
    const { invocation, runMs, delayMs = 0, after = [], priority = 0, platform = ['linux'], expectedMs } = action;
    const number = this.#arrivals.length;
    const earliestMs = Math.max(0, ...after.map((before) => this.#arrivals[before]?.atMs ?? 0));
    this.#arrivals.push({
      ...{
        atMs: earliestMs + delayMs,
        key: number.toString(16).padStart(16, '0'),
        instance: ROOT,
        needs: this.#needsOf(platform),
      },
      ...{ priority, merge: 'any', shares: [{ id: invocation, weight: 1 }], mnemonic: 'Made', inputBytes: 0, runMs },
      ...(after.length > 0 && { after, delayMs }),
      ...(expectedMs !== undefined && { expectedMs }),
    });
    return number;
  }

  /** A worker comes. */
  worker(node: string, slots: number, platform: Platform, atMs = 0): void {
    const offer = offerOf(platform);
    for (let slot = 0; slot < slots; slot++) {
      this.#slots.push({ type: 'there', atMs, slot: `${node}/${slot}`, node, offer, prefix: ROOT });
    }
  }

  /** A worker goes, with what it ran. */
  workerLost(node: string, slots: number, atMs: number): void {
    for (let slot = 0; slot < slots; slot++) {
      this.#slots.push({ type: 'left', atMs, slot: `${node}/${slot}`, isLost: true });
    }
  }

  /** The trace. */
  build(): Trace {
    const slots = this.#slots.toSorted((a, b) => a.atMs - b.atMs);
    // What comes after something has a later or the same time, and the order of equals stays: numbers only move together.
    const order = this.#arrivals.map((arrival, number) => ({ arrival, number }));
    order.sort((a, b) => a.arrival.atMs - b.arrival.atMs);
    const numbers = new Map(order.map(({ number }, index) => [number, index]));
    const arrivals = order.map(({ arrival: { after, ...arrival } }) =>
      after === undefined ? arrival : { ...arrival, after: after.map((number) => numbers.get(number) ?? 0) },
    );
    return { startedAtMs: 0, arrivals, slots, isTruncated: false };
  }

  #needsOf(platform: Platform): Requirement {
    const text = platform.join();
    const needs = this.#needs.get(text) ?? TRACE_MATCHER.parse(propertiesOf(platform), DEMANDS);
    this.#needs.set(text, needs);
    return needs;
  }
}

const offers = new Map<string, WorkerOffer>();

function offerOf(platform: Platform): WorkerOffer {
  const text = platform.join();
  const offer = offers.get(text) ?? {
    alternatives: [TRACE_MATCHER.parseOffer(propertiesOf(platform))],
    digestFunctions: ['sha256'],
    legacyOutputs: true,
  };
  offers.set(text, offer);
  return offer;
}

function propertiesOf([os, isa]: Platform) {
  return [{ name: 'OSFamily', value: os }, ...(isa === undefined ? [] : [{ name: 'ISA', value: isa }])];
}
