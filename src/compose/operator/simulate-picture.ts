import type { PoolReport, SimulationReport } from '../../execution/trace/simulation-report.ts';
import { readableDuration, readableShare } from './readable.ts';
import { offerWords } from './simulate-words.ts';

const WIDTH = 960;
const LEFT = 64;
const RIGHT = 64;
const TOP = 72;
/** Of a lane: its title, its drawing, and what is between it and the next. */
const [TITLE, DRAWING, GAP] = [20, 96, 28];
const TICKS = 6;

/** Lanes that are drawn; those with most slots come first. */
const MAX_LANES = 24;

/** Colours for light and for dark surroundings; each differs from the others in lightness too. */
const STYLE = `
  svg { font: 12px system-ui, sans-serif; color-scheme: light dark; }
  .paper { fill: #ffffff } .ink { fill: #1f2328 } .soft { fill: #59636e } .rule { stroke: #d1d9e0 }
  .slots { fill: #dbe4ee } .busy { fill: #3b74b9 } .queued { stroke: #b35900; fill: none; stroke-width: 1.5 }
  .queued-ink { fill: #b35900 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117 } .ink { fill: #f0f6fc } .soft { fill: #9198a1 } .rule { stroke: #3d444d }
    .slots { fill: #26313d } .busy { fill: #5b9bea } .queued { stroke: #f0a04b } .queued-ink { fill: #f0a04b }
  }`;

/** Where things are drawn. */
interface Frame {
  readonly endMs: number;
  readonly bins: number;
}

/**
 * A picture of a simulation as SVG: a lane for each pool, with its slots and how many of them were busy to the left-hand scale, and how
 * many actions waited that could have run there to the right-hand scale. It says in words what it shows, for who cannot see it.
 */
export function simulationPicture(report: SimulationReport, title: string): string {
  const pools = report.pools.toSorted((a, b) => b.maxSlots - a.maxSlots).slice(0, MAX_LANES);
  const bins = pools[0]?.lanes.slots.length ?? 1;
  const frame = { endMs: report.binMs * bins, bins };
  const height = TOP + pools.length * (TITLE + DRAWING + GAP) + GAP;
  const lanes = pools.map((pool, index) => lane(pool, TOP + index * (TITLE + DRAWING + GAP), frame));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title description">`,
    `<title id="title">${escaped(title)}</title>`,
    `<desc id="description">${escaped(description(report, pools))}</desc>`,
    `<style>${STYLE}\n</style>`,
    `<rect class="paper" width="${WIDTH}" height="${height}"/>`,
    `<text class="ink" x="${LEFT}" y="28" font-size="16">${escaped(title)}</text>`,
    legend(),
    ...lanes,
    '</svg>\n',
  ].join('\n');
}

function description(report: SimulationReport, pools: readonly PoolReport[]): string {
  const lanes = pools.map(
    (pool) =>
      `${offerWords(pool)}: up to ${pool.maxSlots} slots, ${readableShare(pool.utilisation, 1)} used, up to ${pool.maxQueued} actions waiting.`,
  );
  return `${report.actions} actions took ${readableDuration(report.makespanMs / 1000)}. ${lanes.join(' ')}`;
}

function legend(): string {
  const entries = [
    ['slots', 'slots'],
    ['busy', 'busy'],
    ['queued-ink', 'waiting (right-hand scale)'],
  ];
  return entries
    .map(([look, words], index) => {
      const x = LEFT + index * 90;
      return `<rect class="${look}" x="${x}" y="42" width="12" height="12"/><text class="soft" x="${x + 18}" y="52">${words}</text>`;
    })
    .join('');
}

function lane(pool: PoolReport, top: number, frame: Frame): string {
  const { slots, busy, queued } = pool.lanes;
  const [floor, ceiling] = [top + TITLE + DRAWING, top + TITLE];
  const mostSlots = Math.max(1, pool.maxSlots);
  const mostQueued = Math.max(1, pool.maxQueued);
  const area = (values: readonly number[]): string =>
    `M${LEFT},${floor}${steps(values, mostSlots, floor, frame)}V${floor}Z`;
  const line = steps(queued, mostQueued, floor, frame).replace(/^V([\d.]+)/, `M${LEFT},$1`);
  return [
    `<text class="ink" x="${LEFT}" y="${top + 12}">${escaped(offerWords(pool))}</text>`,
    `<path class="slots" d="${area(slots)}"/>`,
    `<path class="busy" d="${area(busy)}"/>`,
    `<path class="queued" d="${line}"/>`,
    `<path class="rule" d="M${LEFT},${floor}H${WIDTH - RIGHT}"/>`,
    `<text class="soft" x="${LEFT - 8}" y="${ceiling + 10}" text-anchor="end">${pool.maxSlots}</text>`,
    `<text class="queued-ink" x="${WIDTH - RIGHT + 8}" y="${ceiling + 10}">${pool.maxQueued}</text>`,
    ...ticks(floor, frame),
  ].join('\n');
}

/** The upper edge of a step for each bin. */
function steps(values: readonly number[], most: number, floor: number, { bins }: Frame): string {
  const binWidth = (WIDTH - LEFT - RIGHT) / bins;
  return values
    .map((value, bin) => {
      const y = floor - (Math.min(value, most) / most) * DRAWING;
      return `V${rounded(y)}H${rounded(LEFT + (bin + 1) * binWidth)}`;
    })
    .join('');
}

function ticks(floor: number, { endMs }: Frame): readonly string[] {
  return Array.from({ length: TICKS + 1 }, (_, index) => {
    const share = index / TICKS;
    const anchor = index === 0 ? 'start' : index === TICKS ? 'end' : 'middle';
    const x = rounded(LEFT + share * (WIDTH - LEFT - RIGHT));
    const words = readableDuration((share * endMs) / 1000);
    return `<text class="soft" x="${x}" y="${floor + 14}" text-anchor="${anchor}">${words}</text>`;
  });
}

function rounded(value: number): string {
  return String(Math.round(value * 10) / 10);
}

/** Text in XML: what XML has a meaning for is escaped, and what it does not allow is replaced. */
function escaped(text: string): string {
  return text
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd]/gu, (char) => (char > '\uffff' ? char : '\ufffd'))
    .replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}
