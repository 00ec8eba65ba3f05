import assert from 'node:assert/strict';
import fc from 'fast-check';
import { LevelMeter } from './level-meter.ts';

const sum = (values: readonly number[]): number => values.reduce((total, each) => total + each, 0);

describe('LevelMeter', () => {
  it('gives means by bin', () => {
    const meter = new LevelMeter();
    meter.add(2, 0);
    meter.add(2, 1000);
    meter.add(-4, 1500);
    assert.deepEqual(meter.means(2000, 4), [2, 2, 4, 0]);
    assert.deepEqual([meter.level, meter.most], [0, 4]);
  });

  it('begins anew with the level it has', () => {
    const meter = new LevelMeter();
    meter.add(5, 0);
    meter.add(-3, 3_600_000);
    meter.restart(7_200_050);
    assert.equal(meter.most, 2);
    meter.add(2, 7_200_250);
    assert.deepEqual(meter.means(7_200_450, 4), [2, 2, 4, 4]);
    assert.equal(meter.most, 4);
  });

  it('law: keeps level times time, however long it goes on', () => {
    const step = fc.tuple(fc.nat({ max: 5 }), fc.integer({ min: 1, max: 3_000_000 }));
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), fc.integer({ min: 1, max: 300 }), (steps, bins) => {
        const meter = new LevelMeter();
        let [nowMs, total] = [0, 0];
        for (const [level, lastsMs] of steps) {
          meter.add(level - meter.level, nowMs);
          nowMs += lastsMs;
          total += level * lastsMs;
        }
        const means = meter.means(nowMs, bins);
        assert.equal(means.length, bins);
        assert.ok(Math.abs(sum(means) * (nowMs / bins) - total) <= 1e-6 * Math.max(1, total));
        assert.ok(means.every((mean) => mean >= 0 && mean <= meter.most + 1e-9));
      }),
    );
  });
});
