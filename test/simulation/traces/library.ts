import type { Trace } from '../../../src/execution/trace/trace.ts';
import { SeededRandom } from '../seeded-random.ts';
import { type Platform, TraceBuilder } from './trace-builder.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;

/**
 * Made traces, each a shape of work that schedulers are known to handle badly. A seed decides the durations; every trace has some
 * workers, whose offers a larger fleet takes.
 */
export const TRACE_LIBRARY = {
  /** Layers of actions that fan out and come together: the critical path decides. */
  'diamond builds': diamonds,
  /** A short chain, then hundreds of tests at once. */
  'test storm': testStorm,
  /** Long actions that come last, and were seen before. */
  'long tail': longTail,
  /** Work for four platforms, some of which is wanted more than there is of it. */
  'mixed platforms': mixedPlatforms,
  /** Many small builds beside one that fills every queue. */
  'small beside huge': smallBesideHuge,
  /** More builds of the same size than there are slots, one begun shortly after the other. */
  'many equal builds': manyEqualBuilds,
  /** People who wait, and batch work that was there before. */
  'priority mix': priorityMix,
  /** Workers that come, and go with what they run. */
  'worker churn': workerChurn,
} satisfies Record<string, (seed: number) => Trace>;

/** The name of a trace in the library. */
export type LibraryTrace = keyof typeof TRACE_LIBRARY;

/** All names, in order. */
export const LIBRARY_TRACES = Object.keys(TRACE_LIBRARY) as readonly LibraryTrace[];

function diamonds(seed: number): Trace {
  const random = new SeededRandom(seed);
  const builder = withWorkers(4);
  for (let build = 0; build < 6; build++) {
    const invocation = `diamond-${build}`;
    let top = builder.action({ invocation, runMs: random.between(1, 5) * SECOND, delayMs: build * 5 * SECOND });
    for (let layer = 0; layer < 6; layer++) {
      const middle = times(random.between(4, 16), () =>
        builder.action({ invocation, runMs: random.between(2, 20) * SECOND, after: [top] }),
      );
      top = builder.action({ invocation, runMs: random.between(1, 5) * SECOND, after: middle });
    }
  }
  return builder.build();
}

function testStorm(seed: number): Trace {
  const random = new SeededRandom(seed);
  const builder = withWorkers(4);
  const invocation = 'storm';
  let link: readonly number[] = [];
  for (let length = 0; length < 5; length++) {
    link = [builder.action({ invocation, runMs: random.between(5, 15) * SECOND, after: link })];
  }
  times(500, () => {
    const runMs = random.between(1, 60) * SECOND;
    return builder.action({ invocation, runMs, after: link, expectedMs: runMs });
  });
  return builder.build();
}

function longTail(seed: number): Trace {
  const random = new SeededRandom(seed);
  const builder = withWorkers(4);
  const invocation = 'tail';
  times(300, () => builder.action({ invocation, runMs: random.between(1, 5) * SECOND, expectedMs: 3 * SECOND }));
  times(8, () => {
    const runMs = random.between(2, 5) * MINUTE;
    return builder.action({ invocation, runMs, expectedMs: runMs, delayMs: SECOND });
  });
  return builder.build();
}

const PLATFORMS: readonly [Platform, ...Platform[]] = [
  ['linux', 'x86-64'],
  ['linux', 'arm-a64'],
  ['macos', 'arm-a64'],
  ['windows', 'x86-64'],
];

function mixedPlatforms(seed: number): Trace {
  const random = new SeededRandom(seed);
  const builder = new TraceBuilder();
  for (const [number, platform] of PLATFORMS.entries()) builder.worker(`worker-${number}`, 2, platform);
  for (let build = 0; build < 8; build++) {
    const invocation = `mixed-${build}`;
    const first = builder.action({ invocation, runMs: 5 * SECOND, delayMs: build * 3 * SECOND });
    times(40, () => {
      // Any Linux will do for a third; the scarce platforms are wanted as often as the common ones.
      const platform: Platform = random.chance(0.33) ? ['linux'] : random.pick(PLATFORMS);
      return builder.action({ invocation, runMs: random.between(1, 30) * SECOND, after: [first], platform });
    });
  }
  return builder.build();
}

function smallBesideHuge(seed: number): Trace {
  const random = new SeededRandom(seed);
  const builder = withWorkers(8);
  times(1500, () => builder.action({ invocation: 'huge', runMs: random.between(5, 30) * SECOND }));
  for (let build = 0; build < 20; build++) {
    const invocation = `small-${build}`;
    let link: readonly number[] = [];
    for (let step = 0; step < 5; step++) {
      const delayMs = step === 0 ? MINUTE + build * 30 * SECOND : SECOND;
      link = times(2, () => builder.action({ invocation, runMs: random.between(1, 5) * SECOND, after: link, delayMs }));
    }
  }
  return builder.build();
}

function manyEqualBuilds(seed: number): Trace {
  const random = new SeededRandom(seed);
  const builder = withWorkers(4);
  for (let build = 0; build < 16; build++) {
    times(30, () =>
      builder.action({
        ...{ invocation: `equal-${build}`, runMs: random.between(2, 10) * SECOND },
        delayMs: build * 2 * SECOND,
      }),
    );
  }
  return builder.build();
}

function priorityMix(seed: number): Trace {
  const random = new SeededRandom(seed);
  const builder = withWorkers(4);
  times(400, () => builder.action({ invocation: 'batch', runMs: random.between(10, 30) * SECOND, priority: 300 }));
  for (let build = 0; build < 10; build++) {
    const delayMs = (build + 1) * MINUTE;
    const invocation = `person-${build}`;
    times(8, () => builder.action({ invocation, runMs: random.between(2, 10) * SECOND, delayMs, priority: -100 }));
  }
  return builder.build();
}

function workerChurn(seed: number): Trace {
  const random = new SeededRandom(seed);
  const builder = new TraceBuilder();
  builder.worker('steady', 4, ['linux']);
  for (let worker = 0; worker < 12; worker++) {
    const atMs = random.between(0, 240) * SECOND;
    builder.worker(`spot-${worker}`, 4, ['linux'], atMs);
    builder.workerLost(`spot-${worker}`, 4, atMs + random.between(60, 180) * SECOND);
  }
  for (let build = 0; build < 4; build++) {
    const invocation = `churned-${build}`;
    times(80, () =>
      builder.action({ invocation, runMs: random.between(5, 45) * SECOND, delayMs: build * 20 * SECOND }),
    );
  }
  return builder.build();
}

function withWorkers(slots: number): TraceBuilder {
  const builder = new TraceBuilder();
  builder.worker('worker', slots, ['linux']);
  return builder;
}

function times<T>(count: number, make: () => T): readonly T[] {
  return Array.from({ length: count }, make);
}
