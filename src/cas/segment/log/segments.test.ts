import assert from 'node:assert/strict';
import { truncateSync } from 'node:fs';
import { ofKind } from '../../../../test/support/expectations.ts';
import { SegmentWorld } from '../../../../test/support/segment-world.ts';
import { systemCode } from '../../../errors.ts';
import { recordBytes, SEGMENT_HEADER_BYTES } from './format.ts';
import { FILE_OVERHEAD_BYTES } from './segment-file.ts';
import { READ_AT_ONCE_BYTES, readRecord } from './segments.ts';

const EMPTY_BYTES = SEGMENT_HEADER_BYTES + FILE_OVERHEAD_BYTES;
/** For worlds whose records are larger than what is read at once. */
const LARGE_SEGMENTS = { segmentBytes: 1024 * 1024 };

describe('Segments', () => {
  const idsOf = ({ parts: { segments } }: SegmentWorld): number[] => [...segments].map(({ id }) => id);
  const diskBytes = ({ parts: { segments } }: SegmentWorld): number =>
    [...segments].reduce((sum, segment) => sum + segment.diskBytes, 0);
  const used = (world: SegmentWorld): number => world.parts.space.partBytes('segments');
  const oldest = ({ parts }: SegmentWorld) => {
    assert.ok(parts.segments.oldest);
    return parts.segments.oldest;
  };

  it('lists the segments from the oldest to the newest, also those that were there at the start', async () => {
    const world = await SegmentWorld.open();
    await world.fill(20, 1);
    assert.deepEqual([idsOf(world), world.parts.segments.count, oldest(world).id], [[1, 2, 3], 3, 1]);
    const again = await world.afterCrash();
    assert.deepEqual(idsOf(again).slice(0, 3), [1, 2, 3]);
  });

  it('takes room for what there is at the start and for what is created, header and rounding included', async () => {
    const world = await SegmentWorld.open();
    assert.equal(used(world), EMPTY_BYTES);
    await world.fill(20, 1);
    assert.equal(used(world), 3 * EMPTY_BYTES + 20 * recordBytes(32 + 1000));
    assert.equal(used(world), diskBytes(world));
    const again = await world.afterCrash();
    assert.equal(used(again), diskBytes(again));
  });

  it('removes a segment and gives its room back, and never uses its number again', async () => {
    const world = await SegmentWorld.open();
    await world.fill(20, 1);
    const { segments } = world.parts;
    const [, , newest] = segments;
    assert.ok(newest);
    await segments.retire(newest);
    assert.deepEqual([idsOf(world), used(world)], [[1, 2], diskBytes(world)]);
    assert.equal(segments.create().id, 4);
  });

  it('keeps the segment and its room if its file cannot be removed', async () => {
    const world = await SegmentWorld.open();
    await world.fill(20, 1);
    const before = used(world);
    world.files.failOn('EIO', (call) => call === 'unlink');
    await assert.rejects(world.parts.segments.retire(oldest(world)), (error) => systemCode(error) === 'EIO');
    assert.deepEqual([idsOf(world), used(world)], [[1, 2, 3], before]);
  });

  it('gives the room back only when the last reader has ended', async () => {
    const world = await SegmentWorld.open();
    await world.fill(20, 1);
    const before = used(world);
    const segment = oldest(world);
    segment.pin();
    const retiring = world.parts.segments.retire(segment);
    assert.equal(used(world), before);
    segment.unpin();
    await retiring;
    assert.equal(used(world), before - segment.diskBytes);
  });

  it('takes no room for a segment that cannot be created', async () => {
    const world = await SegmentWorld.open();
    for (const failing of ['open', 'write']) {
      world.files.failOn('ENOSPC', (call) => call === failing);
      assert.throws(
        () => world.parts.segments.create(),
        (error) => systemCode(error) === 'ENOSPC',
      );
    }
    assert.deepEqual([idsOf(world), used(world)], [[1], EMPTY_BYTES]);
  });

  it('tells when the oldest segment was ended: when the next was begun, or now', async () => {
    const world = await SegmentWorld.open();
    world.clock.advance(10_000);
    await world.fill(8, 1);
    world.clock.advance(10_000);
    const { segments } = world.parts;
    assert.equal(segments.oldestEndSeconds, 10);
    await segments.retire(oldest(world));
    assert.equal(segments.oldestEndSeconds, 20);
  });

  it('tells the same if an attempt to begin the next one failed before', async () => {
    const world = await SegmentWorld.open();
    await world.fill(7, 1);
    world.clock.advance(10_000);
    world.files.failOn('ENOSPC', (call) => call === 'open');
    await assert.rejects(world.fill(1, 100), ofKind('quota-exceeded'));
    world.files.mend();
    await world.fill(1, 100);
    world.clock.advance(50_000);
    assert.deepEqual([world.parts.segments.count, world.parts.segments.oldestEndSeconds], [2, 10]);
  });

  describe('reading a record', () => {
    for (const [what, options, sizeBytes] of [
      ['small', {}, 1000],
      ['large', LARGE_SEGMENTS, 200_000],
    ] as const) {
      const stored = async (): Promise<{ world: SegmentWorld; row: number }> => {
        const world = await SegmentWorld.open(options);
        return { world, row: world.rowOf(await world.put(sizeBytes, 1)) };
      };
      const read = async ({ world, row }: { world: SegmentWorld; row: number }): Promise<Buffer> =>
        world.parts.segments.readRow(world.index.table, row);

      it(`gives all of a ${what} one`, async () => {
        assert.equal((await read(await stored())).length, recordBytes(32 + sizeBytes));
      });

      it(`says that a ${what} one is lost if the segment ends before it does`, async () => {
        const found = await stored();
        truncateSync(found.world.segmentPath(1), SEGMENT_HEADER_BYTES + 100);
        await assert.rejects(read(found), ofKind('data-loss'));
      });

      for (const [code, kind] of [
        ['EIO', 'data-loss'],
        ['ENOMEM', 'unavailable'],
      ] as const) {
        it(`answers ${kind} if the device says ${code} for a ${what} one`, async () => {
          const found = await stored();
          found.world.files.failOn(code, (call) => call === 'read');
          await assert.rejects(read(found), ofKind(kind));
        });
      }
    }

    it('reads small ones at once, and keeps the file while it waits for a large one', async () => {
      const world = await SegmentWorld.open(LARGE_SEGMENTS);
      const segment = oldest(world);
      await world.put(READ_AT_ONCE_BYTES, 1);
      const bytes = recordBytes(32 + READ_AT_ONCE_BYTES);
      assert.ok(Buffer.isBuffer(readRecord(segment, SEGMENT_HEADER_BYTES, READ_AT_ONCE_BYTES)));
      const reading = readRecord(segment, SEGMENT_HEADER_BYTES, bytes);
      const retiring = world.parts.segments.retire(segment);
      assert.equal((await reading).length, bytes);
      await retiring;
    });
  });
});
