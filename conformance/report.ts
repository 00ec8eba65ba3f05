import type { ConformanceCase, Level } from './case.ts';
import type { KnownDeviations } from './known-deviations.ts';

/** What running one case showed. `skip` names the features that the profile lacks. */
export type Outcome =
  | { readonly kind: 'pass' }
  | { readonly kind: 'fail'; readonly message: string }
  | { readonly kind: 'skip'; readonly lacks: readonly string[] };

/** `known`: fails and is listed. `unexpected-pass`: is listed and passes, so that the list is out of date. */
export type Verdict = 'pass' | 'fail' | 'skip' | 'known' | 'unexpected-pass';

/** One line of the report. */
export interface ReportLine {
  readonly id: string;
  readonly level: Level;
  readonly requirements: readonly string[];
  readonly rule: string;
  readonly verdict: Verdict;
  /** Why it failed, why the failure is accepted, or what the profile lacks. */
  readonly note: string;
}

/** The whole report. */
export interface Report {
  readonly profile: string;
  readonly lines: readonly ReportLine[];
  readonly counts: Readonly<Record<Verdict, number>>;
}

/** Judges the outcome of a case in the light of the known deviations of the server. */
export function judge(subject: ConformanceCase, outcome: Outcome, known: KnownDeviations): ReportLine {
  const { id, level, requirements, rule } = subject;
  const reason = known.reasons.get(id);
  const line = (verdict: Verdict, note: string): ReportLine => ({ id, level, requirements, rule, verdict, note });
  if (outcome.kind === 'skip') return line('skip', `the profile lacks ${outcome.lacks.join(', ')}`);
  if (outcome.kind === 'pass') return reason === undefined ? line('pass', '') : line('unexpected-pass', reason);
  return reason === undefined ? line('fail', outcome.message) : line('known', reason);
}

/** Counts the verdicts. */
export function makeReport(profile: string, lines: readonly ReportLine[]): Report {
  const counts = { pass: 0, fail: 0, known: 0, 'unexpected-pass': 0, skip: 0 };
  for (const { verdict } of lines) counts[verdict] += 1;
  return { profile, lines, counts };
}

/** 1 if a case of level MUST failed that is not a known deviation, else 0. */
export function exitCodeOf(report: Report): 0 | 1 {
  return report.lines.some(({ level, verdict }) => level === 'MUST' && verdict === 'fail') ? 1 : 0;
}

/** A table for people: one line a case, a second one where there is something to say. */
export function formatText(report: Report): string {
  const width = Math.max(0, ...report.lines.map(({ id }) => id.length));
  const lines = report.lines.map((line) => {
    const row = `${line.verdict.padEnd(15)}  ${line.level.padEnd(6)}  ${line.id.padEnd(width)}  ${line.rule}`;
    const wanted = line.verdict !== 'pass' && line.verdict !== 'skip';
    return wanted ? `${row}\n${' '.repeat(17)}${line.note.replaceAll('\n', `\n${' '.repeat(17)}`)}` : row;
  });
  const summary = Object.entries(report.counts).map(([verdict, count]) => `${count} ${verdict}`);
  return `${lines.join('\n')}\n\n${report.lines.length} cases with profile ${report.profile}: ${summary.join(', ')}\n`;
}

/** The report as one JSON document. */
export function formatJson(report: Report): string {
  return `${JSON.stringify(report, undefined, 2)}\n`;
}
