import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ofKind } from '../../../test/support/expectations.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { RequestMetadata } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { DurationHistory as Snapshot } from '../../gen/gantry/v1/duration_history.ts';
import { DurationHistory } from './duration-history.ts';
import { encodeHistory, restoreHistory } from './history-snapshot.ts';

const key = { instance: parseInstanceName('main'), commandHash: '' };
const about = (targetId: string) => RequestMetadata.fromPartial({ actionMnemonic: 'A', targetId });
const WIDE = 1_000_000;

function historyOf(targets: readonly string[]): DurationHistory {
  const history = new DurationHistory({ maxActions: 1_000 });
  targets.forEach((target, at) => {
    history.learn(about(target), key, { ranMs: 100 * (at + 1), sizeClass: 0, verdict: 'success' });
  });
  return history;
}

function restored(bytes: Uint8Array, maxActions = 1_000): DurationHistory {
  const history = new DurationHistory({ maxActions });
  restoreHistory(history, bytes);
  return history;
}

describe('snapshots of the history', () => {
  it('bring back what was known', () => {
    const history = historyOf(['//a', '//b']);
    history.learn(about('//b'), key, { sizeClass: 3, verdict: 'exhausted' });
    const again = restored(encodeHistory(history, WIDE));
    assert.equal(again.size, 3);
    assert.deepEqual(again.expect(about('//a'), key), { expectedMs: 100 });
    assert.deepEqual(again.expect(about('//b'), key), { expectedMs: 200, sizeClass: 4 });
    assert.deepEqual(restored(encodeHistory(historyOf([]), WIDE)).size, 0);
  });

  it('keep what was used last if not all of it fits, in the snapshot or in the history', () => {
    const targets = Array.from({ length: 100 }, (_, at) => `//t:${at}`);
    const history = historyOf(targets);
    const bytes = encodeHistory(history, 1_000);
    assert.ok(bytes.length <= 1_000);
    const few = restored(bytes);
    assert.ok(few.size > 20);
    assert.equal(few.expect(about('//t:99'), key).expectedMs, 10_000);
    const small = restored(encodeHistory(history, WIDE), 5);
    assert.equal(small.size, 5);
    assert.equal(small.expect(about('//t:99'), key).expectedMs, 10_000);
  });

  it('do not replace what was learned since the start', () => {
    const history = new DurationHistory({ maxActions: 10 });
    history.learn(about('//a'), key, { ranMs: 7, sizeClass: 0, verdict: 'success' });
    restoreHistory(history, encodeHistory(historyOf(['//a']), WIDE));
    assert.equal(history.expect(about('//a'), key).expectedMs, 7);
  });

  it('are refused when they are damaged', () => {
    const { rows } = Snapshot.decode(encodeHistory(historyOf(['//a']), WIDE));
    const withMean = (mean: number): Uint8Array => {
      const changed = Buffer.from(rows);
      changed.writeFloatLE(mean, 16);
      return changed;
    };
    for (const bytes of [rows.subarray(1), withMean(Number.NaN), withMean(-1)]) {
      assert.throws(() => restored(Snapshot.encode({ rows: bytes }).finish()), ofKind('undecodable'));
    }
    assert.throws(() => restored(Uint8Array.of(0xff)), ofKind('undecodable'));
  });

  it('have a layout that does not change', () => {
    const { rows } = Snapshot.decode(encodeHistory(historyOf(['//a']), WIDE));
    const row = Buffer.from(rows).subarray(0, 36).toString('hex');
    assert.equal(row, 'f30d68ce2c7701e1255720a5764332850000c8428e5d9340000000000100000000000000');
  });

  it('law: are never larger than they may be', () => {
    fc.assert(
      fc.property(fc.integer({ min: 8, max: 5_000 }), fc.nat(80), (maxBytes, count) => {
        const history = historyOf(Array.from({ length: count }, (_, at) => `//t:${at}`));
        for (let run = 0; run < 200; run++) {
          history.learn(about('//t:0'), key, { ranMs: 1, sizeClass: 2 ** 31, verdict: 'exhausted' });
        }
        assert.ok(encodeHistory(history, maxBytes).length <= maxBytes);
      }),
      { numRuns: 30 },
    );
  });
});
