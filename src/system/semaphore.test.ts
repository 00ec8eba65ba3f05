import assert from 'node:assert/strict';
import fc from 'fast-check';
import { deferred, turns } from '../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { Semaphore } from './semaphore.ts';

describe('Semaphore', () => {
  it('returns what the function returns, and throws what it throws', async () => {
    const semaphore = new Semaphore(1);
    assert.equal(await semaphore.run(noAbort(), () => Promise.resolve(7)), 7);
    await assert.rejects(
      semaphore.run(noAbort(), () => Promise.reject(new Error('inside'))),
      /inside/,
    );
    assert.equal(await semaphore.run(noAbort(), () => Promise.resolve(8)), 8);
  });

  it('gives the permit back when the function throws before its first await', async () => {
    const semaphore = new Semaphore(1, 0);
    const throwing = (): Promise<void> => {
      throw new Error('at once');
    };
    await assert.rejects(semaphore.run(noAbort(), throwing), /at once/);
    await semaphore.run(noAbort(), () => Promise.resolve());
  });

  it('serves waiters in the order of their arrival', async () => {
    const semaphore = new Semaphore(1);
    const gate = deferred();
    const order: number[] = [];
    const runs = [0, 1, 2, 3].map((id) =>
      semaphore.run(noAbort(), async () => {
        order.push(id);
        await gate.promise;
      }),
    );
    await turns(1);
    assert.deepEqual(order, [0]);
    gate.resolve();
    await Promise.all(runs);
    assert.deepEqual(order, [0, 1, 2, 3]);
  });

  it('turns a caller away with unavailable when too many wait', async () => {
    const semaphore = new Semaphore(1, 1);
    const gate = deferred();
    const first = semaphore.run(noAbort(), () => gate.promise);
    const second = semaphore.run(noAbort(), () => gate.promise);
    await assert.rejects(
      semaphore.run(noAbort(), () => gate.promise),
      ofKind('unavailable'),
    );
    gate.resolve();
    await Promise.all([first, second]);
  });

  it('lets a waiter go when its signal aborts, and passes it over', async () => {
    const semaphore = new Semaphore(1, 1);
    const gate = deferred();
    const abort = new AbortController();
    const first = semaphore.run(noAbort(), () => gate.promise);
    const second = semaphore.run(abort.signal, () => assert.fail('never runs'));
    abort.abort();
    await assert.rejects(second, ofKind('cancelled'));
    const third = semaphore.run(noAbort(), () => Promise.resolve('third'));
    gate.resolve();
    await first;
    assert.equal(await third, 'third');
  });

  it('refuses a caller whose signal is aborted already, without taking a permit', async () => {
    const semaphore = new Semaphore(1, 0);
    await assert.rejects(
      semaphore.run(AbortSignal.abort(), () => assert.fail('never runs')),
      ofKind('cancelled'),
    );
    await semaphore.run(noAbort(), () => Promise.resolve());
  });

  it('leaves a running function alone when its signal aborts', async () => {
    const semaphore = new Semaphore(1);
    const abort = new AbortController();
    const gate = deferred<string>();
    const run = semaphore.run(abort.signal, () => gate.promise);
    await turns(1);
    abort.abort();
    gate.resolve('finished');
    assert.equal(await run, 'finished');
  });

  it('law: never runs more than it has permits for, and runs everyone that was not aborted', async () => {
    const caller = fc.record({ turns: fc.nat(3), abortAfter: fc.option(fc.nat(3), { nil: undefined }) });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.array(caller, { maxLength: 10 }),
        async (permits, callers) => {
          const semaphore = new Semaphore(permits);
          let running = 0;
          const results = await Promise.allSettled(
            callers.map(async (each) => {
              const abort = new AbortController();
              if (each.abortAfter !== undefined) turns(each.abortAfter).then(() => abort.abort());
              await semaphore.run(abort.signal, async () => {
                running++;
                assert.ok(running <= permits);
                await turns(each.turns);
                running--;
              });
            }),
          );
          results.forEach((result, index) => {
            if (result.status === 'fulfilled') return;
            assert.ok(ofKind('cancelled')(result.reason), String(result.reason));
            assert.notEqual(callers[index]?.abortAfter, undefined);
          });
          assert.equal(running, 0);
          await semaphore.run(noAbort(), () => Promise.resolve());
        },
      ),
    );
  });
});
