import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { isKind } from '../../errors.ts';
import { Demand } from './demand.ts';

describe('Demand', () => {
  const never = new AbortController().signal;

  it('begins with the first lease that waits and ends with the last', async () => {
    const demand = new Demand();
    const [one, two] = [Promise.withResolvers<number>(), Promise.withResolvers<number>()];
    const begins = demand.begins;
    assert.equal(begins.aborted, false);
    const first = demand.during(() => one.promise);
    const second = demand.during(() => two.promise);
    assert.equal(begins.aborted, true);
    let isQuiet = false;
    const quiet = demand.quiet(never).then(() => {
      isQuiet = true;
    });
    one.resolve(1);
    assert.equal(await first, 1);
    await nextTurn();
    assert.equal(isQuiet, false);
    assert.equal(demand.begins.aborted, true);
    two.resolve(2);
    await second;
    await quiet;
    assert.equal(demand.begins.aborted, false);
  });

  it('ends with work that fails as well', async () => {
    const demand = new Demand();
    await assert.rejects(demand.during(() => Promise.reject(new Error('broken'))));
    await demand.quiet(never);
  });

  it('waits again when a lease came in between', async () => {
    const demand = new Demand();
    const one = Promise.withResolvers<void>();
    const two = Promise.withResolvers<void>();
    const first = demand.during(() => one.promise);
    let isQuiet = false;
    const quiet = demand.quiet(never).then(() => {
      isQuiet = true;
    });
    one.resolve();
    const second = first.then(() => demand.during(() => two.promise));
    await nextTurn();
    two.resolve();
    await second;
    await quiet;
    assert.ok(isQuiet);
  });

  it('can be waited for no longer', async () => {
    const demand = new Demand();
    const end = Promise.withResolvers<void>();
    const busy = demand.during(() => end.promise);
    const abort = new AbortController();
    const quiet = assert.rejects(demand.quiet(abort.signal), (error) => isKind(error, 'cancelled'));
    abort.abort();
    await quiet;
    end.resolve();
    await busy;
  });
});
