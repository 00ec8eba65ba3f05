import type { FleetCounts, FleetSnapshot } from '../../gen/gantry/v1/fleet.ts';
import { counted, labelsText, poolNames, sharesText, shortAction } from './fleet-words.ts';
import { readableCount, readableDuration } from './readable.ts';
import { type Column, tableLines } from './table-lines.ts';
import { printable } from './terminal.ts';
import { clippedText } from './text-width.ts';

/** A line of the view. */
export interface TopLine {
  readonly text: string;
  /** The titles of a table, or the first line. */
  readonly isTitle: boolean;
}

/** How much room there is, and what is said beside the snapshot. */
export interface TopRoom {
  readonly columns: number;
  /** Infinity: everything is listed. */
  readonly rows: number;
  readonly server: string;
  /** What is wrong with the connection; unset if nothing is. */
  readonly problem?: string;
}

interface Section {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly string[])[];
  /** How many there are, listed or not. */
  readonly total: number;
  readonly thing: string;
}

/** A blank line and the titles. */
const LINES_AROUND = 2;

/** Length of the bar that shows how much of a pool is busy. */
const BAR_LENGTH = 10;

const NO_COUNTS: FleetCounts = {
  ...{ operations: 0, queuedTasks: 0, executingTasks: 0, recordingTasks: 0 },
  ...{ slots: 0, busySlots: 0, waitingSlots: 0, drainedSlots: 0 },
};

/**
 * A snapshot as lines: at most `rows`, none wider than `columns`. Sections that need little give what they leave to the others; of what
 * has no room it is said how much it is. Holds no control characters, whatever names do.
 */
export function topLines(fleet: FleetSnapshot, room: TopRoom): TopLine[] {
  const head = headLines(fleet, room);
  const sections = [poolSection(fleet), demandSection(fleet), runningSection(fleet), shareSection(fleet)];
  // On a small screen the first ones are better than the titles of all.
  const fitting = Math.max(0, Math.floor((room.rows - head.length) / (LINES_AROUND + 1)));
  const shown = sections.filter(({ rows }) => rows.length > 0).slice(0, fitting);
  const wanted = shown.map(linesWanted);
  const given = shareOut(room.rows - head.length - LINES_AROUND * shown.length, wanted);
  const lines = [...head, ...shown.flatMap((section, index) => sectionLines(section, given[index] ?? 0, room.columns))];
  return lines.slice(0, room.rows).map(({ text, isTitle }) => ({ text: clippedText(text, room.columns), isTitle }));
}

function headLines(fleet: FleetSnapshot, { server, problem }: TopRoom): TopLine[] {
  const { counts = NO_COUNTS, totals, isolated, quarantined, drains, unixSeconds } = fleet;
  const at = new Date(unixSeconds * 1000).toISOString().replace('T', ' ').slice(0, 19);
  const { operations, queuedTasks, executingTasks, recordingTasks } = counts;
  const { slots, busySlots, waitingSlots, drainedSlots } = counts;
  const all = { drains: drains.length, isolated: isolated.length, quarantined: quarantined.length, ...totals };
  const tasks = `${readableCount(queuedTasks)} queued, ${readableCount(executingTasks)} running, ${readableCount(recordingTasks)} recording`;
  const states = `${readableCount(busySlots)} busy, ${readableCount(waitingSlots)} waiting, ${readableCount(drainedSlots)} drained`;
  const lines = [
    `gantry top  ${printable(server)}  ${at} UTC`,
    `${counted(operations, 'operation')}: ${tasks}`,
    `${counted(slots, 'slot')} on ${counted(totals?.nodes ?? 0, 'node')}: ${states}`,
    ...listLine(
      'drains',
      all.drains,
      drains.map(({ labels, reason, isTermination }) => {
        return `${labelsText(labels)}${isTermination ? ' terminating' : ''}${because(reason)}`;
      }),
    ),
    ...listLine(
      'isolated',
      all.isolated,
      isolated.map(({ node, reason }) => `${printable(node)}${because(reason)}`),
    ),
    ...listLine(
      'quarantine',
      all.quarantined,
      quarantined.map(({ action, reason }) => {
        return `${shortAction(action)}${because(reason)}`;
      }),
    ),
    ...(problem === undefined ? [] : [printable(problem)]),
  ];
  return lines.map((text, index) => ({ text, isTitle: index === 0 }));
}

function listLine(title: string, total: number, texts: readonly string[]): string[] {
  return total === 0
    ? []
    : [`${title} ${readableCount(total)}: ${texts.slice(0, 3).join('; ')}${total > 3 ? '; …' : ''}`];
}

function because(reason: string): string {
  return reason === '' ? '' : ` (${printable(reason)})`;
}

function poolSection({ pools, totals }: FleetSnapshot): Section {
  const names = poolNames(pools);
  return {
    columns: [
      { title: 'POOL', isFlexible: true },
      ...['SLOTS', 'BUSY', 'WAITING', 'DRAINED', 'NODES'].map((title) => ({ title, align: 'right' as const })),
      { title: 'IN USE' },
    ],
    rows: pools.map(({ id, slots, busySlots, waitingSlots, drainedSlots, nodes }) => [
      names.get(id) ?? '',
      ...[slots, busySlots, waitingSlots, drainedSlots, nodes].map(readableCount),
      bar(busySlots, slots),
    ]),
    total: totals?.pools ?? pools.length,
    thing: 'pool',
  };
}

function demandSection({ demands, totals }: FleetSnapshot): Section {
  return {
    columns: [
      { title: 'WAITING FOR', isFlexible: true },
      ...['QUEUED', 'WORK', 'OLDEST'].map((title) => ({ title, align: 'right' as const })),
      { title: 'WHY', isFlexible: true },
    ],
    rows: demands.map(({ instanceName, platform, sizeClass, queued, queuedWorkSeconds, oldestSeconds, blocked }) => [
      printable(
        `${instanceName === '' ? '' : `${instanceName}: `}${platform}${sizeClass === 0 ? '' : ` (size class ${sizeClass})`}`,
      ),
      readableCount(queued),
      readableDuration(queuedWorkSeconds),
      readableDuration(oldestSeconds),
      printable(blocked),
    ]),
    total: totals?.demands ?? demands.length,
    thing: 'demand',
  };
}

function runningSection({ running, pools, totals }: FleetSnapshot): Section {
  const names = poolNames(pools);
  return {
    columns: [
      { title: 'RUNNING', isFlexible: true },
      ...['FOR', 'EXPECTED'].map((title) => ({ title, align: 'right' as const })),
      { title: 'TRY', align: 'right' },
      { title: 'NODE', isFlexible: true },
      { title: 'POOL', isFlexible: true },
      { title: 'FOR WHOM', isFlexible: true },
    ],
    rows: running.map(({ action, title, runningSeconds, expectedSeconds, attempt, node, pool, shares, operations }) => [
      `${shortAction(action)} ${printable(title)}`.trimEnd(),
      readableDuration(runningSeconds),
      expectedSeconds === undefined ? '–' : readableDuration(expectedSeconds),
      String(attempt),
      printable(node),
      names.get(pool) ?? '',
      operations === 0 ? '(of a former server)' : sharesText(shares),
    ]),
    total: totals?.running ?? running.length,
    thing: 'running one',
  };
}

function shareSection({ shares, totals }: FleetSnapshot): Section {
  return {
    columns: [
      { title: 'SHARE', isFlexible: true },
      ...['WEIGHT', 'RUNNING', 'QUEUED'].map((title) => ({ title, align: 'right' as const })),
    ],
    rows: shares.map(({ path, weight, running, queued }) => [
      sharesText(path),
      String(weight),
      readableCount(running),
      readableCount(queued),
    ]),
    total: totals?.shares ?? shares.length,
    thing: 'share',
  };
}

/** Lines below the titles that show everything. */
function linesWanted({ rows, total }: Section): number {
  return rows.length + (total > rows.length ? 1 : 0);
}

function sectionLines(section: Section, lines: number, width: number): TopLine[] {
  const { columns, rows, total, thing } = section;
  if (lines < 1) return [];
  // The last line is needed to say how much there is beside.
  const listed = lines >= linesWanted(section) ? rows.length : lines - 1;
  const [titles = '', ...texts] = tableLines(columns, rows.slice(0, listed), width);
  const more = total > listed ? [`… ${counted(total - listed, `more ${thing}`)}`] : [];
  return ['', titles, ...texts, ...more].map((text, index) => ({ text, isTitle: index === 1 }));
}

/** Gives everyone what they want if it is enough, else equal parts, where what one does not want goes to the others. */
function shareOut(available: number, wanted: readonly number[]): number[] {
  const given = wanted.map(() => 0);
  let left = Math.max(
    0,
    Math.min(
      available,
      wanted.reduce((sum, each) => sum + each, 0),
    ),
  );
  while (left > 0) {
    for (const [index, want] of wanted.entries()) {
      if (left === 0 || (given[index] ?? 0) >= want) continue;
      given[index] = (given[index] ?? 0) + 1;
      left--;
    }
  }
  return given;
}

function bar(part: number, whole: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, whole === 0 ? 0 : part / whole)) * BAR_LENGTH);
  return `[${'#'.repeat(filled)}${'.'.repeat(BAR_LENGTH - filled)}]`;
}
