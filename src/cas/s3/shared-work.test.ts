import assert from 'node:assert/strict';
import fc from 'fast-check';
import { deferred, turns } from '../../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { SharedWork } from './shared-work.ts';

describe('SharedWork', () => {
  it('does work for one key once, for all who want it at the same time', async () => {
    const shared = new SharedWork<number>();
    const gate = deferred<number>();
    let runs = 0;
    const work = (): Promise<number> => {
      runs++;
      return gate.promise;
    };
    const calls = [1, 2, 3].map(() => shared.run('key', work, noAbort()));
    assert.equal(shared.size, 1);
    gate.resolve(7);
    assert.deepEqual(await Promise.all(calls), [7, 7, 7]);
    assert.equal(runs, 1);
    assert.equal(shared.size, 0);
  });

  it('does work for other keys, and once the first has ended, again', async () => {
    const shared = new SharedWork<string>();
    const runs: string[] = [];
    const work = (key: string) => () => {
      runs.push(key);
      return Promise.resolve(key);
    };
    const both = [shared.run('a', work('a'), noAbort()), shared.run('b', work('b'), noAbort())];
    assert.deepEqual(await Promise.all(both), ['a', 'b']);
    assert.equal(await shared.run('a', work('again'), noAbort()), 'again');
    assert.deepEqual(runs, ['a', 'b', 'again']);
  });

  it('fails for all callers as the work failed, also if it throws before its first await', async () => {
    const shared = new SharedWork<number>();
    const failing = (): Promise<number> => {
      throw new Error('the reason');
    };
    const calls = [shared.run('key', failing, noAbort()), shared.run('key', failing, noAbort())];
    for (const call of calls) await assert.rejects(call, /the reason/);
    assert.equal(shared.size, 0);
  });

  it('refuses a caller whose signal is aborted already, without beginning', async () => {
    const shared = new SharedWork<number>();
    await assert.rejects(
      shared.run('key', () => assert.fail('never runs'), AbortSignal.abort()),
      ofKind('cancelled'),
    );
    assert.equal(shared.size, 0);
  });

  it('lets one caller go at once and works on for the others', async () => {
    const shared = new SharedWork<number>();
    const gate = deferred<number>();
    const first = new AbortController();
    let workSignal: AbortSignal | undefined;
    const work = (signal: AbortSignal): Promise<number> => {
      workSignal = signal;
      return gate.promise;
    };
    const leaving = shared.run('key', work, first.signal);
    const staying = shared.run('key', () => assert.fail('joins'), noAbort());
    first.abort();
    await assert.rejects(leaving, ofKind('cancelled'));
    assert.equal(workSignal?.aborted, false);
    gate.resolve(3);
    assert.equal(await staying, 3);
  });

  it('aborts the work when the last caller has gone; who comes later starts anew and is left alone by its end', async () => {
    const shared = new SharedWork<string>();
    const [old, fresh] = [deferred<string>(), deferred<string>()];
    const aborts = [new AbortController(), new AbortController()];
    let workSignal: AbortSignal | undefined;
    const work = (signal: AbortSignal): Promise<string> => {
      workSignal = signal;
      return old.promise;
    };
    const leaving = aborts.map(({ signal }) => shared.run('key', work, signal));
    for (const abort of aborts) abort.abort();
    for (const call of leaving) await assert.rejects(call, ofKind('cancelled'));
    assert.equal(workSignal?.aborted, true);
    assert.equal(shared.size, 0);
    const late = shared.run('key', () => fresh.promise, noAbort());
    old.resolve('of the aborted one');
    await turns(1);
    assert.equal(shared.size, 1);
    const later = shared.run('key', () => assert.fail('joins'), noAbort());
    fresh.resolve('fresh');
    assert.deepEqual(await Promise.all([late, later]), ['fresh', 'fresh']);
  });

  it('hides the failure of work that was aborted: nobody waits for it', async () => {
    const shared = new SharedWork<string>();
    const abort = new AbortController();
    const work = (signal: AbortSignal): Promise<string> =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))));
    const call = shared.run('key', work, abort.signal);
    abort.abort();
    await assert.rejects(call, ofKind('cancelled'));
    await turns(1);
  });

  it('law: every caller gets the outcome or its own cancellation, and nothing is left', async () => {
    const caller = fc.record({ key: fc.constantFrom('a', 'b'), after: fc.nat(3), abortAfter: fc.option(fc.nat(3)) });
    await fc.assert(
      fc.asyncProperty(fc.array(caller, { maxLength: 12 }), fc.nat(3), async (callers, workTurns) => {
        const shared = new SharedWork<string>();
        const running = new Map<string, number>();
        const calls = callers.map(async ({ key, after, abortAfter }) => {
          const abort = new AbortController();
          await turns(after);
          if (abortAfter !== null) turns(abortAfter).then(() => abort.abort());
          return shared.run(key, (signal) => workOf(key, signal), abort.signal);
        });
        const workOf = async (key: string, signal: AbortSignal): Promise<string> => {
          running.set(key, (running.get(key) ?? 0) + 1);
          signal.addEventListener('abort', () => running.set(key, (running.get(key) ?? 0) - 1));
          assert.ok((running.get(key) ?? 0) <= 1);
          await turns(workTurns);
          if (!signal.aborted) running.set(key, (running.get(key) ?? 0) - 1);
          return key;
        };
        for (const [index, result] of (await Promise.allSettled(calls)).entries()) {
          if (result.status === 'fulfilled') assert.equal(result.value, callers[index]?.key);
          else
            assert.ok(ofKind('cancelled')(result.reason) && callers[index]?.abortAfter !== null, String(result.reason));
        }
        assert.equal(shared.size, 0);
      }),
    );
  });
});
