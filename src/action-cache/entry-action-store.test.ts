import assert from 'node:assert/strict';
import { actionStoreContract } from '../../test/support/action-store-contract.ts';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { emptyDigest } from '../digest/digest.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import type { EntryStore } from '../entries/entry-store.ts';
import { MemoryEntryStore } from '../entries/memory-entry-store.ts';
import { ReapiError } from '../errors.ts';
import { ActionResult } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { type ActionStore, resultFromMessage, type StoredResult } from './action-store.ts';
import { EntryActionStore, resultEntryKey } from './entry-action-store.ts';
import type { StoreMiss } from './misses/miss.ts';

const clock = new FakeClock();
const RESULT = resultFromMessage(ActionResult.fromPartial({ exitCode: 1 }));
const KEY = { instance: parseInstanceName('main'), action: emptyDigest('sha256') };

describe('EntryActionStore', () => {
  let misses: StoreMiss[];
  const entries = (): MemoryEntryStore => new MemoryEntryStore({ clock, maxBytes: 100_000, maxEntryBytes: 10_000 });
  const over = (store: EntryStore, maxAgeMs = 0): EntryActionStore => new EntryActionStore(store, { clock, maxAgeMs });
  const get = (store: ActionStore): Promise<StoredResult | undefined> =>
    store.get(KEY, noAbort(), (miss) => misses.push(miss));
  beforeEach(() => {
    misses = [];
  });

  actionStoreContract(() => over(entries()));

  it('takes an entry that is damaged, or no ActionResult, for a miss', async () => {
    const damaged = Object.assign(entries(), {
      get: () => Promise.reject(new ReapiError('data-loss', 'a bad sector')),
    });
    assert.equal(await get(over(damaged)), undefined);
    const value = Buffer.of(0x0a, 0x7f);
    const foreign = Object.assign(entries(), { get: () => Promise.resolve({ value, writtenMs: 0 }) });
    assert.equal(await get(over(foreign)), undefined);
    const miss = { reason: 'damaged', what: 'the stored action result' };
    assert.deepEqual(misses, [miss, miss]);
  });

  it('passes on that the store cannot be asked', async () => {
    const broken = Object.assign(entries(), { get: () => Promise.reject(new ReapiError('unavailable', 'no answer')) });
    await assert.rejects(get(over(broken)), ofKind('unavailable'));
    assert.deepEqual(misses, []);
  });

  it('keeps the layout of its keys, which are stored on disk', async () => {
    const keys: string[] = [];
    const noting = Object.assign(entries(), {
      get: (key: string) => {
        keys.push(key);
        return Promise.resolve(undefined);
      },
    });
    await get(over(noting));
    assert.deepEqual(keys, ['ac/sha256/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/0/main']);
    assert.deepEqual(keys, [resultEntryKey(KEY)]);
  });

  it('takes a result older than its age limit for a miss, and says so, until it is put again', async () => {
    const store = over(entries(), 1000);
    const writtenMs = clock.nowMs();
    await store.put(KEY, RESULT, noAbort());
    clock.advance(1000);
    assert.notEqual(await get(store), undefined);
    clock.advance(1);
    assert.equal(await get(store), undefined);
    assert.deepEqual(misses, [{ reason: 'expired', writtenMs, maxAgeMs: 1000 }]);
    await store.put(KEY, RESULT, noAbort());
    assert.notEqual(await get(store), undefined);
  });

  it('keeps a result of any age if there is no limit', async () => {
    const store = over(entries());
    await store.put(KEY, RESULT, noAbort());
    clock.advance(1e12);
    assert.notEqual(await get(store), undefined);
  });

  it('never makes a result older because the clock was set back', async () => {
    const store = over(entries(), 1000);
    await store.put(KEY, RESULT, noAbort());
    clock.jump(-1_000_000);
    assert.notEqual(await get(store), undefined);
    clock.advance(900_000);
    assert.notEqual(await get(store), undefined);
    clock.jump(1_000_000);
    assert.equal(await get(store), undefined);
  });
});
