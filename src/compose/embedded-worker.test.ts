import assert from 'node:assert/strict';
import { join } from 'node:path';
import { noAbort } from '../../test/support/expectations.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createLog } from '../system/log.ts';
import { EmbeddedWorker } from './embedded-worker.ts';

const MAIN = join(import.meta.dirname, '../../test/support/fake-worker.ts');

/** A supervisor whose time is the test's, of a worker that does what the words say (see `fake-worker.ts`). */
class World {
  readonly clock = new FakeClock();
  readonly worker: EmbeddedWorker;
  readonly #lines: Readonly<Record<string, unknown>>[] = [];
  #onLine = (): void => undefined;

  constructor(words: readonly string[], environment: Readonly<Record<string, string>> = {}) {
    const log = createLog('warn', {
      write: (line) => {
        this.#lines.push(JSON.parse(line));
        this.#onLine();
      },
    });
    const random = { fraction: () => 0.5, token: () => '', uuid: () => '' };
    this.worker = new EmbeddedWorker(
      { clock: this.clock, random, log },
      { main: MAIN, arguments: words, environment: { PATH: process.env['PATH'] ?? '', ...environment } },
    );
  }

  /** The next line of the log that has not been taken. */
  async logged(): Promise<Readonly<Record<string, unknown>>> {
    while (this.#lines.length === 0) {
      await new Promise<void>((resolve) => {
        this.#onLine = resolve;
      });
    }
    return this.#lines.shift() ?? {};
  }
}

describe('EmbeddedWorker', () => {
  let world: World;

  afterEach(async () => {
    world.worker.kill();
    await world.worker.stop(0);
    assert.equal(world.clock.armed, 0);
  });

  it('is ready when its worker says so, and stops it in order', async () => {
    world = new World(['ready', 'stay']);
    assert.equal(world.worker.isReady, false);
    const { slots, properties } = await world.worker.start(noAbort());
    assert.deepEqual([slots, properties], [2, [{ name: 'OSFamily', value: 'linux' }]]);
    assert.equal(world.worker.isReady, true);
    await world.worker.stop(30_000);
    assert.deepEqual([world.worker.isReady, world.worker.restarts], [false, 0]);
  });

  it('starts a worker that ends again, after pauses that double up to a limit', async () => {
    world = new World(['exit-3']);
    const never = world.worker.start(noAbort());
    const pauses: unknown[] = [];
    for (let count = 1; count <= 3; count++) {
      const { how, pauseMs } = await world.logged();
      assert.equal(how, 'exit code 3');
      assert.equal(world.worker.restarts, count);
      pauses.push(pauseMs);
      assert.equal(world.clock.armed, 1);
      if (count < 3) world.clock.advance(Number(pauseMs));
    }
    assert.deepEqual(pauses, [200, 400, 800]);
    assert.equal(world.worker.isReady, false);
    assert.equal(await Promise.race([never, 'pending']), 'pending');
  });

  it('does not count a worker that has died as ready while the next one is to come', async () => {
    world = new World(['ready', 'exit-0']);
    await world.worker.start(noAbort());
    await world.logged();
    assert.equal(world.worker.isReady, false);
  });

  it('takes a machine that refuses the start for a worker that ended', async () => {
    // More than any system takes: Node throws it, and reports others as an event.
    world = new World(['ready', 'stay'], { TOO_LONG: 'x'.repeat(4 * 1024 * 1024) });
    world.worker.start(noAbort());
    const { how } = await world.logged();
    assert.match(String(how), /^could not be started: .*E2BIG/);
    assert.equal(world.clock.armed, 1);
  });

  it('gives up a start when it is told to', async () => {
    world = new World(['stay']);
    const abort = new AbortController();
    const started = world.worker.start(abort.signal);
    abort.abort(new Error('too late'));
    await assert.rejects(started, /too late/);
  });

  it('kills a worker that does not stop within the grace, and says so', async () => {
    world = new World(['deaf', 'ready', 'stay']);
    await world.worker.start(noAbort());
    const stopped = world.worker.stop(5_000);
    world.clock.advance(4_999);
    assert.equal(world.worker.isReady, true);
    world.clock.advance(1);
    await stopped;
    assert.deepEqual([world.worker.isReady, world.worker.restarts], [false, 0]);
    assert.match(String((await world.logged())['msg']), /did not stop in time/);
  });
});
