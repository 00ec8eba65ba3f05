import assert from 'node:assert/strict';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { recordingLog } from '../../test/support/recording-log.ts';
import { MemoryEntryStore } from '../entries/memory-entry-store.ts';
import { DrainKeeper } from './drain-keeper.ts';
import type { DrainEvent } from './scheduler/events.ts';
import type { DrainView } from './scheduler/view.ts';
import type { HostEvent, SchedulerObserver } from './scheduler-host.ts';

const { signal } = new AbortController();

/** A host that knows drains and nothing else. */
function fakeHost() {
  const observers: SchedulerObserver[] = [];
  const drains: DrainView[] = [];
  const apply = (event: HostEvent): void => {
    if (event.type !== 'drain') return;
    const index = drains.findIndex(({ pattern }) => JSON.stringify(pattern) === JSON.stringify(event.pattern));
    if (index >= 0) drains.splice(index, 1);
    const { pattern, reason = '', isTermination = false } = event;
    if (event.on) drains.push({ pattern, reason, isTermination, sinceMs: 0 });
    for (const observe of observers) observe(event, [], 0);
  };
  const observe = (observer: SchedulerObserver): void => void observers.push(observer);
  return { drains, host: { apply, observe, view: { drains: () => drains } as never } };
}

const drain = (node: string, on = true): DrainEvent => ({
  type: 'drain',
  pattern: { node },
  on,
  reason: `why ${node}`,
});

describe('DrainKeeper', () => {
  let entries: MemoryEntryStore;
  const open = async () => {
    const { drains, host } = fakeHost();
    const { log, lines } = recordingLog();
    const keeper = new DrainKeeper({ host, entries, clock: new FakeClock(), log });
    await keeper.start(signal);
    return { drains, host, keeper, lines };
  };

  beforeEach(() => {
    entries = new MemoryEntryStore({ clock: new FakeClock(), maxBytes: 1_000_000, maxEntryBytes: 100_000 });
  });

  it('begins with none', async () => {
    const { drains, lines } = await open();
    assert.deepEqual([drains, lines], [[], []]);
  });

  it('gives the next server what is in force', async () => {
    const first = await open();
    first.host.apply(drain('a'));
    first.host.apply({ ...drain('b'), isTermination: true });
    first.host.apply(drain('c'));
    first.host.apply(drain('c', false));
    await first.keeper.stop(1_000);
    const { drains } = await open();
    assert.deepEqual(drains, [
      { pattern: { node: 'a' }, reason: 'why a', isTermination: false, sinceMs: 0 },
      { pattern: { node: 'b' }, reason: 'why b', isTermination: true, sinceMs: 0 },
    ]);
  });

  it('says when they cannot be read, and goes on', async () => {
    for (const damaged of ['{', '{}', '[1]', '[{"pattern":{"a":1}}]']) {
      await entries.put('fleet/drains', Buffer.from(damaged), signal);
      const { drains, lines, host, keeper } = await open();
      assert.equal(drains.length, 0);
      assert.equal(lines.length, 1, damaged);
      host.apply(drain('a'));
      await keeper.stop(1_000);
      assert.equal(
        Buffer.from((await entries.get('fleet/drains', signal))?.value ?? []).toString(),
        damaged,
        'and is not overwritten',
      );
    }
  });

  it('says when they cannot be kept', async () => {
    const { host, keeper, lines } = await open();
    entries.put = () => Promise.reject(new Error('full'));
    host.apply(drain('a'));
    await keeper.stop(1_000);
    assert.match(lines[0]?.msg ?? '', /cannot be kept/);
  });
});
