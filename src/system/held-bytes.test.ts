import assert from 'node:assert/strict';
import fc from 'fast-check';
import { HeldBytes } from './held-bytes.ts';

describe('HeldBytes', () => {
  it('counts bytes until the retention time is over, to a 32nd of it', () => {
    const held = new HeldBytes(3200);
    held.add(10, 50);
    held.add(5, 1000);
    assert.equal(held.at(1000), 15);
    assert.equal(held.at(3249), 15);
    assert.equal(held.at(3350), 5);
    assert.equal(held.at(4300), 0);
  });

  it('moves bytes that were used again', () => {
    const held = new HeldBytes(1000);
    held.add(10, 0);
    held.remove(10, 0);
    held.add(10, 900);
    assert.equal(held.at(1500), 10);
  });

  it('holds nothing when nothing is promised', () => {
    const held = new HeldBytes(0);
    held.add(10, 5);
    assert.equal(held.at(5), 0);
  });

  it('law: never below a naive sum, nor above that of a retention longer by one step', () => {
    const step = fc.record({ file: fc.nat(5), bytes: fc.nat(100), passMs: fc.nat(400), agoMs: fc.nat(2000) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const held = new HeldBytes(960);
        const files = new Map<number, { bytes: number; touchedMs: number }>();
        const sumSince = (ms: number): number =>
          [...files.values()].reduce((sum, file) => sum + (file.touchedMs > ms ? file.bytes : 0), 0);
        let nowMs = 0;
        for (const { file, bytes, passMs, agoMs } of steps) {
          nowMs += passMs;
          const known = files.get(file);
          if (known) held.remove(known.bytes, known.touchedMs);
          files.set(file, { bytes, touchedMs: nowMs - agoMs });
          held.add(bytes, nowMs - agoMs);
          const answer = held.at(nowMs);
          assert.ok(answer >= sumSince(nowMs - 960));
          assert.ok(answer <= sumSince(nowMs - 960 - 30 - 1));
        }
      }),
    );
  });
});
