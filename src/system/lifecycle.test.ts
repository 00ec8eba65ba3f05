import assert from 'node:assert/strict';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { BugError } from '../errors.ts';
import { Lifecycle } from './lifecycle.ts';

describe('Lifecycle', () => {
  let clock: FakeClock;
  let lifecycle: Lifecycle;
  const stopped: string[] = [];

  beforeEach(() => {
    clock = new FakeClock();
    lifecycle = new Lifecycle(clock);
    stopped.length = 0;
  });

  const add = (name: string, close: (graceMs: number) => Promise<void> = async () => undefined): void =>
    lifecycle.add(name, async (graceMs) => {
      stopped.push(`${name} ${graceMs}`);
      await close(graceMs);
    });

  it('stops what was started last first, one after the other', async () => {
    const server = Promise.withResolvers<void>();
    add('store');
    add('server', () => server.promise);
    const end = lifecycle.stop(1000);
    assert.deepEqual(stopped, ['server 1000']);
    server.resolve();
    assert.deepEqual(await end, []);
    assert.deepEqual(stopped, ['server 1000', 'store 1000']);
  });

  it('gives the next part only what is left of the time', async () => {
    add('store');
    add('cache', async () => clock.advance(900));
    add('server', async () => clock.advance(400));
    assert.deepEqual(await lifecycle.stop(1000), []);
    assert.deepEqual(stopped, ['server 1000', 'cache 600', 'store 0']);
  });

  it('collects failures and stops the rest', async () => {
    const cause = new Error('the disk is gone');
    add('store', () => Promise.reject(cause));
    lifecycle.add('throws at once', () => {
      throw new Error('at once');
    });
    add('server');
    const errors = await lifecycle.stop(0);
    assert.deepEqual(
      errors.map((error) => error.message),
      ['stopping throws at once: at once', 'stopping store: the disk is gone'],
    );
    assert.equal(errors[1]?.cause, cause);
    assert.equal(stopped.length, 2);
  });

  it('gives up a part that does not end, some time after its grace', async () => {
    add('store');
    add('server', () => new Promise(() => undefined));
    const end = lifecycle.stop(1000);
    clock.advance(5999);
    assert.equal(stopped.length, 1);
    clock.advance(1);
    assert.deepEqual(
      (await end).map((error) => error.message),
      ['stopping server: did not end within 6000 ms'],
    );
    assert.deepEqual(stopped, ['server 1000', 'store 0']);
  });

  it('leaves no timer behind', async () => {
    add('store');
    await lifecycle.stop(1000);
    assert.equal(clock.armed, 0);
  });

  it('stops once, however often it is asked', async () => {
    add('store');
    assert.equal(lifecycle.stop(1), lifecycle.stop(2));
    await lifecycle.stop(3);
    assert.equal(stopped.length, 1);
  });

  it('refuses parts that are started while it stops', async () => {
    await lifecycle.stop(0);
    assert.throws(() => add('late'), BugError);
  });
});
