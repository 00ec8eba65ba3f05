import assert from 'node:assert/strict';
import fc from 'fast-check';
import { bucketWorld, EVEN_RANDOM, inTime } from '../../../test/support/bucket-server.ts';
import { deferred, turns } from '../../../test/support/deferred.ts';
import { ofKind } from '../../../test/support/expectations.ts';
import type { FakeClock } from '../../../test/support/fake-clock.ts';
import {
  type MemoryBucket,
  MemoryObjectStore,
  type MemoryObjectStoreOptions,
} from '../../../test/support/memory-object-store.ts';
import { NO_LOG } from '../../system/log.ts';
import { ContainerNumbers } from './container-numbers.ts';
import { Containers } from './containers.ts';
import { PackWriter } from './pack-writer.ts';

const PACK_BYTES = 64 * 1024;

interface SetUp extends Pick<MemoryObjectStoreOptions, 'faults' | 'latencyMs'> {
  readonly rate?: number;
  readonly connected?: Promise<void>;
}

/** A writer of packs; `put` adds a blob of that many bytes. */
function setUp({ rate = 1, connected = Promise.resolve(), ...behaviour }: SetUp = {}) {
  const { clock, bucket } = bucketWorld();
  const sent: { key: string; bytes: Buffer; ms: number }[] = [];
  const objects = new SpiedPuts(clock, { bucket, ...behaviour }, (key, chunks) => {
    sent.push({ key, bytes: Buffer.concat(chunks), ms: clock.monotonicMs() });
  });
  const numbers = new ContainerNumbers('1'.repeat(16), 'a0a0a0a0');
  const containers = new Containers();
  const parts = { objects, containers, numbers, clock, random: EVEN_RANDOM, log: NO_LOG, connected };
  const packs = new PackWriter(parts, { packBytes: PACK_BYTES, maxSmallPacksPerSecond: rate });
  const stored: number[] = [];
  let count = 0;
  const put = (bytes = 100, patienceMs = 5): Promise<void> => {
    const number = count++;
    const body = Buffer.alloc(bytes, number);
    return packs.add({
      bytes,
      patienceMs,
      build: (builder) => builder.addBlob(1, number.toString(16).padStart(64, '0'), body),
      stored: () => void stored.push(number),
    });
  };
  return { clock, bucket, sent, numbers, containers, packs, stored, put };
}

type PutSpy = (key: string, chunks: readonly Uint8Array[]) => void;

class SpiedPuts extends MemoryObjectStore {
  readonly #spy: PutSpy;

  constructor(clock: FakeClock, options: MemoryObjectStoreOptions, spy: PutSpy) {
    super(clock, options);
    this.#spy = spy;
  }

  override put(key: string, chunks: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
    this.#spy(key, chunks);
    return super.put(key, chunks, signal);
  }
}

function objectsIn(bucket: MemoryBucket): number {
  return bucket.objects.size;
}

/** Moves on in steps of a millisecond, with all that is ready running between. */
async function pass(clock: FakeClock, ms: number, stepMs = 1): Promise<void> {
  for (let passed = 0; passed < ms; passed += stepMs) {
    clock.advance(stepMs);
    await turns(1);
  }
}

describe('PackWriter', () => {
  it('stores a lone record after its patience, and not before', async () => {
    const { clock, sent, put, stored, containers } = setUp();
    const added = put(100, 5);
    await pass(clock, 4);
    assert.equal(sent.length, 0);
    await pass(clock, 1);
    await added;
    assert.deepEqual([sent.length, stored, containers.count], [1, [0], 1]);
    assert.equal(clock.armed, 0);
  });

  it('waits no longer than the least patient record of a pack', async () => {
    const { clock, sent, put } = setUp();
    const added = [put(100, 1000), put(100, 5), put(100, 1000)];
    await pass(clock, 5);
    await Promise.all(added);
    assert.equal(sent.length, 1);
  });

  it('tells of what was stored in the order of the pack, before those who added it go on', async () => {
    const { clock, put, stored } = setUp();
    const seen: (readonly number[])[] = [];
    const added = [put(), put(), put()].map((each) => each.then(() => seen.push([...stored])));
    await inTime(clock, Promise.all(added));
    assert.deepEqual(seen, [
      [0, 1, 2],
      [0, 1, 2],
      [0, 1, 2],
    ]);
  });

  it('lets a burst out quickly, and after it a trickle only at its rate', async () => {
    const { clock, sent, put } = setUp({ rate: 1 });
    const added: Promise<void>[] = [];
    for (let at = 0; at < 200; at++) {
      added.push(put(100, 5));
      await pass(clock, 500, 25);
    }
    await inTime(clock, Promise.all(added));
    const seconds = (clock.monotonicMs() - (sent[0]?.ms ?? 0)) / 1000;
    assert.ok((sent[5]?.ms ?? 0) - (sent[0]?.ms ?? 0) < 3000, 'the first ones do not wait for a token');
    assert.ok(sent.length <= seconds + 30 + 1, `${sent.length} packs in ${seconds} s`);
    const late = sent.slice(-20);
    assert.ok((late.at(-1)?.ms ?? 0) - (late[0]?.ms ?? 0) >= 19_000, 'in the long run one a second');
  }).timeout(10_000);

  it('law: any trickle of small records is stored, with no more packs than its rate allows', async () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(gaps, fc.constantFrom(0.5, 1, 2), async (pauses, rate) => {
        const { clock, sent, put, packs, numbers, stored } = setUp({ rate });
        const startMs = clock.monotonicMs();
        const added: Promise<void>[] = [];
        for (const pause of pauses) {
          added.push(put(50, 3));
          clock.advance(pause);
          await turns(1);
        }
        await inTime(clock, Promise.all(added), 50);
        const seconds = (clock.monotonicMs() - startMs) / 1000;
        assert.ok(sent.length <= Math.max(1, 30 * rate) + rate * seconds + 1);
        assert.equal(stored.length, pauses.length);
        assert.deepEqual([numbers.floor, packs.packs], [sent.length, sent.length]);
      }),
      { numRuns: 30 },
    );
  });

  it('makes large packs under load: what comes while others are stored gathers', async () => {
    const { clock, sent, put } = setUp({ rate: 0.1, latencyMs: () => 200 });
    const added: Promise<void>[] = [];
    for (let at = 0; at < 1000; at++) {
      added.push(put(1000, 1));
      if (at % 5 === 4) await pass(clock, 1);
    }
    await inTime(clock, Promise.all(added), 20);
    const full = sent.filter(({ bytes }) => bytes.length > PACK_BYTES * 0.9);
    assert.ok(full.length >= 13, `${full.length} of ${sent.length} packs are full`);
    assert.ok(sent.length <= 22, `${sent.length} packs`);
  });

  it('stores at most three packs at the same time', async () => {
    let running = 0;
    let most = 0;
    const { clock, put } = setUp({
      latencyMs: () => 100,
      faults: () => {
        most = Math.max(most, ++running);
        return undefined;
      },
    });
    const added = Array.from({ length: 12 }, () => put(PACK_BYTES - 100, 0).then(() => running--));
    await inTime(clock, Promise.all(added));
    assert.equal(most, 3);
  });

  it('does not make a pack longer than a full one, but for a record that is longer itself', async () => {
    const { clock, sent, put } = setUp();
    await inTime(clock, Promise.all([put(40_000), put(40_000), put(2 * PACK_BYTES), put(10)]));
    assert.deepEqual(
      sent.map(({ bytes }) => Math.floor(bytes.length / 1000)),
      [40, 40, 131, 0],
    );
  });

  for (const fault of ['fail-before', 'fail-middle', 'fail-after'] as const) {
    it(`tries again as the same object with the same bytes after ${fault}`, async () => {
      let failures = 5;
      const { clock, bucket, sent, put, numbers, packs } = setUp({
        faults: () => (failures-- > 0 ? fault : undefined),
      });
      await inTime(clock, put());
      assert.equal(sent.length, 6);
      assert.equal(new Set(sent.map(({ key, bytes }) => `${key} ${bytes.toString('hex')}`)).size, 1);
      assert.deepEqual([objectsIn(bucket), numbers.floor, packs.packs], [1, 1, 1]);
    });
  }

  it('keeps the number of a pack in use until it is stored: others look again from there', async () => {
    let isDown = true;
    const { clock, put, numbers } = setUp({ faults: () => (isDown ? 'fail-before' : undefined) });
    const added = put();
    await pass(clock, 3000, 100);
    assert.equal(numbers.floor, 0);
    isDown = false;
    await inTime(clock, added);
    assert.equal(numbers.floor, 1);
  });

  it('takes no number before it is known which were used', async () => {
    const { promise: connected, resolve } = deferred();
    const { clock, sent, put, numbers } = setUp({ connected });
    const added = put();
    await pass(clock, 1000, 100);
    numbers.sawFloor(42);
    assert.equal(sent.length, 0);
    resolve();
    await inTime(clock, added);
    assert.match(sent[0]?.key ?? '', /00000000002a-a0a0a0a0$/);
  });

  describe('flush', () => {
    it('stores at once what was added, without patience or tokens', async () => {
      const { packs, put, sent } = setUp({ rate: 0.001 });
      for (let at = 0; at < 5; at++) {
        const added = put(10, 1_000_000);
        await packs.flush();
        await added;
      }
      assert.equal(sent.length, 5);
    });

    it('does nothing when nothing waits', async () => {
      const { packs, sent } = setUp();
      await packs.flush();
      assert.equal(sent.length, 0);
    });

    it('stores all of it also when another flush ends before', async () => {
      const { clock, packs, put, sent } = setUp({ latencyMs: () => 100 });
      const early = put(10, 1_000_000);
      const first = packs.flush();
      for (let at = 0; at < 8; at++) void put(PACK_BYTES, 1_000_000);
      const late = put(10, 1_000_000);
      const second = packs.flush();
      await inTime(clock, Promise.all([early, first]), 10);
      await inTime(clock, Promise.all([late, second]), 10);
      assert.equal(sent.length, 10);
      assert.ok(clock.monotonicMs() < 1_000_001_000, 'nobody waited for its patience');
    });

    it('fails when the writer is closed while a pack is on its way', async () => {
      const { clock, packs, put } = setUp({ faults: () => 'hang' });
      const added = assert.rejects(put(10, 0), ofKind('unavailable'));
      await pass(clock, 10);
      const flushed = assert.rejects(packs.flush(), ofKind('unavailable'));
      await packs.close();
      await Promise.all([added, flushed]);
    });
  });

  describe('close', () => {
    it('gives up what is gathered, on its way, or between two tries, and leaves no timer', async () => {
      for (const fault of ['hang', 'fail-before'] as const) {
        const { clock, bucket, packs, put, numbers } = setUp({ faults: () => fault });
        const running = [put(PACK_BYTES), put(PACK_BYTES), put(PACK_BYTES), put(PACK_BYTES), put(PACK_BYTES)];
        await pass(clock, 10);
        const added = [...running, put(10, 1000)].map((each) => assert.rejects(each, ofKind('unavailable')));
        await packs.close();
        await Promise.all(added);
        assert.deepEqual([objectsIn(bucket), clock.armed], [0, 0]);
        assert.equal(numbers.floor, 3, 'the numbers that were taken are settled');
      }
    });

    it('gives up what waits for the connection', async () => {
      const { clock, packs, put } = setUp({ connected: deferred().promise });
      const added = assert.rejects(put(10, 0), ofKind('unavailable'));
      await pass(clock, 10);
      await packs.close();
      await added;
    });

    it('takes nothing more', async () => {
      const { packs, put } = setUp();
      await packs.close();
      await assert.rejects(put(), ofKind('unavailable'));
    });

    it('leaves nothing unhandled if nobody waits any more', async () => {
      const { clock, packs, put } = setUp({ faults: () => 'fail-before' });
      put().catch(() => undefined);
      await pass(clock, 10);
      await packs.close();
      await turns(5);
    });
  });
});
