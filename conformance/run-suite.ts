import type { CaseContext, ConformanceCase } from './case.ts';
import type { KnownDeviations } from './known-deviations.ts';
import { judge, makeReport, type Outcome, type Report, type ReportLine } from './report.ts';

/** Runs the cases one after the other: a failure then belongs to one case, and the server is quiet before each. */
export async function runSuite(
  cases: readonly ConformanceCase[],
  context: CaseContext,
  known: KnownDeviations,
): Promise<Report> {
  const lines: ReportLine[] = [];
  for (const subject of cases) lines.push(judge(subject, await runCase(subject, context), known));
  return makeReport(context.profile.name, lines);
}

async function runCase(subject: ConformanceCase, context: CaseContext): Promise<Outcome> {
  const lacks = subject.needs.filter((feature) => !context.profile.features.has(feature));
  if (lacks.length > 0) return { kind: 'skip', lacks };
  try {
    await subject.run(context);
    return { kind: 'pass' };
  } catch (cause) {
    // Whatever went wrong, the server did not show that it keeps the rule.
    return { kind: 'fail', message: cause instanceof Error ? cause.message : String(cause) };
  }
}
