import fc from 'fast-check';
import { ModelWorld } from './model-world.ts';

/** A step of a random sequence. */
type Step = (world: ModelWorld) => unknown;

const NUMBER = fc.nat({ max: 200 });
const KEY = fc.constantFrom('a', 'b', 'c', 'd');
const RANGE = fc.record({
  offset: fc.nat({ max: 40_000 }),
  limit: fc.option(fc.nat({ max: 40_000 }), { nil: undefined }),
});

/** Prints as what it does, so that a counterexample can be read. */
function step(name: string, run: Step): Step {
  return Object.assign(run, { [fc.toStringMethod]: () => name });
}

const STEP: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: NUMBER.map((n) => step(`put ${n}`, (world) => world.put(n, n % 2 === 0 ? 'bytes' : 'stream'))),
  },
  { weight: 4, arbitrary: NUMBER.map((n) => step(`put many from ${n}`, (world) => world.putMany(n, 12))) },
  { weight: 3, arbitrary: NUMBER.map((n) => step(`read ${n}`, (world) => world.read(n, undefined))) },
  {
    weight: 2,
    arbitrary: fc.tuple(NUMBER, RANGE).map(([n, { offset, limit }]) => {
      const range = limit === undefined ? { offset } : { offset, limit };
      return step(`read ${n} ${JSON.stringify(range)}`, (world) => world.read(n, range));
    }),
  },
  {
    weight: 2,
    arbitrary: fc.array(NUMBER, { maxLength: 20 }).map((ns) => step(`find ${ns}`, (world) => world.find(ns))),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(KEY, fc.integer({ min: 1, max: 8000 }))
      .map(([key, size]) => step(`put entry ${key} ${size}`, (world) => world.putEntry(key, size))),
  },
  { weight: 1, arbitrary: KEY.map((key) => step(`read entry ${key}`, (world) => world.readEntry(key))) },
  { weight: 1, arbitrary: KEY.map((key) => step(`delete entry ${key}`, (world) => world.deleteEntry(key))) },
  {
    weight: 3,
    arbitrary: fc
      .constantFrom(500, 15_000, 29_000, 31_000, 61_000, 200_000)
      .map((ms) => step(`advance ${ms}`, (world) => world.clock.advance(ms))),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(1e10, -1e10).map((ms) => step(`jump ${ms}`, (world) => world.clock.jump(ms))),
  },
  { weight: 1, arbitrary: fc.constant(step('reopen', (world) => world.reopen())) },
  { weight: 1, arbitrary: fc.constant(step('crash', (world) => world.crash())) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(0, 0.3, 0.7).map((share) => step(`prune ${share}`, (world) => world.prune(share))),
  },
);

/**
 * Checks the law on random sequences. @param temporaryFolder gives a new folder, which it removes some time.
 * @throws an error that names the seed and the shortest sequence that breaks it.
 */
export async function checkModel(runs: number, temporaryFolder: () => string): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(STEP, { maxLength: 40, size: 'max' }), (steps) => runSteps(steps, temporaryFolder)),
    { numRuns: runs },
  );
}

async function runSteps(steps: readonly Step[], temporaryFolder: () => string): Promise<void> {
  const world = new ModelWorld(temporaryFolder);
  await world.open();
  try {
    for (const run of steps) {
      await run(world);
      world.checkStep();
    }
    await world.checkAll();
    await world.crash();
    await world.checkAll();
  } finally {
    await world.close();
  }
}
