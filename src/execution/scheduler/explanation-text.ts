import type { AttemptRecord } from './events.ts';
import type { Block, Explanation } from './view.ts';

/** Longest reason that is taken over from others, in characters: a sentence stays a sentence. */
const MAX_REASON_LENGTH = 300;

/** Reasons beside busy slots that are given at once; the weightiest come first. */
const MAX_REASONS = 2;

/** Most nodes listed by name. */
const MAX_LISTED_NODES = 3;

/** An attempt as far as its history needs it. One that was stored may have ended in a way that only another version knows. */
export interface PastAttempt {
  readonly attempt: number;
  readonly node: string;
  readonly end?: { readonly how: string; readonly cause: string };
}

/** How an attempt ended, after a number. */
const ENDINGS = new Map<string, string>([
  ['success', 'successful'],
  ['failure', 'failed by itself'],
  ['exhausted', 'short of memory or disk'],
  ['worker-fault', 'ended by a fault of the worker'],
  ['worker-lost', 'lost with the worker'],
  ['cancelled', 'cancelled'],
  ['superseded', 'overtaken by another attempt'],
]);

/**
 * An explanation in one to three plain sentences: what it waits for or does, when it will probably start, and what became of
 * earlier attempts. For `ExecuteResponse.message`, operations and operators; names of workers and shares are as they came.
 * @param nowMs the scheduler's time.
 */
export function explanationText(explanation: Omit<Explanation, 'text'>, nowMs: number): string {
  const history = attemptsText(explanation.attempts);
  const sentences = history === '' ? [] : [history];
  if (explanation.state === 'executing') return [runningText(explanation.attempts, nowMs), ...sentences].join(' ');
  if (explanation.state === 'recording') return ['It has run; its result is being stored.', ...sentences].join(' ');
  const reasons = explanation.blocks
    .filter(({ kind }) => kind !== 'all-busy')
    .slice(0, MAX_REASONS)
    .map((block) => blockText(block, nowMs));
  const line = lineText(explanation, nowMs);
  return [line, ...reasons]
    .filter((text) => text !== '')
    .map(sentence)
    .concat(sentences)
    .join(' ');
}

/**
 * What became of the attempts that have ended, in one or two sentences; empty if none has, or the only one succeeded.
 * The last one is told with its reason, those before it are counted.
 */
export function attemptsText(attempts: readonly PastAttempt[]): string {
  const ended = attempts.flatMap(({ attempt, node, end }) => (end === undefined ? [] : [{ attempt, node, end }]));
  const last = ended.at(-1);
  if (last === undefined || (ended.length === 1 && last.end.how === 'success')) return '';
  const before = ended.slice(0, -1);
  const [only] = before;
  const told = attemptText(last.attempt, last.node, last.end);
  if (only === undefined) return told;
  if (before.length === 1) return `${attemptText(only.attempt, only.node, only.end)} ${told}`;
  const counts = new Map<string, number>();
  for (const { end } of before) counts.set(end.how, (counts.get(end.how) ?? 0) + 1);
  const counted = [...counts].map(([how, count]) => `${count} ${ENDINGS.get(how) ?? how}`);
  return `There were ${before.length} earlier attempts: ${counted.join(', ')}. ${told}`;
}

/** One thing that keeps a task from starting, as half a sentence without a full stop. @param nowMs the scheduler's time. */
export function blockText(block: Block, nowMs: number): string {
  switch (block.kind) {
    case 'no-such-worker':
      return clipped(block.text);
    case 'pool-empty': {
      const leftMs = block.untilMs - nowMs;
      const waits = leftMs > 0 && Number.isFinite(leftMs) ? `; it waits for one for another ${duration(leftMs)}` : '';
      return `the pool "${clipped(block.pool)}" could run it and has no worker now${waits}`;
    }
    case 'all-busy':
      return block.slots === 1
        ? 'the only slot that fits is busy'
        : `all ${count(block.slots)} slots that fit are busy`;
    case 'drained': {
      const reason = block.reason === '' ? '' : ` (${clipped(block.reason)})`;
      return `${things(block.slots, 'slot that fits takes', 'slots that fit take')} no new work${reason}`;
    }
    case 'resource': {
      const { resource, wanted, mostFree } = block;
      return `no node has enough ${clipped(resource)} free: it needs ${amount(wanted)}, at most ${amount(mostFree)} is left`;
    }
    case 'avoids-nodes':
      return `it keeps off ${nodes(block.nodes)} because of what happened there, while another worker may do`;
    case 'turn':
      return `the share "${clipped(block.share)}", which runs ${count(block.running)} now, has a better claim`;
  }
}

/** Place in line and expected start; empty where a line would mean nothing. */
function lineText({ rank, competitors, blocks, expectedStartMs }: Omit<Explanation, 'text'>, nowMs: number): string {
  const [first] = blocks;
  if (first?.kind === 'no-such-worker') return '';
  const busy = blocks.find((block) => block.kind === 'all-busy');
  const slots = busy === undefined ? '' : ` for ${things(busy.slots, 'busy slot', 'busy slots')}`;
  const starts = expectedStartMs === undefined ? '' : `; expected to start ${soon(expectedStartMs - nowMs)}`;
  return `${placeText(rank, competitors)}${slots}${starts}`;
}

function placeText(rank: number | undefined, competitors: number | undefined): string {
  if (rank === undefined) {
    return competitors === undefined || competitors <= 1 ? 'in line' : `one of ${count(competitors)} in line`;
  }
  if (competitors === undefined || competitors <= 1) return rank === 1 ? 'next in line' : `${ordinal(rank)} in line`;
  return `${ordinal(rank)} of ${count(competitors)} in line`;
}

function runningText(attempts: readonly AttemptRecord[], nowMs: number): string {
  const running = attempts.filter(({ end }) => end === undefined);
  const [first] = running;
  if (first === undefined) return 'It runs.';
  const places = running.map(({ node, startedAtMs }) => {
    const forMs = nowMs - startedAtMs;
    return `on ${worker(node)} ${forMs < 1_000 ? 'as of now' : `for ${duration(forMs)}`}`;
  });
  const which = first.attempt > 1 ? ` as attempt ${first.attempt}` : '';
  return `It runs${which} ${places.join(', and ')}.`;
}

function attemptText(attempt: number, node: string, { how, cause }: NonNullable<PastAttempt['end']>): string {
  const why = cause === '' ? '' : `: ${clipped(cause)}`;
  const where = worker(node);
  switch (how) {
    case 'success':
      return `Attempt ${attempt} succeeded on ${where}.`;
    case 'failure':
      return sentence(`Attempt ${attempt} failed on ${where}${why}`);
    case 'exhausted':
      return sentence(`Attempt ${attempt} ran out of memory or disk on ${where}${why}`);
    case 'worker-fault':
      return sentence(`Attempt ${attempt} ended with a fault of ${where}${why}`);
    case 'worker-lost':
      return sentence(
        cause === ''
          ? `Attempt ${attempt} was lost: ${where} fell silent`
          : `Attempt ${attempt} was lost with ${where}${why}`,
      );
    case 'cancelled':
      return sentence(`Attempt ${attempt} on ${where} was cancelled${why}`);
    case 'superseded':
      return sentence(`Attempt ${attempt} on ${where} was given up, as another one was faster${why}`);
    default:
      return sentence(`Attempt ${attempt} on ${where} ended as ${clipped(how)}${why}`);
  }
}

function worker(node: string): string {
  return node === '' ? 'a worker without a name' : `worker ${clipped(node)}`;
}

function nodes(names: readonly string[]): string {
  const listed = names.slice(0, MAX_LISTED_NODES).map(clipped).join(', ');
  return names.length > MAX_LISTED_NODES ? `${listed} and ${names.length - MAX_LISTED_NODES} more nodes` : listed;
}

function soon(inMs: number): string {
  return inMs < 1_000 ? 'any moment' : `in about ${duration(inMs)}`;
}

/** Rounded to one unit: these are guesses, or reasons for patience. */
function duration(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 60) return `${Math.max(1, seconds)} s`;
  if (seconds < 3_570) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3_600) return `${Math.round(seconds / 3_600)} h`;
  return `${count(Math.round(seconds / 86_400))} days`;
}

/** `3rd`, `11th`, `1,002nd`. */
function ordinal(rank: number): string {
  const isTeen = Math.floor(rank / 10) % 10 === 1;
  const ending = isTeen ? undefined : { 1: 'st', 2: 'nd', 3: 'rd' }[rank % 10];
  return `${count(rank)}${ending ?? 'th'}`;
}

/** Large amounts are bytes as a rule: in binary units, `8Gi`. */
function amount(value: number): string {
  for (const [unit, power] of [['Ti', 40] as const, ['Gi', 30] as const, ['Mi', 20] as const]) {
    if (value >= 2 ** power) return `${decimal(value / 2 ** power)}${unit}`;
  }
  return decimal(value);
}

/** With at most one decimal place. Rounded down, so that what is left never looks like enough. */
function decimal(value: number): string {
  return (Math.floor(value * 10) / 10).toLocaleString('en-US');
}

function things(number: number, one: string, many: string): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}

function count(number: number): string {
  return number.toLocaleString('en-US');
}

function clipped(text: string): string {
  return text.length > MAX_REASON_LENGTH ? `${text.slice(0, MAX_REASON_LENGTH)}…` : text;
}

/** Begins with a capital and ends with one full stop. */
function sentence(text: string): string {
  const whole = text.slice(0, 1).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(whole) ? whole : `${whole}.`;
}
