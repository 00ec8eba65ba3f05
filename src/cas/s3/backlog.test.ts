import assert from 'node:assert/strict';
import { isKind } from '../../errors.ts';
import { Backlog } from './backlog.ts';

describe('Backlog', () => {
  it('takes up to its limit, refuses with a time to try again, and takes again when bytes were stored', () => {
    const backlog = new Backlog(100);
    backlog.take(60);
    backlog.take(40);
    assert.deepEqual([backlog.bytes, backlog.maxBytes, backlog.refusals], [100, 100, 0]);
    assert.throws(
      () => backlog.take(1),
      (error) => isKind(error, 'unavailable') && (error.facts.retryAfterMs ?? 0) > 0,
    );
    assert.deepEqual([backlog.bytes, backlog.refusals], [100, 1]);
    backlog.give(60);
    backlog.take(60);
    assert.deepEqual([backlog.bytes, backlog.refusals], [100, 1]);
  });

  it('lets through what is larger than the limit, but alone', () => {
    const backlog = new Backlog(100);
    backlog.take(1000);
    assert.equal(backlog.bytes, 1000);
    assert.throws(() => backlog.take(0), /1000 of at most 100 bytes/);
    backlog.give(1000);
    backlog.take(1);
    assert.throws(() => backlog.take(1000));
    assert.equal(backlog.bytes, 1);
  });

  it('counts what is there already, whatever the limit', () => {
    const backlog = new Backlog(100);
    backlog.add(500);
    assert.equal(backlog.bytes, 500);
    assert.throws(() => backlog.take(1));
  });
});
