import assert from 'node:assert/strict';
import { type Deferred, deferred, turns } from '../../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { recordingLog } from '../../../test/support/recording-log.ts';
import { digestOf } from '../../digest/hasher.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import type { EntryStore } from '../../entries/entry-store.ts';
import { MemoryEntryStore } from '../../entries/memory-entry-store.ts';
import { ReapiError } from '../../errors.ts';
import type { OperationState } from '../operations.ts';
import { OperationArchive, type OperationArchiveOptions } from './operation-archive.ts';
import { NO_IDS } from './request-ids.ts';

const NOW = 1_000_000;

function operation(number: number, response = Uint8Array.of(number)): OperationState {
  return {
    name: `main/operations/00000000-0000-0000-0000-${String(number).padStart(12, '0')}`,
    key: { instance: parseInstanceName('main'), action: digestOf('sha256', Buffer.from(`${number}`)) },
    ...{ stage: 'completed', message: '', createdAtMs: NOW, order: number, priority: 0, ids: NO_IDS },
    ...{ finishedAtMs: NOW, attempts: [], response },
  };
}

/** A store whose puts wait for the test, and may fail. */
class GatedStore implements EntryStore {
  readonly inner: EntryStore;
  readonly puts: string[] = [];
  gate: Deferred<void> | undefined;
  failure: ReapiError | undefined;

  constructor(inner: EntryStore) {
    this.inner = inner;
  }

  get(key: string, signal: AbortSignal) {
    if (this.failure) return Promise.reject(this.failure);
    return this.inner.get(key, signal);
  }

  async put(key: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    this.puts.push(key);
    await this.gate?.promise;
    if (this.failure) throw this.failure;
    await this.inner.put(key, value, signal);
  }

  delete(key: string, signal: AbortSignal) {
    return this.inner.delete(key, signal);
  }
}

function world(options: Partial<OperationArchiveOptions> = {}) {
  const clock = new FakeClock(NOW);
  const store = new GatedStore(new MemoryEntryStore({ clock, maxBytes: 10_000_000, maxEntryBytes: 1_000_000 }));
  const { log, lines } = recordingLog();
  const open = () => new OperationArchive(store, clock, log, { retentionMs: 60_000, ...options });
  return { clock, store, lines, open, archive: open() };
}

describe('OperationArchive', () => {
  it('writes behind its caller, under the name of the operation', async () => {
    const { archive, store, open } = world();
    const given = operation(1);
    archive.keep(given);
    assert.deepEqual(store.puts, []);
    await archive.settle(1_000);
    assert.deepEqual(store.puts, [`operation/${given.name}`]);
    assert.deepEqual(await open().find(given.name, noAbort()), given);
  });

  it('knows an operation that still waits to be written', async () => {
    const { archive, store } = world();
    store.gate = deferred();
    for (let number = 0; number < 100; number++) archive.keep(operation(number));
    await turns(3);
    assert.equal(store.puts.length, 32, 'as many writes at once as are allowed');
    assert.equal(archive.pending, 100);
    assert.deepEqual(await archive.find(operation(99).name, noAbort()), operation(99));
    store.gate.resolve();
    await archive.settle(1_000);
    assert.deepEqual([store.puts.length, archive.pending, archive.skipped], [100, 0, 0]);
  });

  it('skips and counts the oldest when too many wait, and says so once', async () => {
    const { archive, store, lines, open } = world({ maxQueued: 10 });
    store.gate = deferred();
    for (let number = 0; number < 50; number++) archive.keep(operation(number));
    assert.deepEqual([archive.skipped, archive.pending], [8, 42]);
    assert.equal(lines.length, 1);
    store.gate.resolve();
    await archive.settle(1_000);
    const later = open();
    const known = await Promise.all(
      Array.from(
        { length: 50 },
        async (_, number) => (await later.find(operation(number).name, noAbort())) !== undefined,
      ),
    );
    const lost = known.flatMap((isKnown, number) => (isKnown ? [] : [number]));
    assert.deepEqual(lost, [32, 33, 34, 35, 36, 37, 38, 39]);
  });

  it('bounds the bytes that wait, too', () => {
    const { archive, store } = world({ maxQueuedBytes: 1_000 });
    store.gate = deferred();
    for (let number = 0; number < 40; number++) archive.keep(operation(number, new Uint8Array(300)));
    assert.deepEqual([archive.pending, archive.skipped], [35, 5]);
    archive.keep(operation(99, new Uint8Array(2_000)));
    assert.deepEqual([archive.pending, archive.skipped], [32, 9]);
  });

  it('counts what the store does not take, says so once, and goes on', async () => {
    const { archive, store, lines, open } = world();
    store.failure = new ReapiError('unavailable', 'the disk is gone');
    for (const number of [1, 2, 3]) archive.keep(operation(number));
    await turns(5);
    assert.deepEqual([archive.failed, archive.pending, lines.length], [3, 0, 1]);
    store.failure = undefined;
    archive.keep(operation(4));
    await archive.settle(1_000);
    assert.equal((await open().find(operation(4).name, noAbort()))?.order, 4);
    assert.equal(await open().find(operation(1).name, noAbort()), undefined);
  });

  it('gives nothing that is past its retention, also if it still waits', async () => {
    const { archive, store, clock } = world();
    store.gate = deferred();
    for (let number = 0; number < 33; number++) archive.keep(operation(number));
    const waiting = operation(32).name;
    clock.advance(59_999);
    assert.notEqual(await archive.find(waiting, noAbort()), undefined);
    clock.advance(1);
    assert.equal(await archive.find(waiting, noAbort()), undefined);
    store.gate.resolve();
    await archive.settle(1_000);
    assert.equal(await archive.find(waiting, noAbort()), undefined);
  });

  it('gives nothing that finished before what its owner has no room for', async () => {
    const { archive } = world();
    archive.keep(operation(1));
    archive.keep({ ...operation(2), finishedAtMs: NOW + 1 });
    await turns(5);
    archive.forgetUntil(NOW);
    archive.forgetUntil(NOW - 1);
    assert.equal(await archive.find(operation(1).name, noAbort()), undefined);
    assert.equal((await archive.find(operation(2).name, noAbort()))?.order, 2);
  });

  it('removes what waits, what is being written and what is stored', async () => {
    const { archive, store, open } = world();
    const gate = deferred();
    store.gate = gate;
    for (let number = 0; number < 33; number++) archive.keep(operation(number));
    await turns(3);
    assert.equal(await archive.remove(operation(32).name, noAbort()), true);
    const beingWritten = archive.remove(operation(0).name, noAbort());
    gate.resolve();
    assert.equal(await beingWritten, true);
    await archive.settle(1_000);
    assert.equal(store.puts.length, 32);
    const later = open();
    assert.equal(await later.remove(operation(1).name, noAbort()), true);
    for (const number of [0, 1, 32]) {
      assert.equal(await later.find(operation(number).name, noAbort()), undefined);
      assert.equal(await later.remove(operation(number).name, noAbort()), false);
    }
  });

  it('looks for no name that it cannot have given (R-EX-11)', async () => {
    const { archive, store } = world();
    store.failure = new ReapiError('unavailable', 'must not be asked');
    for (const name of ['x', 'operations/1', `${'a'.repeat(5_000)}/${operation(1).name}`]) {
      assert.equal(await archive.find(name, noAbort()), undefined);
      assert.equal(await archive.remove(name, noAbort()), false);
    }
  });

  it('takes a damaged record for none, and says when the store cannot tell', async () => {
    const { archive, store } = world();
    const { name } = operation(1);
    await store.inner.put(`operation/${name}`, Uint8Array.of(0xff), noAbort());
    assert.equal(await archive.find(name, noAbort()), undefined);
    store.failure = new ReapiError('data-loss', 'damaged');
    assert.equal(await archive.find(name, noAbort()), undefined);
    store.failure = new ReapiError('unavailable', 'the disk is gone');
    await assert.rejects(archive.find(name, noAbort()), ofKind('unavailable'));
  });

  it('stops after its grace, counting what it could not write, and takes nothing more', async () => {
    const { archive, store, clock, lines } = world();
    store.gate = deferred();
    for (let number = 0; number < 40; number++) archive.keep(operation(number));
    const settled = archive.settle(1_000);
    await turns(3);
    clock.advance(1_000);
    await settled;
    assert.equal(archive.skipped, 8);
    archive.keep(operation(50));
    assert.equal(archive.skipped, 9);
    assert.equal(lines.length, 1);
    assert.equal(clock.armed, 0);
  });
});
