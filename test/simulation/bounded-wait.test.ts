import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseInstanceName } from '../../src/digest/instance-name.ts';
import { DEFAULT_OPTIONS, type SchedulerOptions } from '../../src/execution/scheduler/options.ts';
import { createScheduler } from '../../src/execution/scheduler/scheduler.ts';
import { Timeline } from './timeline.ts';
import {
  MATCHER,
  type SimAction,
  type SimEvent,
  type SimOffer,
  type SimResult,
  type SimWork,
  simAction,
  simOffer,
} from './vocabulary.ts';

const ANYWHERE = parseInstanceName('');
const RUN_MS = 1_000;

/** One machine that never fails, and a stream of actions that never ends: each that is finished is followed by another. */
class Stream {
  readonly timeline = new Timeline();
  /** When each operation started. */
  readonly startedMs = new Map<string, number>();
  readonly #scheduler;
  readonly #offer: SimOffer;
  #operations = 0;

  constructor(options: Partial<SchedulerOptions>, offer: SimOffer, slots: number) {
    this.#scheduler = createScheduler<SimWork, SimResult>(MATCHER, { ...options, maxQueuedTasks: 1_000 });
    this.#offer = offer;
    for (let slot = 0; slot < slots; slot++) this.#sync(`slot${slot}`);
  }

  submit(action: SimAction, facts: { readonly priority: number; readonly principal: string }): string {
    const operation = `operation${this.#operations++}`;
    const { key, needs } = action;
    const shares = [{ id: facts.principal, weight: 1 }];
    const work = { madeBy: operation, action };
    const { priority } = facts;
    this.#apply({ type: 'submit', operation, key, needs, priority, merge: 'never', work, shares });
    return operation;
  }

  /** Lets time pass until the operation has started. @returns how long that took, or undefined if it took more than `limitMs`. */
  waitFor(operation: string, limitMs: number): number | undefined {
    const beganMs = this.timeline.nowMs;
    while (!this.startedMs.has(operation)) if (!this.timeline.step(beganMs + limitMs)) return undefined;
    return (this.startedMs.get(operation) ?? 0) - beganMs;
  }

  #sync(slot: string, holding?: { readonly lease: string; readonly action: SimAction }): void {
    const result = holding && { lease: holding.lease, verdict: 'success' as const, isPlain: false, action: '' };
    this.#apply({
      ...{ type: 'sync', slot, node: 'node', offer: this.#offer.wire, instancePrefix: ANYWHERE, prefersIdle: false },
      ...(holding &&
        result && {
          holding: {
            action: holding.action.key.action,
            lease: holding.lease,
            completed: { result, verdict: 'success' as const },
          },
        }),
    });
  }

  #apply(event: SimEvent): void {
    for (const effect of this.#scheduler.apply(event, this.timeline.nowMs)) {
      if (effect.type === 'record') {
        this.timeline.after(1, () => this.#apply({ type: 'recorded', lease: effect.lease }));
      }
      if (effect.type !== 'orders' || effect.hold?.work === undefined) continue;
      const { slot, hold } = effect;
      const { madeBy, action } = effect.hold.work;
      this.startedMs.set(madeBy, this.timeline.nowMs);
      this.timeline.after(RUN_MS, () => this.#sync(slot, { lease: hold.lease, action }));
    }
  }
}

function action(number: number, cores: number | undefined): SimAction {
  const facts = {
    os: 'linux',
    pool: undefined,
    durationMs: RUN_MS,
    expectedMs: undefined,
    nature: 'ordinary',
  } as const;
  return simAction(number, ANYWHERE, { ...facts, cores });
}

function machine(cores: number | undefined): SimOffer {
  return simOffer({ sets: [{ os: 'linux', pools: [] }], prefix: ANYWHERE, cores, sizeClass: 0 });
}

/** Brings four times as much work of others as a machine with two slots can run. */
function flood(
  stream: Stream,
  small: SimAction,
  facts: { readonly priority: number; readonly principal: string },
): void {
  for (let count = 0; count < 4; count++) stream.submit(small, facts);
  stream.timeline.after(RUN_MS / 2, () => flood(stream, small, facts));
}

describe('waiting', () => {
  it('law: has an end for every priority, under a stream of work of the best priority', () => {
    const ageingMsPerPoint = 100;
    const maxPriority = 50;
    const fairness = { ...DEFAULT_OPTIONS.fairness, ageingMsPerPoint, maxPriority };
    const priorities = fc.integer({ min: -1_000, max: 1_000 });
    const principals = fc.constantFrom('a', 'b');
    fc.assert(
      fc.property(priorities, priorities, principals, (best, worst, principal) => {
        const stream = new Stream({ fairness }, machine(undefined), 2);
        flood(stream, action(1, undefined), { priority: Math.min(best, worst), principal: 'a' });
        const operation = stream.submit(action(2, undefined), { priority: Math.max(best, worst), principal });
        // What comes later than this goes later, and four times as much comes as the machine can run.
        const windowMs = (2 * maxPriority + fairness.pointsPerDoubling) * ageingMsPerPoint;
        const limitMs = 4 * windowMs + 2 * RUN_MS;
        assert.notEqual(stream.waitFor(operation, limitMs), undefined);
      }),
      { numRuns: 30 },
    );
  });

  it('law: has an end for an action that needs a whole machine, under a stream of small ones', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 8 }), fc.integer({ min: 1, max: 8 }), (cores, slots) => {
        const fairness = { ...DEFAULT_OPTIONS.fairness, ageingMsPerPoint: 100 };
        const stream = new Stream({ fairness }, machine(cores), slots);
        flood(stream, action(1, 1), { priority: 0, principal: 'a' });
        const operation = stream.submit(action(2, cores), { priority: 0, principal: 'b' });
        // Its turn comes when the other share runs, and then nothing new starts that takes cores.
        const limitMs = 4 * RUN_MS;
        assert.notEqual(stream.waitFor(operation, limitMs), undefined);
      }),
      { numRuns: 50 },
    );
  });
});
