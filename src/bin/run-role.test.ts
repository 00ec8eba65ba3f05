import assert from 'node:assert/strict';
import type { RunningRole } from '../compose/roles.ts';
import { type RunOptions, runRole, type Surroundings, untilStopped } from './run-role.ts';

const options: RunOptions = { hostName: 'h', isReadOnly: false, graceMs: 7000 };

/** A role and a process that do what a test tells them, and remember what was asked of them. */
class World {
  readonly calls: string[] = [];
  readonly done = Promise.withResolvers<Error | undefined>();
  readonly started = Promise.withResolvers<void>();
  readonly stopped = Promise.withResolvers<void>();
  notifyProblem: string | undefined;
  /** Given to the start. */
  told: AbortSignal | undefined;
  #handlers = new Set<() => void>();

  readonly role: RunningRole = {
    ready: { dataFolder: '/d', notes: [] },
    done: this.done.promise,
    stop: async (graceMs) => {
      this.calls.push(`stop ${graceMs}`);
      await this.stopped.promise;
    },
    force: () => {
      this.calls.push('force');
      this.stopped.resolve();
    },
  };

  readonly surroundings: Surroundings = {
    out: (text) => this.calls.push(`out ${text.trimEnd().split('\n').at(-1)}`),
    err: (text) => this.calls.push(`err ${text.trim()}`),
    onStopSignal: (handler) => {
      this.#handlers.add(handler);
      return () => this.#handlers.delete(handler);
    },
    notify: async (state) => {
      this.calls.push(state);
      return this.notifyProblem;
    },
  };

  run(): Promise<number> {
    const start = async (signal: AbortSignal): Promise<RunningRole> => {
      this.told = signal;
      await this.started.promise;
      return this.role;
    };
    return runRole(start, this.surroundings, options);
  }

  signal(): void {
    for (const handler of this.#handlers) handler();
  }

  get handlers(): number {
    return this.#handlers.size;
  }

  /** Lets everything that does not wait for the test happen. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  }
}

describe('runRole', () => {
  let world: World;

  beforeEach(() => {
    world = new World();
  });

  it('announces a role once it runs', async () => {
    const code = world.run();
    await world.settle();
    assert.deepEqual(world.calls, []);
    world.started.resolve();
    await world.settle();
    assert.deepEqual(world.calls, ['out READY data=/d', 'READY=1']);
    world.done.resolve(undefined);
    world.stopped.resolve();
    assert.equal(await code, 0);
  });

  it('stops gracefully at the first signal, and takes its handlers back', async () => {
    world.started.resolve();
    const code = world.run();
    await world.settle();
    world.signal();
    await world.settle();
    assert.deepEqual(world.calls.slice(2), ['STOPPING=1', 'stop 7000']);
    world.stopped.resolve();
    assert.equal(await code, 0);
    assert.equal(world.handlers, 0);
  });

  it('aborts what is left at the second signal, with a failure as exit code', async () => {
    world.started.resolve();
    const code = world.run();
    await world.settle();
    world.signal();
    await world.settle();
    world.signal();
    assert.equal(await code, 1);
    assert.equal(world.calls.at(-1), 'force');
  });

  it('lets a start end before it stops, without announcing it', async () => {
    const code = world.run();
    world.signal();
    world.started.resolve();
    world.stopped.resolve();
    assert.equal(await code, 0);
    assert.deepEqual(world.calls, ['STOPPING=1', 'stop 7000']);
  });

  it('tells a start at the first signal, and succeeds if that gives up', async () => {
    const code = world.run();
    assert.equal(world.told?.aborted, false);
    world.signal();
    assert.equal(world.told?.aborted, true);
    world.started.reject(new Error('the start was cancelled'));
    assert.equal(await code, 0);
    assert.deepEqual(world.calls, []);
    assert.equal(world.handlers, 0);
  });

  it('tells a role that runs nothing by the signal of its start but that it is told to stop', async () => {
    world.started.resolve();
    const code = world.run();
    await world.settle();
    assert.equal(world.told?.aborted, false);
    world.signal();
    world.stopped.resolve();
    assert.equal(await code, 0);
    assert.equal(world.told?.aborted, true);
  });

  it('gives up a start at the second signal', async () => {
    const code = world.run();
    world.signal();
    world.signal();
    assert.equal(await code, 1);
    assert.deepEqual(world.calls, []);
  });

  it('stops what is left of a role that failed, says why, and fails', async () => {
    world.started.resolve();
    const code = world.run();
    world.done.resolve(new Error('the queue is wrong'));
    world.stopped.resolve();
    assert.equal(await code, 1);
    assert.deepEqual(world.calls.slice(2), ['err gantry: the queue is wrong', 'STOPPING=1', 'stop 7000']);
  });

  it('passes on why a role did not start, and takes its handlers back', async () => {
    world.started.reject(new Error('the port is taken'));
    await assert.rejects(world.run(), /the port is taken/);
    assert.equal(world.handlers, 0);
  });

  it('goes on when the service manager cannot be told, and says so', async () => {
    world.notifyProblem = 'no socket';
    world.started.resolve();
    const code = world.run();
    await world.settle();
    assert.equal(world.calls.at(-1), 'err gantry: no socket');
    world.signal();
    world.stopped.resolve();
    assert.equal(await code, 0);
  });
});

describe('untilStopped', () => {
  function signals() {
    const handlers = new Set<() => void>();
    const onStopSignal = (handler: () => void): (() => void) => {
      handlers.add(handler);
      return () => handlers.delete(handler);
    };
    return { handlers, onStopSignal };
  }

  it('aborts at the first signal, and leaves the next one to the system', async () => {
    const { handlers, onStopSignal } = signals();
    await untilStopped({ onStopSignal }, async (signal) => {
      assert.equal(signal.aborted, false);
      for (const handler of handlers) handler();
      assert.equal(signal.aborted, true);
      assert.equal(handlers.size, 0);
    });
  });

  it('gives the result and listens no longer', async () => {
    const { handlers, onStopSignal } = signals();
    assert.equal(await untilStopped({ onStopSignal }, async () => 7), 7);
    await assert.rejects(
      untilStopped({ onStopSignal }, () => Promise.reject(new Error('it failed'))),
      /it failed/,
    );
    assert.equal(handlers.size, 0);
  });
});
