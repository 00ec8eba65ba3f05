import type { FleetSnapshot, Node } from '../../gen/gantry/v1/fleet.ts';
import { actionText, counted, labelsText, poolNames, shortAction } from './fleet-words.ts';
import { readableCount, readableDuration } from './readable.ts';
import { tableLines } from './table-lines.ts';
import { printable } from './terminal.ts';

/** Nodes, drains, isolated nodes and the quarantine, as tables for people. Holds no control characters of others. */
export function fleetText(fleet: FleetSnapshot): string {
  const { totals, drains, isolated, quarantined } = fleet;
  const tables = [
    nodeTable(fleet),
    table(
      ['DRAIN', 'SINCE', 'THEN', 'REASON'],
      drains.map(({ labels, ageSeconds, isTermination, reason }) => [
        labelsText(labels),
        readableDuration(ageSeconds),
        isTermination ? 'terminate' : 'stay',
        printable(reason),
      ]),
      { total: totals?.drains, thing: 'drain' },
    ),
    table(
      ['ISOLATED', 'SINCE', 'REASON'],
      isolated.map(({ node, ageSeconds, reason }) => [
        printable(node),
        readableDuration(ageSeconds),
        printable(reason),
      ]),
      { total: totals?.isolated, thing: 'isolated node' },
    ),
    table(
      ['QUARANTINED ACTION', 'INSTANCE', 'FOR', 'REASON'],
      quarantined.map(({ action, leftSeconds, reason }) => [
        action === undefined ? '' : actionText(action),
        printable(action?.instanceName ?? ''),
        readableDuration(leftSeconds),
        printable(reason),
      ]),
      { total: totals?.quarantined, thing: 'quarantined action' },
    ),
  ];
  const shown = tables.filter((lines) => lines.length > 0);
  return shown.length === 0 ? 'no workers are connected\n' : `${shown.map((lines) => lines.join('\n')).join('\n\n')}\n`;
}

function nodeTable({ nodes, pools, totals }: FleetSnapshot): readonly string[] {
  const names = poolNames(pools);
  const rows = nodes.map((node) => {
    const { name, slots } = node;
    const busy = slots.filter(({ state }) => state === 'busy');
    return [
      printable(name),
      readableCount(slots.length),
      readableCount(busy.length),
      stateOf(node),
      readableDuration(Math.min(...slots.map(({ silentSeconds }) => silentSeconds))),
      [...new Set(slots.map(({ pool }) => names.get(pool) ?? ''))].join('; '),
      runsText(busy.map(({ action }) => shortAction(action))),
    ];
  });
  return table(['NODE', 'SLOTS', 'BUSY', 'STATE', 'HEARD OF', 'POOL', 'RUNS'], rows, {
    total: totals?.nodes,
    thing: 'node',
  });
}

/** The most serious thing first; `in part` where it is not so of all slots. */
function stateOf({ isIsolated, slots }: Node): string {
  if (isIsolated) return 'isolated';
  for (const [word, holds] of [
    ['terminating', slots.map(({ isTerminating }) => isTerminating)],
    ['drained', slots.map(({ isDrained }) => isDrained)],
    ['prefers idle', slots.map(({ prefersIdle }) => prefersIdle)],
  ] as const) {
    if (holds.every(Boolean)) return word;
    if (holds.some(Boolean)) return `${word} in part`;
  }
  return 'open';
}

/** Three of them, and how many more. */
function runsText(actions: readonly string[]): string {
  const more = actions.length > 3 ? [`and ${actions.length - 3} more`] : [];
  return [...actions.slice(0, 3), ...more].join(' ');
}

/** Nothing without rows. */
function table(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  { total, thing }: { readonly total: number | undefined; readonly thing: string },
): readonly string[] {
  if (rows.length === 0) return [];
  const left = (total ?? 0) - rows.length;
  const lines = tableLines(
    titles.map((title) => ({ title, ...(/^(?:SLOTS|BUSY)$/.test(title) && { align: 'right' as const }) })),
    rows,
    Number.POSITIVE_INFINITY,
  );
  return left > 0 ? [...lines, `… ${counted(left, `more ${thing}`)}`] : lines;
}
