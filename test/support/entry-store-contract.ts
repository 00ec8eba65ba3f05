import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { EntryStore } from '../../src/entries/entry-store.ts';
import { isKind } from '../../src/errors.ts';
import type { Clock } from '../../src/system/clock.ts';
import { FakeClock } from './fake-clock.ts';

const NEVER = new AbortController().signal;

/** What the contract expects of the store it is given. */
export const CONTRACT_MAX_ENTRY_BYTES = 50_000;

/**
 * The laws of `EntryStore`. Call inside a `describe`.
 * @param open an empty store with room for 10 MB and `CONTRACT_MAX_ENTRY_BYTES` an entry, on that clock; asked anew for each test.
 */
export function entryStoreContract(open: (clock: Clock) => Promise<EntryStore>): void {
  let clock: FakeClock;
  let store: EntryStore;
  beforeEach(async () => {
    clock = new FakeClock();
    store = await open(clock);
  });

  async function textOf(key: string): Promise<string | undefined> {
    const entry = await store.get(key, NEVER);
    return entry && Buffer.from(entry.value).toString();
  }

  it('answers undefined for a key that was never put', async () => {
    assert.equal(await store.get('nothing', NEVER), undefined);
    assert.equal(await store.delete('nothing', NEVER), false);
  });

  it('gives what was put last, also an empty value', async () => {
    for (const text of ['first', 'second and longer', '', 'x'.repeat(CONTRACT_MAX_ENTRY_BYTES)]) {
      await store.put('key', Buffer.from(text), NEVER);
      assert.equal(await textOf('key'), text);
    }
  });

  it('forgets what was deleted', async () => {
    await store.put('key', Buffer.from('value'), NEVER);
    assert.equal(await store.delete('key', NEVER), true);
    assert.equal(await store.get('key', NEVER), undefined);
    assert.equal(await store.delete('key', NEVER), false);
  });

  it('keeps its own copy: a caller that changes its array afterwards changes nothing', async () => {
    const value = Buffer.from('before');
    await store.put('key', value, NEVER);
    value.fill(0);
    assert.equal(await textOf('key'), 'before');
  });

  it('refuses a value or key above its limit', async () => {
    const tooLong = Buffer.alloc(CONTRACT_MAX_ENTRY_BYTES + 1);
    await assert.rejects(store.put('key', tooLong, NEVER), (error) => isKind(error, 'too-large'));
    await assert.rejects(store.put('k'.repeat(5000), Buffer.of(1), NEVER), (error) => isKind(error, 'too-large'));
    assert.equal(await store.get('key', NEVER), undefined);
  });

  it('shows the old or the new value to readers during a put (R-AC-16)', async () => {
    await store.put('key', Buffer.alloc(20_000, 'a'), NEVER);
    const put = store.put('key', Buffer.alloc(30_000, 'b'), NEVER);
    const seen = await Promise.all(Array.from({ length: 20 }, () => store.get('key', NEVER)));
    await put;
    for (const entry of seen) {
      const text = Buffer.from(entry?.value ?? []).toString();
      assert.ok(text === 'a'.repeat(20_000) || text === 'b'.repeat(30_000));
    }
  });

  it('keeps the later of two values that are put at once', async () => {
    await Promise.all([store.put('key', Buffer.from('a'), NEVER), store.put('key', Buffer.from('b'), NEVER)]);
    assert.equal(await textOf('key'), 'b');
  });

  it('says when a value was written, by the wall clock; reading and other keys change nothing of it', async () => {
    await store.put('key', Buffer.from('a'), NEVER);
    const writtenMs = clock.nowMs();
    clock.advance(5000);
    await store.put('other', Buffer.from('b'), NEVER);
    await store.get('key', NEVER);
    assert.equal((await store.get('key', NEVER))?.writtenMs, writtenMs);
    clock.jump(-3000);
    await store.put('key', Buffer.from('c'), NEVER);
    assert.equal((await store.get('key', NEVER))?.writtenMs, writtenMs + 2000);
  });

  it('refuses calls whose signal is aborted already', async () => {
    const signal = AbortSignal.abort();
    const calls = [store.get('key', signal), store.put('key', Buffer.of(1), signal), store.delete('key', signal)];
    for (const result of await Promise.allSettled(calls)) assert.equal(result.status, 'rejected');
  });

  it('law: behaves as a map for any keys and order of calls', async () => {
    const call = fc.record({
      key: fc.oneof(fc.constantFrom('a', 'a/b', '../..', ''), fc.string({ unit: 'binary', maxLength: 20 })),
      value: fc.option(fc.uint8Array({ maxLength: 100 })),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(call, { maxLength: 15 }), async (calls) => {
        const model = new Map<string, Uint8Array>();
        for (const { key, value } of calls) {
          if (value === null) {
            await store.delete(key, NEVER);
            model.delete(key);
          } else {
            await store.put(key, value, NEVER);
            model.set(key, value);
          }
        }
        for (const key of new Set(calls.map((step) => step.key))) {
          const entry = await store.get(key, NEVER);
          assert.deepEqual(entry && [...entry.value], model.has(key) ? [...(model.get(key) ?? [])] : undefined);
          await store.delete(key, NEVER);
        }
      }),
      { numRuns: 50 },
    );
  });
}
