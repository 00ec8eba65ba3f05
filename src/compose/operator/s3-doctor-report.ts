import { printable } from './terminal.ts';

/** What one check of a bucket came to. */
export interface S3Finding {
  /** What was checked: `range read`. */
  readonly check: string;
  readonly result: 'ok' | 'warning' | 'failed' | 'skipped';
  /** What was seen, in one line. */
  readonly finding: string;
  /** What to do about it. */
  readonly advice?: string;
}

/** Where the bucket is that was looked at. */
export interface S3Place {
  readonly bucket: string;
  /** Empty, or ends in a slash. */
  readonly prefix: string;
  readonly region: string;
  /** Undefined: AWS. */
  readonly endpoint: string | undefined;
}

const WORDS = { ok: 'ok', warning: 'warning', failed: 'FAILED', skipped: 'skipped' } as const;

/** The longest of `WORDS`, and a column between. */
const WORD_COLUMNS = 9;

/** The line that says what is looked at. */
export function placeText(place: S3Place): string {
  return `checking ${bucketText(place)}\n`;
}

/** Which bucket is meant. */
export function bucketText({ bucket, prefix, region, endpoint }: S3Place): string {
  const where = endpoint === undefined ? `AWS, region ${region}` : `${endpoint}, region ${region}`;
  return `the bucket "${bucket}"${prefix === '' ? '' : ` under "${prefix}"`} at ${where}`;
}

/** One finding: a line, and one for the advice. */
export function findingText({ check, result, finding, advice }: S3Finding): string {
  const line = `${WORDS[result].padEnd(WORD_COLUMNS)}${check}: ${printable(finding)}\n`;
  return advice === undefined ? line : `${line}${' '.repeat(WORD_COLUMNS)}${printable(advice)}\n`;
}

/** The line at the end. */
export function sumText(findings: readonly S3Finding[]): string {
  const failed = countOf(findings, 'failed');
  const warnings = countOf(findings, 'warning');
  const also = warnings === 0 ? '' : `, ${warnings} ${warnings === 1 ? 'warning' : 'warnings'}`;
  return failed === 0 ? `the bucket can be used${also}\n` : `${failed} of ${findings.length} checks failed${also}\n`;
}

/** Whether Gantry can work with the bucket. */
export function isUsable(findings: readonly S3Finding[]): boolean {
  return countOf(findings, 'failed') === 0;
}

function countOf(findings: readonly S3Finding[], result: S3Finding['result']): number {
  return findings.filter((each) => each.result === result).length;
}
