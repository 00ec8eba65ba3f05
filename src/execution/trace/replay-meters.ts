import type { InstanceName } from '../../digest/instance-name.ts';
import type { PlatformMatcher, Requirement } from '../../platform/platform.ts';
import { InvocationTally, waitFigures } from './invocation-tally.ts';
import { LevelMeter } from './level-meter.ts';
import { offerText } from './replay-fleet.ts';
import type { PoolReport, SimulationReport } from './simulation-report.ts';
import type { Arrival, SlotFacts } from './trace.ts';

/** Points of a lane of the report. */
const LANE_BINS = 240;

interface Pool {
  readonly facts: Pick<SlotFacts, 'offer' | 'prefix'>;
  readonly slots: LevelMeter;
  readonly busy: LevelMeter;
  readonly queued: LevelMeter;
}

/** An operation that is played. */
interface Played {
  readonly tally: InvocationTally;
  readonly arrivedMs: number;
  readonly pools: readonly Pool[];
  state: 'queued' | 'running' | 'over';
}

/** How an operation ended. */
export type PlayedEnd = 'result' | 'failed' | 'cancelled';

/** Measures a replay: who waits how long, and what the pools do. Each note is O(pools). */
export class ReplayMeters {
  readonly #matcher: PlatformMatcher;
  readonly #pools = new Map<string, Pool>();
  readonly #tallies = new Map<string, InvocationTally>();
  readonly #played = new Map<number, Played>();
  /** Slots of a trace share the objects that say what they are; so do requirements. */
  readonly #poolOf = new WeakMap<object, Pool>();
  /** Which pools could run what. */
  readonly #fits = new WeakMap<Requirement, Map<InstanceName, readonly Pool[]>>();
  readonly #ends: Record<PlayedEnd, number> = { result: 0, failed: 0, cancelled: 0 };
  #firstMs: number | undefined;
  #lastMs = 0;
  #attempts = 0;
  #retries = 0;

  /** @param slots all that will ever be there: they make the pools. */
  constructor(matcher: PlatformMatcher, slots: Iterable<Pick<SlotFacts, 'offer' | 'prefix'>>) {
    this.#matcher = matcher;
    for (const facts of slots) {
      const text = offerText(facts);
      if (this.#pools.has(text)) continue;
      this.#pools.set(text, { facts, slots: new LevelMeter(), busy: new LevelMeter(), queued: new LevelMeter() });
    }
  }

  /** The pool of a slot has one more, or one less. */
  slots(of: Pick<SlotFacts, 'offer' | 'prefix'>, by: 1 | -1, nowMs: number): void {
    this.#pool(of)?.slots.add(by, nowMs);
  }

  /** One more slot of the pool runs something, or one less. */
  busy(of: Pick<SlotFacts, 'offer' | 'prefix'>, by: 1 | -1, nowMs: number): void {
    this.#pool(of)?.busy.add(by, nowMs);
  }

  /** An attempt began. @param attempt 1 for the first of its task. */
  attempt(attempt: number): void {
    this.#attempts++;
    if (attempt > 1) this.#retries++;
  }

  /** An action came. */
  arrived(number: number, arrival: Arrival, nowMs: number): void {
    if (this.#firstMs === undefined) this.#begin(nowMs);
    const id = arrival.shares.at(-1)?.id ?? '';
    const tally = this.#tallies.get(id) ?? new InvocationTally(id, nowMs);
    this.#tallies.set(id, tally);
    const pools = this.#poolsFor(arrival.instance, arrival.needs);
    this.#played.set(number, { tally, arrivedMs: nowMs, pools, state: 'queued' });
    tally.queued(nowMs);
    for (const pool of pools) pool.queued.add(1, nowMs);
  }

  /** An action runs. What was started before is not counted again. */
  started(number: number, nowMs: number): void {
    const played = this.#played.get(number);
    if (played === undefined || played.state !== 'queued') return;
    this.#start(played, nowMs);
  }

  /** An action ended. */
  finished(number: number, end: PlayedEnd, nowMs: number): void {
    const played = this.#played.get(number);
    if (played === undefined || played.state === 'over') return;
    const wasRunning = played.state === 'running';
    if (!wasRunning) for (const pool of played.pools) pool.queued.add(-1, nowMs);
    played.tally.finished(wasRunning, nowMs);
    played.state = 'over';
    this.#played.delete(number);
    this.#ends[end]++;
    this.#lastMs = nowMs;
  }

  /** What came of it all. @param notArrived how many never came, as others never ended that they waited for. */
  report(nowMs: number, notArrived: number): SimulationReport {
    const firstMs = this.#firstMs ?? 0;
    const makespanMs = Math.max(0, this.#lastMs - firstMs);
    const endMs = firstMs + Math.max(1, makespanMs);
    const waits = [...this.#tallies.values()].flatMap((tally) => tally.waits);
    const { result, failed, cancelled } = this.#ends;
    return {
      makespanMs,
      actions: result + failed + cancelled + this.#played.size + notArrived,
      ...{ failed, cancelled, unfinished: this.#played.size + notArrived },
      ...{ attempts: this.#attempts, retries: this.#retries },
      wait: waitFigures(waits),
      invocations: [...this.#tallies.values()].map((tally) => tally.report(nowMs)),
      pools: [...this.#pools.values()].map((pool) => poolReport(pool, endMs)),
      binMs: (endMs - firstMs) / LANE_BINS,
    };
  }

  /** A server may have recorded for hours before anybody wanted something: that is no part of what is measured. */
  #begin(nowMs: number): void {
    this.#firstMs = nowMs;
    for (const { slots, busy, queued } of this.#pools.values()) {
      for (const meter of [slots, busy, queued]) meter.restart(nowMs);
    }
  }

  #start(played: Played, nowMs: number): void {
    played.state = 'running';
    played.tally.started(nowMs - played.arrivedMs, nowMs);
    for (const pool of played.pools) pool.queued.add(-1, nowMs);
  }

  #pool(of: Pick<SlotFacts, 'offer' | 'prefix'>): Pool | undefined {
    const known = this.#poolOf.get(of) ?? this.#pools.get(offerText(of));
    if (known !== undefined) this.#poolOf.set(of, known);
    return known;
  }

  #poolsFor(instance: InstanceName, needs: Requirement): readonly Pool[] {
    const known = this.#fits.get(needs)?.get(instance);
    if (known !== undefined) return known;
    const pools = [...this.#pools.values()].filter(
      ({ facts }) => serves(facts.prefix, instance) && this.#matcher.match(facts.offer, needs).fits,
    );
    const byInstance = this.#fits.get(needs) ?? new Map<InstanceName, readonly Pool[]>();
    this.#fits.set(needs, byInstance.set(instance, pools));
    return pools;
  }
}

function serves(prefix: InstanceName, instance: InstanceName): boolean {
  return prefix === '' || prefix === instance || instance.startsWith(`${prefix}/`);
}

function poolReport({ facts, slots, busy, queued }: Pool, endMs: number): PoolReport {
  const lane = (meter: LevelMeter): readonly number[] => meter.means(endMs, LANE_BINS).map(rounded);
  const lanes = { slots: lane(slots), busy: lane(busy), queued: lane(queued) };
  const sum = (values: readonly number[]): number => values.reduce((total, each) => total + each, 0);
  return {
    ...{ offer: facts.offer, prefix: facts.prefix, maxSlots: slots.most, maxQueued: queued.most },
    utilisation: sum(lanes.slots) === 0 ? 0 : sum(lanes.busy) / sum(lanes.slots),
    lanes,
  };
}

/** To a thousandth: more is noise. */
function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
