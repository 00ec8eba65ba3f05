import type { Attempt, OperationExplanation } from '../../gen/gantry/v1/fleet.ts';
import { actionText, counted, sharesText } from './fleet-words.ts';
import { readableDuration } from './readable.ts';
import { tableLines } from './table-lines.ts';
import { printable } from './terminal.ts';

/** An explanation in lines, for people: the sentences first, then what they are made of. Holds no control characters of others. */
export function whyText(explanation: OperationExplanation): string {
  const { operation, action, text, blocks, attempts, shares, operations } = explanation;
  const instance = action === undefined || action.instanceName === '' ? '' : `, instance name "${action.instanceName}"`;
  const others = operations - 1;
  const waiters =
    others < 1 ? '' : `; ${counted(others, 'other operation')} ${others === 1 ? 'waits' : 'wait'} for the same`;
  const named = operation === '' ? 'Work of a former server that nobody asked this one for' : `Operation ${operation}`;
  return [
    `${printable(named)}: ${stateText(explanation)}`,
    ...(action === undefined ? [] : [`Action ${actionText(action)}${printable(instance)}${waiters}`]),
    ...(shares.length === 0 ? [] : [`For ${sharesText(shares)}${priorityText(explanation)}`]),
    '',
    printable(text),
    ...(blocks.length === 0 ? [] : ['', 'What it waits for:', ...blocks.map((block) => `  ${printable(block.text)}`)]),
    ...(attempts.length === 0 ? [] : ['', ...attemptLines(attempts)]),
    '',
  ].join('\n');
}

function stateText({ state, ageSeconds, expectedSeconds }: OperationExplanation): string {
  const age = readableDuration(ageSeconds);
  const expected = expectedSeconds === undefined ? '' : `; such actions take ${readableDuration(expectedSeconds)}`;
  const since = state === 'finished' ? `created ${age} ago` : `asked for ${age} ago`;
  return `${printable(state)}, ${since}${expected}`;
}

function priorityText({ priority }: OperationExplanation): string {
  return priority === 0 ? '' : `, priority ${priority}`;
}

function attemptLines(attempts: readonly Attempt[]): string[] {
  const columns = [
    { title: 'ATTEMPT', align: 'right' as const },
    { title: 'STARTED' },
    { title: 'RAN', align: 'right' as const },
    ...['ENDED', 'NODE', 'WHY'].map((title) => ({ title })),
  ];
  const rows = attempts.map(({ attempt, startedUnixSeconds, ranSeconds, how, node, cause }) => [
    String(attempt),
    timeText(startedUnixSeconds),
    readableDuration(ranSeconds),
    printable(how === 'running' ? '(runs)' : how),
    printable(node),
    printable(cause),
  ]);
  return tableLines(columns, rows, Number.POSITIVE_INFINITY);
}

function timeText(unixSeconds: number): string {
  return new Date(unixSeconds * 1000).toISOString().replace(/\.\d+Z$/, 'Z');
}
