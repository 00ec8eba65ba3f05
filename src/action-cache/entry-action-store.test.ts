import assert from 'node:assert/strict';
import { actionStoreContract } from '../../test/support/action-store-contract.ts';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { emptyDigest } from '../digest/digest.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { MemoryEntryStore } from '../entries/memory-entry-store.ts';
import { ReapiError } from '../errors.ts';
import { EntryActionStore } from './entry-action-store.ts';

const KEY = { instance: parseInstanceName('main'), action: emptyDigest('sha256') };

describe('EntryActionStore', () => {
  const entries = (): MemoryEntryStore => new MemoryEntryStore({ maxBytes: 100_000, maxEntryBytes: 10_000 });
  actionStoreContract(() => new EntryActionStore(entries()));

  it('takes an entry that is damaged, or no ActionResult, for a miss', async () => {
    const damaged = Object.assign(entries(), {
      get: () => Promise.reject(new ReapiError('data-loss', 'a bad sector')),
    });
    assert.equal(await new EntryActionStore(damaged).get(KEY, noAbort()), undefined);
    const foreign = Object.assign(entries(), { get: () => Promise.resolve(Buffer.of(0x0a, 0x7f)) });
    assert.equal(await new EntryActionStore(foreign).get(KEY, noAbort()), undefined);
  });

  it('passes on that the store cannot be asked', async () => {
    const broken = Object.assign(entries(), { get: () => Promise.reject(new ReapiError('unavailable', 'no answer')) });
    await assert.rejects(new EntryActionStore(broken).get(KEY, noAbort()), ofKind('unavailable'));
  });

  it('keeps the layout of its keys, which are stored on disk', async () => {
    const keys: string[] = [];
    const noting = Object.assign(entries(), {
      get: (key: string) => {
        keys.push(key);
        return Promise.resolve(undefined);
      },
    });
    await new EntryActionStore(noting).get(KEY, noAbort());
    assert.deepEqual(keys, ['ac/sha256/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/0/main']);
  });
});
