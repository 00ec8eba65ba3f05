import assert from 'node:assert/strict';
import { type Platform, TraceBuilder } from '../../../test/simulation/traces/trace-builder.ts';
import { isKind } from '../../errors.ts';
import { evenFleet } from './replay-fleet.ts';

/** Three Linux workers with 4 slots, of which only two are there at a time, and one Windows worker with 2. */
function recorded() {
  const builder = new TraceBuilder();
  const linux: Platform = ['linux'];
  builder.worker('l1', 4, linux);
  builder.worker('l2', 4, linux);
  builder.workerLost('l2', 4, 500);
  builder.worker('l3', 4, linux, 600);
  builder.worker('w1', 2, ['windows']);
  return builder.build();
}

const countByOs = (workers: number, slotsPerWorker?: number) => {
  const counts: Record<string, number> = {};
  for (const change of evenFleet(recorded(), { workers, ...(slotsPerWorker && { slotsPerWorker }) })) {
    const os = change.type === 'there' ? (change.offer.alternatives[0]?.properties[0]?.values[0] ?? '') : 'left';
    counts[os] = (counts[os] ?? 0) + 1;
  }
  return counts;
};

describe('evenFleet', () => {
  it('keeps the proportion of the recorded offers, and the slots of their workers', () => {
    assert.deepEqual(countByOs(6), { linux: 16, windows: 4 });
    assert.deepEqual(countByOs(6, 1), { linux: 4, windows: 2 });
  });

  it('has one worker of each offer before it has two of another', () => {
    assert.deepEqual(countByOs(2), { linux: 4, windows: 2 });
  });

  it('is there from the start, each worker a node of its own', () => {
    const fleet = evenFleet(recorded(), { workers: 3 });
    assert.ok(fleet.every(({ atMs, type }) => atMs === 0 && type === 'there'));
    assert.equal(new Set(fleet.map(({ slot }) => slot)).size, fleet.length);
    assert.equal(new Set(fleet.map((change) => change.type === 'there' && change.node)).size, 3);
  });

  it('only gains workers as it grows', () => {
    for (let workers = 1; workers < 12; workers++) {
      const [small, large] = [evenFleet(recorded(), { workers }), evenFleet(recorded(), { workers: workers + 1 })];
      assert.deepEqual(large.slice(0, small.length), small);
    }
  });

  it('refuses a trace without workers, and a fleet without end', () => {
    const isWrong = (error: unknown) => isKind(error, 'invalid-argument');
    assert.throws(() => evenFleet(new TraceBuilder().build(), { workers: 1 }), isWrong);
    assert.throws(() => evenFleet(recorded(), { workers: 100_000, slotsPerWorker: 100_000 }), isWrong);
  });
});
