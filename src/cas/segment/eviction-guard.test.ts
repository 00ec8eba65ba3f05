import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { sha256 } from '../../../test/support/blob-store-contract.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { openStoreForTest } from '../../../test/support/local-store-for-test.ts';
import { temporaryFolder } from '../../../test/support/temporary-folder.ts';
import type { Digest } from '../../digest/digest.ts';
import type { LocalStore } from './local-store.ts';
import { ENTRY_KIND } from './log/format.ts';
import type { LocalStoreOptions } from './open-store.ts';

const MIB = 1024 * 1024;
const LEASE_MS = 95_000;
/** Blobs of this size are records, those of the other files of their own. */
const RECORD_BYTES = 50_000;
const FILE_BYTES = 200_000;

describe('EvictionGuard', () => {
  let folder: string;
  let clock: FakeClock;
  /** Hashes of what is pinned. */
  let pinned: Set<string>;
  let isAllPinned: boolean;
  let asked: number;

  beforeEach(() => {
    folder = temporaryFolder();
    clock = new FakeClock();
    pinned = new Set();
    isAllPinned = false;
    asked = 0;
  });

  const open = (options: Partial<LocalStoreOptions> = {}, where = folder): Promise<LocalStore> =>
    openStoreForTest(where, {
      clock,
      maxBytes: 16 * MIB,
      guard: {
        mayEvict: (key) => {
          asked++;
          return !isAllPinned && !pinned.has(key.hex());
        },
      },
      ...options,
    });
  const put = async (store: LocalStore, sizeBytes: number, seed: number): Promise<Digest> => {
    const bytes = Buffer.alloc(sizeBytes, `${seed} `);
    await store.blobs.putBytes(sha256(bytes), bytes, noAbort());
    return sha256(bytes);
  };
  const fill = async (store: LocalStore, totalBytes: number, seed: number, sizeBytes = RECORD_BYTES) => {
    const digests: Digest[] = [];
    for (let at = 0; at < totalBytes / sizeBytes; at++) digests.push(await put(store, sizeBytes, seed + at));
    return digests;
  };
  const pin = (digests: readonly Digest[]): void => digests.forEach(({ hash }) => void pinned.add(hash));
  const present = (store: LocalStore, digests: readonly Digest[]): number =>
    digests.filter((digest) => store.has(digest)).length;
  const assertWhole = async (store: LocalStore, digests: readonly Digest[]): Promise<void> => {
    for (const digest of digests) assert.deepEqual(sha256(await store.blobs.getBytes(digest, noAbort())), digest);
  };
  /** Writes one and a half times the limit, in rounds whose leases end. */
  const churn = async (store: LocalStore, seed: number): Promise<void> => {
    for (let round = 0; round < 3; round++) {
      clock.advance(LEASE_MS);
      await fill(store, 5 * MIB, seed + 10_000 * round);
      await fill(store, 3 * MIB, seed + 10_000 * round + 5000, FILE_BYTES);
    }
  };
  /** Puts until a write is refused, renewing nothing, so that leases do not refuse it. */
  const fillUp = async (store: LocalStore, seed: number, sizeBytes = RECORD_BYTES): Promise<unknown> => {
    for (let at = 0; ; at++) {
      try {
        await put(store, sizeBytes, seed + at);
        clock.advance(LEASE_MS / 10);
      } catch (error) {
        return error;
      }
    }
  };
  const assertPinned = (error: unknown): void => {
    assert.ok(ofKind('quota-exceeded')(error) && error instanceof Error, String(error));
    assert.match(error.message, /pinned/);
    assert.deepEqual('facts' in error && error.facts, { retryAfterMs: 3000 });
  };

  it('keeps what is pinned through heavy churn and crashes, records, files and entries, while the rest goes', async () => {
    let store = await open();
    const records = await fill(store, 2 * MIB, 1);
    const files = await fill(store, 2 * MIB, 500, FILE_BYTES);
    for (const key of ['kept', 'gone']) await store.entries.put(key, Buffer.from(key), noAbort());
    const kept = [...records, ...files].filter((_, at) => at % 2 === 0);
    const others = [...records, ...files].filter((_, at) => at % 2 === 1);
    pin(kept);
    pinned.add(sha256(Buffer.from('kept')).hash);
    for (let round = 0; round < 2; round++) {
      await churn(store, 100_000 * (round + 1));
      assert.deepEqual([present(store, kept), present(store, others)], [kept.length, 0]);
      const copy = join(temporaryFolder(), 'copy');
      cpSync(folder, copy, { recursive: true });
      await store.close();
      folder = copy;
      store = await open();
    }
    await assertWhole(store, kept);
    assert.equal(Buffer.from((await store.entries.get('kept', noAbort()))?.value ?? []).toString(), 'kept');
    assert.equal(await store.entries.get('gone', noAbort()), undefined);
  });

  it('is asked about entries by their kind', async () => {
    const kinds = new Set<number>();
    const store = await open({ guard: { mayEvict: ({ kind }) => kinds.add(kind) !== undefined } });
    await store.entries.put('key', Buffer.of(1), noAbort());
    await put(store, 10, 1);
    clock.advance(LEASE_MS);
    await store.prune(0, () => undefined, noAbort());
    assert.deepEqual([...kinds].sort(), [1, ENTRY_KIND]);
  });

  it('keeps what is pinned when the limit was lowered, even above it, and evicts all else', async () => {
    const store = await open({ maxBytes: 64 * MIB });
    const digests = [...(await fill(store, 14 * MIB, 1)), ...(await fill(store, 14 * MIB, 5000, FILE_BYTES))];
    const kept = digests.filter((_, at) => at % 4 === 0);
    pin(kept);
    await store.close();
    for (const [maxBytes, isOver] of [
      [12 * MIB, false],
      [4 * MIB, true],
    ] as const) {
      const again = await open({ maxBytes });
      const { segmentBytes, fileBytes } = again.stats();
      assert.equal(segmentBytes + fileBytes > maxBytes, isOver, `${segmentBytes + fileBytes} of ${maxBytes}`);
      assert.equal(present(again, kept), kept.length);
      if (isOver) {
        assert.equal(present(again, digests), kept.length);
        clock.advance(LEASE_MS);
        assertPinned(await fillUp(again, 9000));
        await assertWhole(again, kept);
      }
      await again.close();
    }
  });

  for (const [what, sizeBytes] of [
    ['records', RECORD_BYTES],
    ['files', FILE_BYTES],
  ] as const) {
    it(`refuses writes when all is pinned, ${what} too, without copying or looking again and again, until it is let go`, async () => {
      const store = await open();
      isAllPinned = true;
      assertPinned(await fillUp(store, 1, sizeBytes));
      const { copiedBytes, evictedBlobs } = store.stats();
      const askedBefore = asked;
      for (let at = 0; at < 100; at++) {
        assertPinned(await put(store, sizeBytes, 50_000 + at).catch((error: unknown) => error));
        clock.advance(300);
      }
      assert.deepEqual([store.stats().copiedBytes, evictedBlobs], [copiedBytes, 0]);
      assert.ok(copiedBytes < 16 * MIB, `${copiedBytes}`);
      assert.ok(asked - askedBefore <= 12 * 350, `asked ${asked - askedBefore} times`);
      isAllPinned = false;
      clock.advance(LEASE_MS);
      await fill(store, 4 * MIB, 90_000, sizeBytes);
      assert.ok(store.stats().evictedBlobs > 0);
    });
  }

  it('refuses writes rather than copy many times what comes free', async () => {
    const store = await open();
    isAllPinned = true;
    const error = await fillUp(store, 1);
    assertPinned(error);
    isAllPinned = false;
    const all: Digest[] = [];
    store.forEachBlob((key, sizeBytes) => all.push({ function: 'sha256', hash: key.hex(), sizeBytes }));
    pin(all.filter((_, at) => at % 16 !== 0));
    clock.advance(LEASE_MS);
    const before = store.stats();
    for (let at = 0; at < 20; at++) {
      assertPinned(await put(store, RECORD_BYTES, 60_000 + at).catch((refusal: unknown) => refusal));
      clock.advance(10_000);
    }
    assert.equal(store.stats().copiedBytes, before.copiedBytes);
    // A half of it is worth it.
    for (const { hash } of all.filter((_, at) => at % 2 === 0)) pinned.delete(hash);
    clock.advance(LEASE_MS);
    await fill(store, 3 * MIB, 70_000);
    const { copiedBytes, evictedBlobs } = store.stats();
    assert.ok(copiedBytes - before.copiedBytes < 8 * 4 * MIB, `${copiedBytes}`);
    assert.ok(evictedBlobs > before.evictedBlobs);
    assert.equal(all.filter((digest) => pinned.has(digest.hash) && !store.has(digest)).length, 0);
  });

  it('evicts the next file when the oldest is pinned, and older records before younger files', async () => {
    const store = await open();
    const [oldest] = await fill(store, 1, 1, FILE_BYTES);
    const [next] = await fill(store, 1, 2, FILE_BYTES);
    assert.ok(oldest && next);
    pin([oldest]);
    clock.advance(10_000);
    const records = await fill(store, 2 * MIB, 100);
    clock.advance(10_000);
    const [young] = await fill(store, 1, 3, FILE_BYTES);
    assert.ok(young);
    await fill(store, 10 * MIB, 1000);
    clock.advance(LEASE_MS);
    await fill(store, 4 * MIB, 2000);
    assert.deepEqual(
      [oldest, next, young].map((digest) => store.has(digest)),
      [true, false, true],
    );
    assert.ok(present(store, records) < records.length);
  });

  it('ends a prune at what is pinned and says what came free', async () => {
    const store = await open();
    const digests = [...(await fill(store, 4 * MIB, 1)), ...(await fill(store, 2 * MIB, 500, FILE_BYTES))];
    const kept = digests.filter((_, at) => at % 3 === 0);
    pin(kept);
    clock.advance(LEASE_MS);
    const report = await store.prune(0, () => undefined, noAbort());
    assert.equal(report.evictedBlobs, digests.length - kept.length);
    assert.ok(report.freedBytes > 3 * MIB && report.sizeBytes < 3 * MIB, JSON.stringify(report));
    assert.equal(present(store, kept), kept.length);
    const again = await store.prune(0, () => undefined, noAbort());
    assert.deepEqual([again.evictedBlobs, store.stats().evictedBlobs], [0, report.evictedBlobs]);
    await assertWhole(store, kept);
  });

  it('law: nothing that is pinned goes, whatever is put, pinned, let go, pruned and reopened', async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('fill' as const), isLarge: fc.boolean(), isPinned: fc.boolean() }),
      fc.record({ do: fc.constantFrom('release' as const, 'prune' as const, 'reopen' as const, 'wait' as const) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 25 }), async (steps) => {
        folder = temporaryFolder();
        pinned.clear();
        const small = { maxBytes: 2 * MIB, segmentBytes: 64 * 1024 };
        let store = await open(small);
        let kept: Digest[] = [];
        for (const [at, each] of steps.entries()) {
          if (each.do === 'fill') {
            for (let nth = 0; nth < 12; nth++) {
              const stored = put(store, each.isLarge ? 30_000 : 12_000, 100 * at + nth);
              const digest = await stored.catch((error: unknown) => assert.ok(ofKind('quota-exceeded')(error)));
              if (!digest || !each.isPinned || nth % 2 === 0) continue;
              pin([digest]);
              kept.push(digest);
            }
          } else if (each.do === 'release') {
            for (const { hash } of kept.splice(0, kept.length / 2)) pinned.delete(hash);
          } else if (each.do === 'prune') {
            await store.prune(0, () => undefined, noAbort());
          } else if (each.do === 'reopen') {
            await store.close();
            store = await open(small);
          } else {
            clock.advance(LEASE_MS);
          }
          kept = kept.filter(({ hash }) => pinned.has(hash));
          assert.equal(present(store, kept), kept.length);
        }
        await assertWhole(store, kept);
        await store.close();
      }),
      { numRuns: 12 },
    );
  });
});
