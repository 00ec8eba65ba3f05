import type { Arrival, Trace, TracedAttempt } from './trace.ts';

/** How long an action takes of which a trace says nothing at all. */
const UNKNOWN_MS = 10_000;

/** An arrival as it is to be played. */
export interface PlannedArrival {
  readonly arrival: Arrival;
  readonly runMs: number;
  readonly verdict: 'success' | 'failure';
  /** The machine is too small for it in this size class and those below. −1: in none. */
  readonly exhaustsUpTo: number;
  /** Numbers of the arrivals that must finish first. */
  readonly after: readonly number[];
  /** Since the last of them finished; without any, since the start. */
  readonly delayMs: number;
  /** Its client cancels it so long after it came. */
  readonly cancelAfterMs: number | undefined;
}

/**
 * What to play.
 * @param isClosedLoop builds wait for themselves: an arrival comes as long after the end of another action of its invocation as it
 * did when it was recorded, namely of the last one that had finished before it came. Else arrivals come when they came.
 */
export function planReplay(trace: Trace, isClosedLoop: boolean): readonly PlannedArrival[] {
  const durations = new Durations(trace);
  const previous = isClosedLoop ? previousFinishes(trace) : [];
  return trace.arrivals.map((arrival, number) => {
    const { finish } = arrival;
    const last = finish?.attempts.findLast(isOwn);
    const before = previous[number];
    return {
      arrival,
      ...cause(arrival, before),
      runMs: arrival.runMs ?? last?.heldMs ?? durations.of(arrival),
      verdict: last?.how === 'failure' ? 'failure' : 'success',
      exhaustsUpTo: exhaustedIn(finish?.attempts ?? [], last),
      cancelAfterMs: finish?.how === 'cancelled' ? finish.atMs - arrival.atMs : undefined,
    };
  });
}

/** What an arrival waits for, and how long after that it comes. */
function cause(
  { after, delayMs = 0, atMs }: Arrival,
  before: { readonly number: number; readonly atMs: number } | undefined,
): Pick<PlannedArrival, 'after' | 'delayMs'> {
  if (after !== undefined) return { after, delayMs };
  return before === undefined ? { after: [], delayMs: atMs } : { after: [before.number], delayMs: atMs - before.atMs };
}

/** Whether it was the action that decided how the attempt ended. */
function isOwn({ how }: TracedAttempt): boolean {
  return how === 'success' || how === 'failure';
}

/** The largest size class that was too small, provided that a larger one was not. */
function exhaustedIn(attempts: readonly TracedAttempt[], last: TracedAttempt | undefined): number {
  const exhausted = attempts.filter(({ how }) => how === 'exhausted').map(({ sizeClass }) => sizeClass);
  const largest = Math.max(-1, ...exhausted);
  return last !== undefined && last.sizeClass > largest ? largest : -1;
}

/** How long actions take: what was seen of the same action, else expected, else the median of its kind, else of all. */
class Durations {
  readonly #byKey = new Map<string, number>();
  readonly #byKind = new Map<string, number>();
  readonly #ofAll: number;

  constructor({ arrivals }: Trace) {
    const all: number[] = [];
    const kinds = new Map<string, number[]>();
    for (const { key, mnemonic, finish } of arrivals) {
      for (const { heldMs } of finish?.attempts.filter(isOwn) ?? []) {
        all.push(heldMs);
        this.#byKey.set(key, heldMs);
        const kind = kinds.get(mnemonic);
        if (kind === undefined) kinds.set(mnemonic, [heldMs]);
        else kind.push(heldMs);
      }
    }
    for (const [kind, values] of kinds) this.#byKind.set(kind, medianOf(values) ?? UNKNOWN_MS);
    this.#ofAll = medianOf(all) ?? UNKNOWN_MS;
  }

  of({ key, mnemonic, expectedMs }: Arrival): number {
    return this.#byKey.get(key) ?? expectedMs ?? this.#byKind.get(mnemonic) ?? this.#ofAll;
  }
}

function medianOf(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

/** For each arrival the operation of the same invocation that finished last before it came, if there is one. */
function previousFinishes({ arrivals }: Trace): readonly ({ number: number; atMs: number } | undefined)[] {
  const finishes = new Map<string, { readonly number: number; readonly atMs: number }[]>();
  for (const [number, { shares, finish }] of arrivals.entries()) {
    const invocation = shares.at(-1)?.id;
    if (invocation === undefined || finish === undefined) continue;
    const list = finishes.get(invocation);
    if (list === undefined) finishes.set(invocation, [{ number, atMs: finish.atMs }]);
    else list.push({ number, atMs: finish.atMs });
  }
  for (const list of finishes.values()) list.sort((a, b) => a.atMs - b.atMs || a.number - b.number);
  const seen = new Map<string, number>();
  return arrivals.map(({ shares, atMs, after }, number) => {
    const invocation = shares.at(-1)?.id;
    const list = invocation === undefined ? undefined : finishes.get(invocation);
    if (invocation === undefined || list === undefined || after !== undefined) return undefined;
    let index = seen.get(invocation) ?? 0;
    while (index < list.length && isBefore(list[index], number, atMs)) index++;
    seen.set(invocation, index);
    return list[index - 1];
  });
}

/** Whether an operation had finished when another came; one that finished at once, as one refused, may share its time. */
function isBefore(finish: { number: number; atMs: number } | undefined, number: number, atMs: number): boolean {
  return finish !== undefined && finish.atMs <= atMs && finish.number < number;
}
