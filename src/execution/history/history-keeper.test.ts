import assert from 'node:assert/strict';
import { deferred, turns } from '../../../test/support/deferred.ts';
import { noAbort } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { recordingLog } from '../../../test/support/recording-log.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { MemoryEntryStore } from '../../entries/memory-entry-store.ts';
import { ReapiError } from '../../errors.ts';
import { DurationHistory } from './duration-history.ts';
import { HistoryKeeper } from './history-keeper.ts';

const key = { instance: parseInstanceName('main'), commandHash: 'c' };

class World {
  readonly clock = new FakeClock();
  readonly #store = new MemoryEntryStore({ clock: this.clock, maxBytes: 1_000_000, maxEntryBytes: 100_000 });
  readonly #recording = recordingLog();
  readonly lines = this.#recording.lines;
  puts = 0;
  failure: ReapiError | undefined;
  /** Puts that never end but by their signal. */
  hangs = false;

  async put(name: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    this.puts++;
    if (this.failure) throw this.failure;
    if (this.hangs) {
      const aborted = deferred();
      signal.addEventListener('abort', () => aborted.resolve());
      await aborted.promise;
    }
    await this.#store.put(name, value, signal);
  }

  async server() {
    const history = new DurationHistory({ maxActions: 100 });
    const entries = {
      get: (name: string, signal: AbortSignal) => this.#store.get(name, signal),
      put: (name: string, value: Uint8Array, signal: AbortSignal) => this.put(name, value, signal),
      delete: (name: string, signal: AbortSignal) => this.#store.delete(name, signal),
    };
    const keeper = new HistoryKeeper(
      { history, entries, clock: this.clock, log: this.#recording.log },
      { everyMs: 60_000, maxBytes: 10_000 },
    );
    await keeper.start(noAbort());
    const learn = (ranMs: number) => history.learn(undefined, key, { ranMs, sizeClass: 0, verdict: 'success' });
    return { keeper, history, learn, expected: () => history.expect(undefined, key).expectedMs };
  }

  async storeDamage(): Promise<void> {
    await this.#store.put('history/durations', Uint8Array.of(0xff), noAbort());
  }
}

describe('HistoryKeeper', () => {
  it('brings the history over an orderly restart', async () => {
    const world = new World();
    const former = await world.server();
    former.learn(100);
    await former.keeper.stop(1_000);
    const next = await world.server();
    assert.equal(next.expected(), 100);
    await next.keeper.stop(1_000);
    assert.equal(world.puts, 1, 'nothing new, nothing written');
    assert.equal(world.clock.armed, 0);
  });

  it('writes now and then, if something was learned, for the case of a crash', async () => {
    const world = new World();
    const former = await world.server();
    world.clock.advance(60_000);
    await turns(2);
    assert.equal(world.puts, 0);
    former.learn(100);
    world.clock.advance(60_000);
    await turns(2);
    assert.equal(world.puts, 1);
    former.learn(300);
    assert.equal((await world.server()).expected(), 100);
  });

  it('begins anew with a history that is damaged', async () => {
    const world = new World();
    await world.storeDamage();
    const server = await world.server();
    assert.equal(server.expected(), undefined);
    assert.equal(world.lines.length, 1);
    server.learn(5);
    await server.keeper.stop(1_000);
    assert.equal((await world.server()).expected(), 5);
  });

  it('says once that it cannot write, and tries again', async () => {
    const world = new World();
    const server = await world.server();
    server.learn(5);
    world.failure = new ReapiError('unavailable', 'the disk is gone');
    for (let time = 0; time < 3; time++) {
      world.clock.advance(60_000);
      await turns(2);
    }
    assert.deepEqual([world.puts, world.lines.length], [3, 1]);
    world.failure = undefined;
    await server.keeper.stop(1_000);
    assert.equal((await world.server()).expected(), 5);
  });

  it('stops when its grace is over', async () => {
    const world = new World();
    const server = await world.server();
    server.learn(5);
    world.hangs = true;
    const stopped = server.keeper.stop(1_000);
    await turns(2);
    world.clock.advance(1_000);
    await stopped;
    assert.deepEqual([world.lines.length, world.clock.armed], [1, 0]);
  });
});
