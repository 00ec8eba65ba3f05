import { parseInstanceName } from '../src/digest/instance-name.ts';
import type { Effect, SchedulerEvent } from '../src/execution/scheduler/events.ts';
import { createScheduler } from '../src/execution/scheduler/scheduler.ts';
import { DEFAULT_RULES } from '../src/platform/lexicon.ts';
import { RuleMatcher } from '../src/platform/matcher.ts';
import type { PlatformProperty } from '../src/platform/platform.ts';

// What `apply` costs while many tasks wait for busy slots: `node --expose-gc bench/scheduler.ts`. CPU time of the thread, so
// that what else the machine does counts little; events are made beforehand and timed by the hundred.

const MATCHER = new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'exact' });
const ROOT = parseInstanceName('');
const DEMANDS = { digestFunction: 'sha256', legacyOutputs: false } as const;
const ROUNDS = 1_000;
const EVENTS_PER_ROUND = 100;
const INVOCATIONS = 50;
const PRINCIPALS = 5;

function offer(properties: readonly PlatformProperty[]) {
  const alternatives = [MATCHER.parseOffer(properties)];
  const digestFunctions = ['sha256'] as const;
  return { alternatives, digestFunctions, legacyOutputs: true, capacity: MATCHER.capacityOf(alternatives) };
}

const PLATFORMS = ['linux', 'macos'];
const OFFERS = PLATFORMS.map((os) =>
  offer([
    { name: 'os', value: os },
    { name: 'arch', value: 'x86-64' },
    { name: 'cores', value: '8' },
  ]),
);
/** Half of the tasks take cores from their node. */
const NEEDS = PLATFORMS.flatMap((os) => [
  MATCHER.parse([{ name: 'OSFamily', value: os }], DEMANDS),
  MATCHER.parse(
    [
      { name: 'OSFamily', value: os },
      { name: 'cores', value: '1' },
    ],
    DEMANDS,
  ),
]);

interface Times {
  readonly submitUs: number;
  readonly syncUs: number;
  readonly busySyncUs: number;
  readonly bytesPerTask: number;
}

function at<T>(list: readonly T[], index: number): T {
  const item = list[index % list.length];
  if (item === undefined) throw new Error('an empty list');
  return item;
}

/** As from the wire: one flat string. */
function flat(text: string): string {
  return Buffer.from(text).toString('latin1');
}

function keyOf(hash: string) {
  return { instance: ROOT, action: { function: 'sha256' as const, hash, sizeBytes: 1 } };
}

/** A scheduler with clients and workers that do what it says. */
class Load {
  readonly #scheduler = createScheduler<number, number>(MATCHER, {
    maxQueuedTasks: 1_000_000,
    maxOperations: 2_000_000,
  });
  readonly #held = new Map<string, { readonly lease: string; readonly action: string }>();
  #submitted = 0;

  submit(): SchedulerEvent<number, number> {
    const number = this.#submitted++;
    const invocation = number % INVOCATIONS;
    const shares = [`principal ${invocation % PRINCIPALS}`, `build ${invocation}`, `invocation ${invocation}`];
    return {
      type: 'submit',
      operation: flat(`operations/${number.toString().padStart(36, '0')}`),
      key: keyOf(flat(number.toString(16).padStart(64, '0'))),
      needs: at(NEEDS, number),
      priority: number % 7,
      merge: 'any',
      work: number,
      shares: shares.map((id) => ({ id, weight: 1 })),
      expectedMs: 1000 + (number % 97) * 100,
    };
  }

  sync(number: number, isOver: boolean): SchedulerEvent<number, number> {
    const slot = `slot${number}`;
    const lease = this.#held.get(slot);
    const completed = isOver ? { completed: { result: 1, verdict: 'success' as const } } : {};
    const holding = lease && { lease: lease.lease, action: keyOf(lease.action).action, ...completed };
    return {
      ...{ type: 'sync', slot, node: `node${number >> 3}`, offer: at(OFFERS, number >> 3), instancePrefix: ROOT },
      ...{ prefersIdle: false, prefetches: true, ...(holding ? { holding } : {}) },
    };
  }

  /** Mean microseconds of an event. */
  run(make: (index: number) => SchedulerEvent<number, number>): number {
    const events = Array.from({ length: EVENTS_PER_ROUND }, (_, index) => make(index));
    const answers: (readonly Effect<number, number>[])[] = [];
    const nowMs = this.#submitted / 10;
    const before = process.threadCpuUsage();
    for (const event of events) answers.push(this.#scheduler.apply(event, nowMs));
    const { user, system } = process.threadCpuUsage(before);
    for (const effect of answers.flat()) {
      if (effect.type === 'record') this.#scheduler.apply({ type: 'recorded', lease: effect.lease }, nowMs);
      if (effect.type === 'orders' && effect.hold) {
        this.#held.set(effect.slot, { lease: effect.hold.lease, action: effect.hold.key.action.hash });
      }
    }
    return (user + system) / events.length;
  }
}

/** Mean microseconds of `apply` for submit, for sync with a completion and for one that only reports, while `queued` tasks wait. */
function measure(queued: number, slots: number): Times {
  const load = new Load();
  for (let done = 0; done < slots; done += EVENTS_PER_ROUND) load.run(() => load.submit());
  for (let done = 0; done < slots; done += EVENTS_PER_ROUND) load.run((index) => load.sync(done + index, false));
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  for (let done = 0; done < queued; done += EVENTS_PER_ROUND) load.run(() => load.submit());
  globalThis.gc?.();
  const bytesPerTask = (process.memoryUsage().heapUsed - before) / queued;
  let [submitUs, syncUs, busySyncUs] = [0, 0, 0];
  for (let round = 0; round < ROUNDS; round++) {
    const first = (round * EVENTS_PER_ROUND) % slots;
    submitUs += load.run(() => load.submit());
    busySyncUs += load.run((index) => load.sync(first + index, false));
    syncUs += load.run((index) => load.sync(first + index, true));
  }
  return { submitUs: submitUs / ROUNDS, syncUs: syncUs / ROUNDS, busySyncUs: busySyncUs / ROUNDS, bytesPerTask };
}

measure(1_000, 200);
for (const [queued, slots] of [
  [1_000, 200],
  [10_000, 1_000],
  [100_000, 1_000],
  [100_000, 5_000],
  [400_000, 5_000],
] as const) {
  const { submitUs, syncUs, busySyncUs, bytesPerTask } = measure(queued, slots);
  console.log(
    `${queued} queued, ${slots} slots: submit ${submitUs.toFixed(2)} µs, sync with a result ${syncUs.toFixed(2)} µs, ` +
      `sync that reports ${busySyncUs.toFixed(2)} µs, ${Math.round(bytesPerTask)} bytes a queued operation`,
  );
}
