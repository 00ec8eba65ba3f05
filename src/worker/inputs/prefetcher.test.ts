import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { MemoryWorkerStore } from '../../../test/support/memory-worker-store.ts';
import { type Digest, digestToWire } from '../../digest/digest.ts';
import { digestOf } from '../../digest/hasher.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { ReapiError } from '../../errors.ts';
import { Directory } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { Demand } from './demand.ts';
import { DirectoryCache } from './directory-cache.ts';
import { FileCache } from './file-cache.ts';
import { type ExpectedAction, Prefetcher } from './prefetcher.ts';

describe('Prefetcher', () => {
  let folder: string;
  let store: MemoryWorkerStore;
  let files: FileCache;
  let demand: Demand;
  let prefetcher: Prefetcher;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'prefetcher-'));
    store = new MemoryWorkerStore();
    files = new FileCache(folder, { maxBytes: 1e6, maxEntries: 1000 });
    demand = new Demand();
    const directories = new DirectoryCache({ maxBytes: 1e6, maxEntries: 100 });
    prefetcher = new Prefetcher({ directories, files }, demand, () => store, {
      maxTransfers: 2,
      maxBytes: 10_000,
      inputs: { maxDepth: 5, maxEntries: 1000, maxDirectoryBytes: 10_000 },
    });
  });
  afterEach(async () => {
    await prefetcher.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** An action with these input files. */
  function action(...texts: readonly string[]): ExpectedAction {
    const message = {
      files: texts.map((text, index) => ({ name: `f${index}`, digest: digestToWire(store.seed(text)) })),
    };
    const inputRoot = store.seed(Directory.encode(Directory.fromPartial(message)).finish());
    const key = { instance: parseInstanceName(''), action: digestOf('sha256', Buffer.from(texts.join())) };
    return { key, inputRoot };
  }
  const digestOfText = (text: string): Digest => digestOf('sha256', Buffer.from(text));
  const isCached = (text: string): boolean => files.has({ digest: digestOfText(text), isExecutable: false });
  const large = (letter: string): string => letter.repeat(3000);

  async function until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await nextTurn();
  }

  /** Holds back every read of a large file until it is aborted or let go. */
  function holdBack(): { readonly begun: () => number; readonly abortions: () => number; readonly letGo: () => void } {
    let begun = 0;
    let abortions = 0;
    const gate = Promise.withResolvers<void>();
    store.before = (call, signal) => {
      if (call !== 'open') return Promise.resolve();
      begun++;
      const aborted = new Promise<void>((_, reject) =>
        signal.addEventListener('abort', () => {
          abortions++;
          reject(new ReapiError('cancelled', 'c'));
        }),
      );
      return Promise.race([gate.promise, aborted]);
    };
    return {
      begun: () => begun,
      abortions: () => abortions,
      letGo: () => {
        store.before = () => Promise.resolve();
        gate.resolve();
      },
    };
  }

  it('brings the inputs of the action that is expected into the cache', async () => {
    prefetcher.expect(action('small', large('L')));
    await until(() => isCached('small') && isCached(large('L')));
    await until(() => prefetcher.counters.filesPrefetched === 2);
    assert.deepEqual(prefetcher.counters, {
      prefetches: 1,
      prefetchFailures: 0,
      filesPrefetched: 2,
      bytesPrefetched: 3005,
    });
  });

  it('fetches only what is not cached, and the same action once', async () => {
    prefetcher.expect(action('a'));
    await until(() => isCached('a'));
    prefetcher.expect(action('a', 'b'));
    await until(() => isCached('b'));
    const calls = store.calls.length;
    prefetcher.expect(action('a', 'b'));
    await nextTurn();
    assert.equal(store.calls.length, calls);
    assert.equal(prefetcher.counters.filesPrefetched, 2);
  });

  it('makes no more than two transfers at a time', async () => {
    const held = holdBack();
    prefetcher.expect(action(large('A'), large('B'), large('C')));
    await until(() => held.begun() === 2);
    for (let turn = 0; turn < 5; turn++) await nextTurn();
    assert.equal(held.begun(), 2);
    held.letGo();
    await until(() => isCached(large('C')));
  });

  it('leaves what goes beyond its bytes to the lease', async () => {
    prefetcher.expect(action(large('A'), 'x'.repeat(8000), 'small'));
    await until(() => prefetcher.counters.filesPrefetched === 2);
    assert.deepEqual([isCached(large('A')), isCached('x'.repeat(8000)), isCached('small')], [true, false, true]);
  });

  it('stops at once when a lease waits for a download, and begins again afterwards', async () => {
    const held = holdBack();
    prefetcher.expect(action(large('A')));
    await until(() => held.begun() === 1);
    const leaseEnd = Promise.withResolvers<void>();
    const lease = demand.during(() => leaseEnd.promise);
    assert.equal(held.abortions(), 1);
    held.letGo();
    for (let turn = 0; turn < 5; turn++) await nextTurn();
    assert.equal(isCached(large('A')), false);
    leaseEnd.resolve();
    await lease;
    await until(() => isCached(large('A')));
    assert.equal(prefetcher.counters.prefetchFailures, 0);
  });

  it('does not begin while a lease waits', async () => {
    const leaseEnd = Promise.withResolvers<void>();
    const lease = demand.during(() => leaseEnd.promise);
    prefetcher.expect(action('a'));
    for (let turn = 0; turn < 5; turn++) await nextTurn();
    assert.deepEqual(store.calls, []);
    leaseEnd.resolve();
    await lease;
    await until(() => isCached('a'));
  });

  for (const isReplaced of [true, false]) {
    it(`gives up an action when ${isReplaced ? 'another' : 'nothing'} is expected instead`, async () => {
      const held = holdBack();
      prefetcher.expect(action(large('A')));
      await until(() => held.begun() === 1);
      const replacement = isReplaced ? action('other') : undefined;
      prefetcher.expect(replacement);
      assert.equal(held.abortions(), 1);
      held.letGo();
      if (replacement !== undefined) await until(() => isCached('other'));
      await prefetcher.stop();
      assert.equal(isCached(large('A')), false);
      assert.equal(prefetcher.counters.prefetchFailures, 0);
    });
  }

  it('counts what fails and leaves it at that', async () => {
    const expected = action('a', 'b');
    store.before = () => Promise.reject(new ReapiError('unavailable', 'away'));
    prefetcher.expect(expected);
    await until(() => prefetcher.counters.prefetchFailures === 1);
    assert.equal(store.calls.length, 1);
  });

  it('keeps what it found when some inputs are absent', async () => {
    const expected = action('a', 'b');
    store.blobs.delete([...store.blobs.keys()].find((key) => key.includes(digestOfText('b').hash)) ?? '');
    prefetcher.expect(expected);
    await until(() => prefetcher.counters.prefetchFailures === 1);
    assert.equal(isCached('a'), true);
  });

  it('never makes the cache larger than it may be', async () => {
    files = new FileCache(join(folder, 'other'), { maxBytes: 4000, maxEntries: 1000 });
    const directories = new DirectoryCache({ maxBytes: 1e6, maxEntries: 100 });
    const inputs = { maxDepth: 5, maxEntries: 1000, maxDirectoryBytes: 10_000 };
    prefetcher = new Prefetcher({ directories, files }, demand, () => store, {
      maxTransfers: 2,
      maxBytes: 10_000,
      inputs,
    });
    prefetcher.expect(action(large('A'), large('B'), large('C')));
    await until(() => prefetcher.counters.filesPrefetched === 3);
    await prefetcher.stop();
    assert.equal(files.sizeBytes, 3000);
  });
});
