import assert from 'node:assert/strict';
import { ofKind } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { type FileSystem, NODE_FILE_SYSTEM } from '../../system/file-system.ts';
import { Space, type SpaceOptions } from './space.ts';

describe('Space', () => {
  let freeBytes: number;
  let refusals: string[];
  const clock = new FakeClock();
  const files: FileSystem = { ...NODE_FILE_SYSTEM, freeBytes: () => freeBytes };

  beforeEach(() => {
    freeBytes = Number.MAX_SAFE_INTEGER;
    refusals = [];
  });

  const create = (options: Partial<SpaceOptions> = {}): Space =>
    new Space({
      ...{ files, clock, path: '/', maxBytes: 1000, reserveBytes: 100, minFreeBytes: 0 },
      events: { committed: () => undefined, evicted: () => undefined, refused: (reason) => refusals.push(reason) },
      free: () => Promise.resolve(0),
      isPinned: () => false,
      ...options,
    });

  it('gives room up to the limit without the reserve, which only copies may use', async () => {
    const space = create();
    assert.equal(space.tryTake('segments', 500), true);
    assert.equal(space.tryTake('files', 401), false);
    assert.equal(space.tryTake('files', 400), true);
    assert.equal(space.tryTake('other', 1), false);
    space.add('segments', 100);
    assert.equal(space.usedBytes, 1000);
    space.give('files', 400);
    assert.equal(space.partBytes('files'), 0);
    await space.take('files', 300);
  });

  it('frees as long as something goes, then refuses with a time to try again', async () => {
    const freed = [300, 300, 0];
    const space: Space = create({
      free: async () => {
        const bytes = freed.shift() ?? 0;
        space.give('segments', bytes);
        return bytes;
      },
    });
    space.add('segments', 900);
    await space.take('segments', 500);
    assert.deepEqual(freed, [0]);
    const refused = space.take('segments', 500);
    await assert.rejects(refused, (error) => ofKind('quota-exceeded')(error) && /--max-size/.test(String(error)));
    await assert.rejects(refused, { facts: { retryAfterMs: 1000 } });
    assert.deepEqual(refusals, ['disk-full']);
    assert.equal(space.usedBytes, 800);
  });

  it('gives room that appears while it looks for some, though nothing may go', async () => {
    for (const appear of [(space: Space) => space.give('files', 300), (space: Space) => space.reserve(0)]) {
      const space: Space = create({
        isPinned: () => true,
        reserveBytes: 300,
        free: async () => {
          appear(space);
          return 0;
        },
      });
      space.add('files', 700);
      await space.take('segments', 200);
      assert.equal(space.partBytes('segments'), 200);
    }
    assert.deepEqual(refusals, []);
  });

  it('says that it is full of what is pinned, and when to try again', async () => {
    for (const [minFreeBytes, expected] of [
      [0, /full \(1000 bytes\).* pinned/],
      [1000, /floor of 1000 free bytes.* pinned/],
    ] as const) {
      const space = create({ isPinned: () => true, minFreeBytes });
      space.add('segments', minFreeBytes === 0 ? 900 : 500);
      freeBytes = minFreeBytes === 0 ? Number.MAX_SAFE_INTEGER : 900;
      const refused = space.take('segments', 50);
      await assert.rejects(refused, (error) => ofKind('quota-exceeded')(error) && expected.test(String(error)));
      await assert.rejects(refused, { facts: { retryAfterMs: 3000 } });
    }
    assert.deepEqual(refusals, ['disk-full', 'disk-full']);
  });

  it('refuses at once what could never fit', async () => {
    await assert.rejects(create().take('files', 901), ofKind('too-large'));
    assert.deepEqual(refusals, ['too-large']);
  });

  it('serves those who wait in order: small writes do not starve a large one', async () => {
    const freeing = Promise.withResolvers<void>();
    const space: Space = create({
      free: async () => {
        await freeing.promise;
        space.give('segments', 500);
        return 500;
      },
    });
    space.add('segments', 800);
    const order: string[] = [];
    const large = space.take('segments', 500).then(() => order.push('large'));
    assert.equal(space.tryTake('segments', 1), false);
    const small = space.take('segments', 1).then(() => order.push('small'));
    freeing.resolve();
    await Promise.all([large, small]);
    assert.deepEqual(order, ['large', 'small']);
    await space.settled();
  });

  it('fails only the one that does not fit', async () => {
    const space = create();
    space.add('segments', 800);
    const results = await Promise.allSettled([space.take('segments', 200), space.take('segments', 50)]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ['rejected', 'fulfilled'],
    );
    assert.equal(space.usedBytes, 850);
  });

  it('keeps the floor of free space, asking the system at most once a second while there is plenty', async () => {
    let asked = 0;
    const space = create({
      minFreeBytes: 1000,
      files: {
        ...files,
        freeBytes: () => {
          asked++;
          return freeBytes;
        },
      },
    });
    freeBytes = 1300;
    assert.equal(space.tryTake('segments', 100), true);
    assert.equal(space.tryTake('segments', 100), true);
    assert.equal(asked, 1);
    freeBytes = 1050;
    await assert.rejects(space.take('segments', 150), (error) => /floor of 1000 free bytes/.test(String(error)));
    assert.equal(space.tryTake('segments', 50), true);
    clock.advance(1000);
    freeBytes = 5000;
    assert.equal(space.tryTake('segments', 100), true);
  });

  describe('the floor of free space', () => {
    /** A store that holds 800 bytes, on a disk that has as much more after each step as `lifts` says. */
    const lifting = (lifts: readonly number[]): { readonly space: Space; readonly steps: () => number } => {
      let steps = 0;
      const space: Space = create({
        minFreeBytes: 1000,
        free: async () => {
          space.give('segments', 100);
          freeBytes += lifts[steps++] ?? 0;
          return 100;
        },
      });
      space.add('segments', 800);
      return { space, steps: () => steps };
    };

    it('is lifted by what goes, as long as that helps', async () => {
      freeBytes = 800;
      const { space, steps } = lifting([100, 50, 100]);
      await space.take('segments', 50);
      assert.deepEqual([steps(), space.usedBytes], [3, 550]);
    });

    it('costs one step if that does not help: others fill the disk', async () => {
      freeBytes = 800;
      const { space, steps } = lifting([]);
      await assert.rejects(space.take('segments', 50), ofKind('quota-exceeded'));
      assert.equal(steps(), 1);
    });

    it('costs nothing if giving up everything would not lift it', async () => {
      freeBytes = 100;
      const { space, steps } = lifting([]);
      await assert.rejects(space.take('segments', 50), ofKind('quota-exceeded'));
      assert.deepEqual([steps(), space.usedBytes, refusals], [0, 800, ['disk-full']]);
    });
  });

  it('passes on that the system cannot say how much is free', async () => {
    const broken = (): number => {
      throw Object.assign(new Error('EIO'), { code: 'EIO' });
    };
    const space = create({ minFreeBytes: 1, files: { ...files, freeBytes: broken } });
    assert.throws(() => space.tryTake('segments', 1), ofKind('unavailable'));
  });
});
