import assert from 'node:assert/strict';
import { metadataOf } from '../../../test/support/action-world.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { digestOf } from '../../digest/hasher.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { createLog, type LogLevel } from '../../system/log.ts';
import { MissHistory } from './miss-history.ts';
import { type LookupOutcome, MissWatch } from './miss-watch.ts';

const KEY = { instance: parseInstanceName('main'), action: digestOf('sha256', Buffer.from('action')) };
const TARGET = metadataOf('//a', 'Link');

describe('MissWatch', () => {
  const open = (level: LogLevel) => {
    const history = new MissHistory(new FakeClock(), { maxActions: 10 });
    const outcomes: LookupOutcome[] = [];
    const lines: Record<string, unknown>[] = [];
    const log = createLog(level, { write: (line: string) => lines.push(JSON.parse(line)) });
    const watch = new MissWatch(history, { log, onLookup: (outcome) => outcomes.push(outcome) });
    return { history, outcomes, lines, watch };
  };

  it('counts hits, and misses by what the history knows', () => {
    const { watch, outcomes, lines } = open('info');
    watch.missed(KEY, { reason: 'absent' }, TARGET);
    watch.stored(KEY, TARGET);
    watch.found(KEY, TARGET);
    watch.removed(KEY);
    watch.missed(KEY, { reason: 'absent' }, TARGET);
    watch.notStored(KEY, { kind: 'timed-out' }, TARGET);
    watch.missed(KEY, { reason: 'absent' }, TARGET);
    watch.skipped(KEY, 'do-not-cache', TARGET);
    assert.deepEqual(outcomes, ['never-seen', 'hit', 'removed', 'not-cached', 'skipped']);
    assert.deepEqual(lines, []);
  });

  it('writes misses to the debug log, with target, mnemonic and reason', () => {
    const { watch, lines } = open('debug');
    watch.found(KEY, TARGET);
    watch.missed(KEY, { reason: 'absent' }, TARGET);
    watch.skipped(KEY, 'skip-cache-lookup', undefined);
    const [first, second] = lines.map(({ action, instance, target, mnemonic, missReason }) => [
      action,
      instance,
      target,
      mnemonic,
      missReason,
    ]);
    const action = `${KEY.action.hash}/6`;
    assert.deepEqual(first, [action, 'main', '//a', 'Link', 'lost']);
    assert.deepEqual(second, [action, 'main', undefined, undefined, 'skipped']);
    assert.equal(lines.length, 2);
  });
});
