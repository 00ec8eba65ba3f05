import type {
  InvocationReport,
  PoolReport,
  SimulationReport,
  WaitFigures,
} from '../../execution/trace/simulation-report.ts';
import { readableCount, readableDuration, readableShare } from './readable.ts';
import { offerWords } from './simulate-words.ts';
import { printable } from './terminal.ts';

/** Invocations that are listed; JSON has all. */
const MAX_INVOCATIONS = 20;

/** Longest name of an invocation in a table. */
const MAX_NAME = 40;

/** What a simulation was of. */
export interface SimulationSubject {
  /** When the trace was begun, as people write it. */
  readonly startedAt: string;
  readonly policy: string;
  readonly fleet: string;
  readonly isTruncated: boolean;
  /** There was more than could be played. */
  readonly isPartial: boolean;
}

/** A report as tables for people. */
export function simulationText(report: SimulationReport, subject: SimulationSubject): string {
  const { makespanMs, actions, failed, cancelled, unfinished, attempts, retries } = report;
  const ends = [
    [failed, 'failed'],
    [cancelled, 'cancelled'],
    [unfinished, 'never ended: no worker could run them, or what they wait for'],
  ] as const;
  const others = ends.filter(([count]) => count > 0).map(([count, how]) => `, ${readableCount(count)} ${how}`);
  const rows = [
    ['trace', traceWords(subject)],
    ['fleet', subject.fleet],
    ['policy', subject.policy],
    ['makespan', duration(makespanMs)],
    ['actions', `${readableCount(actions)}${others.join('')}`],
    ['attempts', `${readableCount(attempts)}, ${readableCount(retries)} of them not the first`],
    ['wait', waitWords(report.wait)],
  ];
  const head = rows.map(([name = '', value = '']) => `${name.padEnd(10)}${value}\n`).join('');
  return `${head}\n${poolTable(report.pools)}\n${invocationTable(report.invocations)}`;
}

function traceWords({ startedAt, isTruncated, isPartial }: SimulationSubject): string {
  const cut = isTruncated ? '; its last record is cut off' : '';
  return `of ${startedAt}${cut}${isPartial ? '; its beginning alone, as it has more actions than can be played' : ''}`;
}

function poolTable(pools: readonly PoolReport[]): string {
  return table(
    ['SLOTS', 'USED', 'MOST QUEUED', 'POOL'],
    pools.map((pool) => [
      readableCount(pool.maxSlots),
      readableShare(pool.utilisation, 1),
      readableCount(pool.maxQueued),
      printable(offerWords(pool)),
    ]),
  );
}

function invocationTable(invocations: readonly InvocationReport[]): string {
  const largest = invocations.toSorted((a, b) => b.actions - a.actions).slice(0, MAX_INVOCATIONS);
  const rows = largest.map(({ id, actions, wait, finishedMs, firstMs, longestUnservedMs }) => [
    readableCount(actions),
    duration(finishedMs - firstMs),
    ...[wait.meanMs, wait.p50Ms, wait.p95Ms, wait.maxMs, longestUnservedMs].map(duration),
    printable(id === '' ? 'of nobody' : shortened(id)),
  ]);
  const more = invocations.length - largest.length;
  const heads = ['ACTIONS', 'TOOK', 'WAIT: MEAN', 'P50', 'P95', 'MOST', 'UNSERVED', 'INVOCATION'];
  return `${table(heads, rows)}${more > 0 ? `and ${readableCount(more)} smaller invocations\n` : ''}`;
}

/** Columns of figures to the right, the last one, of names, to the left. */
function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [heads, ...rows];
  const widths = heads.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const last = heads.length - 1;
  return lines
    .map((line) => line.map((cell, column) => (column === last ? cell : cell.padStart(widths[column] ?? 0))).join('  '))
    .map((line) => `${line}\n`)
    .join('');
}

function waitWords({ meanMs, p50Ms, p95Ms, maxMs }: WaitFigures): string {
  return `mean ${duration(meanMs)}, median ${duration(p50Ms)}, p95 ${duration(p95Ms)}, most ${duration(maxMs)}`;
}

/** `1.2 s` below a minute. */
function duration(ms: number): string {
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : readableDuration(ms / 1000);
}

function shortened(name: string): string {
  return name.length <= MAX_NAME ? name : `${name.slice(0, MAX_NAME - 1)}…`;
}
