import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ReplayTimeline } from './replay-timeline.ts';

describe('ReplayTimeline', () => {
  it('law: things happen in the order of their times, and of their planning where those are equal', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 20 }), { maxLength: 60 }), (times) => {
        const timeline = new ReplayTimeline();
        const happened: (readonly [number, number])[] = [];
        for (const [order, atMs] of times.entries()) timeline.at(atMs, () => happened.push([timeline.nowMs, order]));
        while (timeline.step(20));
        assert.deepEqual(
          happened,
          times.map((atMs, order) => [atMs, order] as const).toSorted((a, b) => a[0] - b[0] || a[1] - b[1]),
        );
      }),
    );
  });

  it('lets what is planned for a time that is over happen now, after what was planned before', () => {
    const timeline = new ReplayTimeline();
    const happened: string[] = [];
    timeline.at(10, () => timeline.at(3, () => happened.push(`late at ${timeline.nowMs}`)));
    timeline.at(10, () => happened.push('before'));
    while (timeline.step(100));
    assert.deepEqual(happened, ['before', 'late at 10']);
  });

  it('stops in front of the end', () => {
    const timeline = new ReplayTimeline();
    timeline.at(5, () => undefined);
    assert.deepEqual([timeline.step(4), timeline.step(5), timeline.step(6)], [false, true, false]);
    assert.equal(timeline.nowMs, 5);
  });
});
