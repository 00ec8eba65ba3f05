import { simulatedPolicy } from '../src/compose/operator/simulate-policies.ts';
import { DEFAULT_OPTIONS } from '../src/execution/scheduler/options.ts';
import { simulateTrace } from '../src/execution/trace/simulate-trace.ts';
import type { InvocationReport } from '../src/execution/trace/simulation-report.ts';
import { LIBRARY_TRACES, TRACE_LIBRARY } from '../test/simulation/traces/library.ts';
import { TRACE_MATCHER } from '../test/simulation/traces/trace-builder.ts';

/**
 * The library of made traces under the default policy and under first come, first served, in simulated time: when all is done, the
 * 95th percentile of waiting in the smaller builds (the worst of them), and the longest time in which a build had work and none of it ran.
 */
const SEED = 1;

/** An invocation with so many actions is a small one. */
const SMALL = 50;

const seconds = (ms: number): string => (ms / 1000).toFixed(0);

const most = (of: readonly InvocationReport[], figure: (report: InvocationReport) => number): number =>
  Math.max(0, ...of.map(figure));

console.log('| trace | makespan | fifo | p95 wait, small builds | fifo | longest unserved | fifo |');
console.log('|---|--:|--:|--:|--:|--:|--:|');
for (const name of LIBRARY_TRACES) {
  const trace = TRACE_LIBRARY[name](SEED);
  const reports = (['configured', 'fifo'] as const).map((policy) =>
    simulateTrace(trace, TRACE_MATCHER, simulatedPolicy(policy, DEFAULT_OPTIONS)),
  );
  const cells = [
    ...reports.map(({ makespanMs }) => seconds(makespanMs)),
    ...reports.map(({ invocations }) => {
      const small = invocations.filter(({ actions }) => actions <= SMALL);
      return small.length === 0 ? '–' : seconds(most(small, ({ wait }) => wait.p95Ms));
    }),
    ...reports.map(({ invocations }) => seconds(most(invocations, ({ longestUnservedMs }) => longestUnservedMs))),
  ];
  console.log(`| ${name} | ${cells.join(' | ')} |`);
}
