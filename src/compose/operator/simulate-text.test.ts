import assert from 'node:assert/strict';
import { parseInstanceName } from '../../digest/instance-name.ts';
import type { InvocationReport, SimulationReport } from '../../execution/trace/simulation-report.ts';
import { simulationText } from './simulate-text.ts';

const WAIT = { meanMs: 1234, p50Ms: 0, p95Ms: 65_000, maxMs: 7_200_000 };

const SUBJECT = {
  startedAt: '2026-11-21T10:00:00.000Z',
  policy: 'fair',
  fleet: '4 workers',
  isTruncated: false,
  isPartial: false,
};

function invocation(number: number): InvocationReport {
  const id = number === 0 ? 'evil\x1b[2J' : number === 1 ? '' : `build-${number}-${'x'.repeat(60)}`;
  return { id, actions: 100 - number, firstMs: 1000, finishedMs: 91_000, wait: WAIT, longestUnservedMs: 500 };
}

function report(changes: Partial<SimulationReport> = {}): SimulationReport {
  const offer = {
    alternatives: [{ properties: [{ name: 'ISA', values: ['a', 'b'] }] }, { properties: [] }],
    digestFunctions: [],
    legacyOutputs: true,
    sizeClass: 3,
  };
  const lanes = { slots: [4], busy: [2], queued: [0] };
  return {
    ...{ makespanMs: 90_000, actions: 1234, failed: 0, cancelled: 0, unfinished: 0, attempts: 1240, retries: 6 },
    ...{ wait: WAIT, invocations: [invocation(2)], binMs: 1 },
    pools: [{ offer, prefix: parseInstanceName('main'), maxSlots: 4, maxQueued: 1500, utilisation: 0.5, lanes }],
    ...changes,
  };
}

const linesOf = (text: string): readonly string[] => text.split('\n');

describe('simulationText', () => {
  it('says what was simulated and what came of it', () => {
    assert.deepEqual(linesOf(simulationText(report(), SUBJECT)).slice(0, 7), [
      'trace     of 2026-11-21T10:00:00.000Z',
      'fleet     4 workers',
      'policy    fair',
      'makespan  1 min 30 s',
      'actions   1,234',
      'attempts  1,240, 6 of them not the first',
      'wait      mean 1.2 s, median 0.0 s, p95 1 min 5 s, most 2 h 0 min',
    ]);
  });

  it('counts what went wrong, and only that', () => {
    const text = simulationText(report({ failed: 2, unfinished: 1 }), { ...SUBJECT, isTruncated: true });
    assert.match(text, /^actions {3}1,234, 2 failed, 1 never ended: no worker could run them/m);
    assert.match(text, /^trace .*; its last record is cut off$/m);
    assert.doesNotMatch(text, /cancelled/);
    const partial = simulationText(report(), { ...SUBJECT, isPartial: true });
    assert.match(partial, /^trace .*; its beginning alone, as it has more actions than can be played$/m);
  });

  it('names pools by what they offer', () => {
    const [head, row] = linesOf(simulationText(report(), SUBJECT)).slice(8);
    assert.equal(head, 'SLOTS    USED  MOST QUEUED  POOL');
    assert.equal(row, '    4  50.0 %        1,500  ISA=a+b or no properties, size class 3, for main');
  });

  it('lists the largest invocations, shortens their names, and says how many there are besides', () => {
    const invocations = Array.from({ length: 23 }, (_, index) => invocation(22 - index));
    const lines = linesOf(simulationText(report({ invocations }), SUBJECT));
    const table = lines.slice(lines.findIndex((line) => line.startsWith('ACTIONS')));
    assert.equal(table.length, 1 + 20 + 1 + 1);
    assert.match(table[1] ?? '', /^ {4}100 .* 0\.5 s {2}evil\\x1b\[2J$/);
    assert.match(table[2] ?? '', / of nobody$/);
    assert.match(table[3] ?? '', / build-2-x{31}…$/);
    assert.equal(table[21], 'and 3 smaller invocations');
  });
});
