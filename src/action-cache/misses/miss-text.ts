import type { DigestFact } from '../../errors.ts';
import type { BlobRole, Miss, NotCachedCause, SkipCause } from './miss.ts';
import type { Difference, DifferencePart, MissReport, PreviousAction } from './miss-report.ts';

/** A report as sentences for a terminal, lines ending in a line break. */
export function missText(report: MissReport): string {
  const { action, instance, miss, missedMs, isCached, storedMs, origin, previous } = report;
  const lines: string[] = [
    `Action ${digestText(action)}${instance === '' ? '' : `, instance name ${quoted(instance)}`}`,
  ];
  if (origin !== undefined && origin.targetId !== '') {
    const mnemonic = origin.mnemonic === '' ? '' : ` (${printable(origin.mnemonic)})`;
    const configuration = origin.configurationId === '' ? '' : `, configuration ${printable(origin.configurationId)}`;
    lines.push(`Target ${printable(origin.targetId)}${mnemonic}${configuration}`);
  }
  lines.push('');
  if (miss === undefined) {
    lines.push(isCached ? 'No miss of it is known, and a result is in the cache now.' : 'No miss of it is known.');
  } else {
    const when = missedMs === undefined ? 'Looked up now' : `Missed at ${time(missedMs)}`;
    lines.push(`${when}: ${missSentence(miss)}`);
    if (isCached) lines.push(`A complete result is in the cache now${stored(storedMs)}.`);
    else if (storedMs !== undefined) lines.push(`A result was last stored at ${time(storedMs)}.`);
  }
  if (previous !== undefined) lines.push('', ...previousLines(previous));
  const { sinceMs, actions, maxActions } = report.history;
  lines.push(
    '',
    `(The history reaches back to ${time(sinceMs)} and holds ${actions} of at most ${maxActions} actions.)`,
  );
  return `${lines.join('\n')}\n`;
}

/** Why it was a miss, as one sentence. */
export function missSentence(miss: Miss): string {
  switch (miss.reason) {
    case 'never-seen':
      return 'no result of this action has been stored here, as far as the history reaches.';
    case 'other-instance':
      return `its result is stored under the instance name ${quoted(miss.instance)} (last known at ${time(miss.atMs)}), and instance names do not share results.`;
    case 'other-function':
      return `it was seen with the digest function ${printable(miss.function)} before (at ${time(miss.atMs)}); another function makes it another action.`;
    case 'evicted':
      return `its result was evicted at ${time(miss.atMs)} to make room; it had not been used for ${duration(miss.ageSeconds)}.`;
    case 'expired':
      return `its result of ${time(miss.writtenMs)} is older than results may become (${duration(miss.maxAgeMs / 1000)}).`;
    case 'incomplete':
      return `its result is stored, but ${roleText(miss.role)} is gone: blob ${digestText(miss.blob)}${others(miss.absent)}.`;
    case 'damaged':
      return `${printable(miss.what)} cannot be read back.`;
    case 'too-large':
      return `${printable(miss.what)} of its result is beyond the limits within which results are checked.`;
    case 'not-cached':
      return `it was tried before (until ${time(miss.atMs)}), but a result was not cached: ${causeText(miss.because)}.`;
    case 'removed':
      return `its result was removed by an operator at ${time(miss.atMs)}.`;
    case 'lost':
      return `its result was there at ${time(miss.seenMs)} and is gone; no eviction of it is known.`;
    case 'skipped':
      return `${SKIP_TEXT[miss.because]}.`;
  }
}

function roleText(role: BlobRole): string {
  switch (role.kind) {
    case 'stdout':
    case 'stderr':
      return `its ${role.kind}`;
    case 'output-file':
      return `the output ${quoted(role.path)}`;
    case 'tree':
      return `the list of files of the output directory ${quoted(role.path)}`;
    case 'tree-file':
      return role.within === undefined
        ? `a file in the output directory ${quoted(role.path)}`
        : `the file ${quoted(role.within)} in the output directory ${quoted(role.path)}`;
    case 'root-directory':
      return `a part of the output directory ${quoted(role.path)}`;
  }
}

function causeText(cause: NotCachedCause): string {
  switch (cause.kind) {
    case 'exit-code':
      return `the command ended with exit code ${cause.exitCode}, and only success is cached`;
    case 'do-not-cache':
      return 'the action says do_not_cache';
    case 'too-large':
      return 'it is larger than what may be stored';
    case 'store-refused':
      return 'the store had no room that it may free';
    case 'store-failed':
      return 'the store could not write it';
    case 'timed-out':
      return 'the command ran longer than its timeout';
    case 'cancelled':
      return 'the execution was cancelled, or nobody waited for it any more';
    case 'not-queued':
      return 'it was not queued, since too much waited already or no worker offers its platform';
    case 'worker-failed':
      return 'the worker could not run it, or was lost';
    case 'invalid':
      return 'the request or the result was not valid, or inputs were missing';
  }
}

const SKIP_TEXT: Readonly<Record<SkipCause, string>> = {
  'do-not-cache': 'the cache was not asked, since the action says do_not_cache',
  'skip-cache-lookup': 'the cache was not asked, since the client said skip_cache_lookup',
  'failed-result': 'its cached result is that of a command that failed, which executions do not use',
};

const PART_TEXT: Readonly<Record<DifferencePart, string>> = {
  arguments: 'argument',
  environment: 'environment variable',
  platform: 'platform property',
  'working-directory': 'working directory',
  'output-paths': 'output',
  'output-format': 'output option',
  timeout: 'timeout',
  'do-not-cache': 'do_not_cache',
  salt: 'salt',
  inputs: 'input',
};

function previousLines({ action, seenMs, match, difference }: PreviousAction): string[] {
  const which =
    match === 'same-outputs'
      ? 'The previous action of the same target, mnemonic and outputs'
      : 'No earlier action of the same target and mnemonic has the same outputs; the nearest';
  const lines = [`${which} is ${digestText(action)}, seen at ${time(seenMs)}.`];
  const { differences, more, unavailable } = difference;
  if (differences.length > 0) lines.push('What differs, before → after:');
  for (const each of differences) lines.push(`  ${differenceText(each)}`);
  for (const { part, count } of more) lines.push(`  and at least ${count} more of this kind: ${PART_TEXT[part]}`);
  for (const { side, what, blob } of unavailable) {
    const whose = side === 'before' ? 'the previous action' : 'this action';
    lines.push(`  ${printable(what)} of ${whose} cannot be read any more: blob ${digestText(blob)}`);
  }
  if (differences.length === 0 && unavailable.length === 0) {
    lines.push('Nothing that counts differs: the messages of the actions are merely encoded differently.');
  }
  return lines;
}

function differenceText({ part, name, before, after }: Difference): string {
  const what = name === '' ? PART_TEXT[part] : `${PART_TEXT[part]} ${printable(name)}`;
  if (before === undefined) return `${what}: added, ${quoted(after ?? '')}`;
  if (after === undefined) return `${what}: removed, was ${quoted(before)}`;
  return `${what}: ${quoted(before)} → ${quoted(after)}`;
}

function others(absent: number): string {
  return absent > 1 ? ` (and ${absent - 1} more)` : '';
}

function stored(storedMs: number | undefined): string {
  return storedMs === undefined ? '' : `, stored at ${time(storedMs)}`;
}

/** As clients and `gantry` itself write digests; the function only where it is not the usual one. */
function digestText({ function: fn, hash, sizeBytes }: DigestFact): string {
  return `${fn === 'sha256' ? '' : `${printable(fn)}/`}${hash}/${sizeBytes}`;
}

function time(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** In the largest unit that fits, with one digit after the point. */
function duration(seconds: number): string {
  const units = [
    ['days', 86_400],
    ['hours', 3_600],
    ['minutes', 60],
  ] as const;
  for (const [unit, size] of units) {
    if (seconds >= size * 1.5) return `${Math.round((seconds / size) * 10) / 10} ${unit}`;
  }
  return `${Math.round(seconds)} seconds`;
}

function quoted(text: string): string {
  return `"${printable(text)}"`;
}

/** Texts are from outside: what a terminal takes for a command is not shown as it is. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`);
}
