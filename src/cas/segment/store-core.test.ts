import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { deferred } from '../../../test/support/deferred.ts';
import { ofKind } from '../../../test/support/expectations.ts';
import { SegmentWorld } from '../../../test/support/segment-world.ts';
import type { Digest } from '../../digest/digest.ts';
import { BugError, ReapiError } from '../../errors.ts';
import { NO_LOG } from '../../system/log.ts';
import { Quarantine } from '../../system/quarantine.ts';
import { type NewRecord, parseRecord, recordBytes } from './log/format.ts';
import { RowKey } from './record-index/row-key.ts';
import { StoreCore } from './store-core.ts';

function record(key: string, writtenMs = 5): Omit<NewRecord, 'sequence'> {
  return { kind: 1, isRemoval: false, key: Buffer.from(key.padEnd(32)), data: Buffer.from('data'), writtenMs };
}

const RECORD_BYTES = recordBytes(36);

const DAMAGE = { bytes: Buffer.from('damaged'), reason: 'a test' };

function mustNotEnter(): void {
  assert.fail('it was entered');
}

describe('StoreCore', () => {
  let world: SegmentWorld;
  let core: StoreCore;

  beforeEach(async () => {
    world = await SegmentWorld.open();
    core = world.parts.core;
  });

  const used = (): number => world.parts.space.partBytes('segments');
  const end = (): number => [...world.parts.segments].at(-1)?.sizeBytes ?? 0;
  const one = async (): Promise<Digest> => {
    const [digest] = await world.fill(1, 1);
    assert.ok(digest);
    return digest;
  };
  const readOf = async (digest: Digest): Promise<Buffer | undefined> => core.readRow(world.rowOf(digest));

  describe('appending', () => {
    it('numbers records, says where they stand, and takes their room', async () => {
      const before = used();
      const offsets: number[] = [];
      assert.equal(core.nextSequence, 1);
      for (const key of ['a', 'b', 'c']) {
        await core.append(record(key), ({ segment, offset, payloadBytes }) => {
          assert.deepEqual([segment, payloadBytes], [1, 36]);
          offsets.push(offset);
        });
      }
      assert.deepEqual(offsets, [32, 32 + RECORD_BYTES, 32 + 2 * RECORD_BYTES]);
      assert.equal(used() - before, 3 * RECORD_BYTES);
      assert.equal(core.nextSequence, 4);
      const bytes = readFileSync(world.segmentPath(1));
      const sequences = offsets.map((offset) => {
        const parsed = parseRecord(core.mark, bytes.subarray(offset));
        return 'damage' in parsed ? parsed.damage : parsed.header.sequence;
      });
      assert.deepEqual(sequences, [1, 2, 3]);
    });

    for (const [code, kind] of [
      ['ENOSPC', 'quota-exceeded'],
      ['EIO', 'unavailable'],
    ] as const) {
      it(`gives the room back and enters nothing if the disk says ${code}`, async () => {
        const before = used();
        world.files.failOn(code, (call) => call === 'write');
        await assert.rejects(core.append(record('a'), mustNotEnter), ofKind(kind));
        assert.equal(used(), before);
      });
    }

    it('refuses when there is no room and nothing may go, without a trace in the log', async () => {
      const { space, sizes } = world.parts;
      space.add('other', 16 * 1024 * 1024 * 4 - space.usedBytes - sizes.segmentBytes);
      await assert.rejects(core.append(record('a'), mustNotEnter), ofKind('quota-exceeded'));
      assert.equal(end(), 32);
    });

    it('writes 1970 if the wall clock was never set', async () => {
      await core.append(record('a', -1e12), () => undefined);
      await core.append(record('b', 17.9), () => undefined);
      const bytes = readFileSync(world.segmentPath(1));
      const times = [32, 32 + RECORD_BYTES].map((offset) => {
        const parsed = parseRecord(core.mark, bytes.subarray(offset));
        return 'damage' in parsed ? parsed.damage : parsed.header.writtenMs;
      });
      assert.deepEqual(times, [0, 17]);
    });

    it('is unavailable before it has a log, and keeps no room then', async () => {
      const { space, segments } = world.parts;
      const quarantine = new Quarantine(world.files, join(world.folder, 'other'));
      const parts = { clock: world.clock, log: NO_LOG, files: world.files, index: core.index, segments, space };
      const early = new StoreCore({ ...parts, quarantine, nextSequence: 1 });
      const before = used();
      await assert.rejects(early.append(record('a'), mustNotEnter), ofKind('unavailable'));
      assert.equal(used(), before);
      await early.close();
    });
  });

  describe('reading', () => {
    it('gives the record, and puts nothing aside', async () => {
      const digest = await one();
      const parsed = parseRecord(core.mark, (await readOf(digest)) ?? Buffer.alloc(0));
      assert.ok(!('damage' in parsed) && parsed.key.toString('hex') === digest.hash);
      assert.equal(core.quarantined, 0);
    });

    it('puts a record aside that the device cannot read', async () => {
      const digest = await one();
      world.files.failOn('EIO', (call) => call === 'read');
      assert.equal(await readOf(digest), undefined);
      assert.deepEqual([world.rowOf(digest), core.quarantined, world.quarantined()], [-1, 1, []]);
    });

    it('keeps a record that cannot be read just now', async () => {
      const digest = await one();
      world.files.failOn('ENOMEM', (call) => call === 'read');
      await assert.rejects(readOf(digest), ofKind('unavailable'));
      world.files.mend();
      assert.ok(await readOf(digest));
      assert.equal(core.quarantined, 0);
    });

    it('does the same for records that take a while to read', async () => {
      world = await SegmentWorld.open({ segmentBytes: 1024 * 1024 });
      core = world.parts.core;
      const digest = await world.put(200_000, 1);
      world.files.failOn('ENOMEM', (call) => call === 'read');
      await assert.rejects(readOf(digest), ofKind('unavailable'));
      world.files.failOn('EIO', (call) => call === 'read');
      assert.equal(await readOf(digest), undefined);
      assert.deepEqual([world.rowOf(digest), core.quarantined], [-1, 1]);
    });
  });

  describe('putting aside', () => {
    it('keeps the bytes for people, and makes a blob absent for good', async () => {
      const digest = await one();
      world.putAside(digest, DAMAGE.bytes);
      assert.deepEqual([world.rowOf(digest), core.quarantined], [-1, 1]);
      assert.deepEqual(world.quarantined(), [`1-${digest.hash}`]);
      assert.equal(readFileSync(join(world.segmentFolder, 'quarantine', `1-${digest.hash}`), 'utf8'), 'damaged');
      assert.deepEqual(world.names(/damaged$/), []);
      assert.deepEqual(
        world.lines.map(({ level }) => level),
        ['error'],
      );
      await core.close();
      assert.equal(await (await world.afterCrash()).missing([digest]), 1);
    });

    it('writes no removal of an entry, whose key is lost with it', async () => {
      await world.putEntry('key', 'value');
      const before = end();
      let place = { segment: 0, offset: 0 };
      const key = new RowKey();
      core.index.table.forEachRow((row) => {
        core.index.table.readKey(row, key);
        place = core.placeOf(row);
      });
      core.putAside(key, place, DAMAGE);
      await core.close();
      assert.deepEqual([end(), core.index.entries, world.quarantined().length], [before, 0, 1]);
    });

    it('does nothing for what is not there', () => {
      core.putAside(new RowKey().setHex(1, 'ab'.repeat(32)), { segment: 1, offset: 32 }, DAMAGE);
      assert.deepEqual([core.quarantined, world.quarantined(), world.lines], [0, [], []]);
    });

    it('makes it absent also if its bytes cannot be kept, and leaves no descriptor behind', async () => {
      for (const failing of ['open', 'write', 'rename'] as const) {
        const digest = await one();
        world.files.failOn('ENOSPC', (call, path) => call === failing && !path.endsWith('.segment'));
        world.putAside(digest, DAMAGE.bytes);
        world.files.mend();
        assert.equal(world.rowOf(digest), -1);
      }
      await core.close();
      assert.equal(core.quarantined, 3);
      assert.deepEqual(world.quarantined(), []);
    });

    it('logs that the removal could not be written, and goes on', async () => {
      const digest = await one();
      world.files.failOn('EIO', (call) => call === 'write');
      world.putAside(digest);
      await core.close();
      assert.deepEqual(
        world.lines.map(({ level }) => level),
        ['error', 'warn'],
      );
    });
  });

  describe('closing', () => {
    it('refuses further calls', async () => {
      core.throwIfClosed();
      await core.close();
      assert.throws(() => core.throwIfClosed(), ofKind('unavailable'));
    });

    it('waits for work in the background, also for what that begins', async () => {
      const first = deferred();
      const done: string[] = [];
      const second = async (): Promise<void> => {
        await Promise.resolve();
        done.push('second');
      };
      const begin = async (): Promise<void> => {
        await first.promise;
        done.push('first');
        core.inBackground(second());
      };
      core.inBackground(begin());
      const closing = core.close();
      first.resolve();
      await closing;
      assert.deepEqual(done, ['first', 'second']);
    });

    it('logs work that fails, whatever it fails with', async () => {
      for (const error of [new ReapiError('unavailable', 'x'), new BugError('y')]) {
        core.inBackground(Promise.reject(error));
      }
      await core.close();
      assert.deepEqual(
        world.lines.map(({ level }) => level),
        ['warn', 'warn'],
      );
    });

    it('waits for what is being written', async () => {
      let isEntered = false;
      const writing = core.append(record('a'), () => {
        isEntered = true;
      });
      await core.close();
      assert.ok(isEntered);
      await writing;
    });
  });
});
