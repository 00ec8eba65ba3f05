import assert from 'node:assert/strict';
import {
  type BucketServer,
  type BucketServerOptions,
  bucketWorld,
  inTime,
  storeLarge,
  storePack,
} from '../../../test/support/bucket-server.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import type { ObjectStoreFault } from '../../../test/support/memory-object-store.ts';
import type { Container } from './containers.ts';
import { deadAfterMs } from './promises.ts';

const DEAD_AFTER_MS = deadAfterMs(10_000);

/** Two refreshes of 10 s, and the lease for promises of 100 s. */
const GRACE_MS = 2 * 10_000 + 150_000;

/** A server with a pack that it condemned and published. */
async function setUp(options: Partial<BucketServerOptions> = {}) {
  const world = bucketWorld();
  const { clock, bucket } = world;
  const server = world.server('2', options);
  const { pack, digests } = await storePack(server, 'blob');
  const condemnAndPublish = async (container: Container): Promise<void> => {
    await inTime(clock, server.condemnations.condemn([container], 0, noAbort()), 1);
    await server.refresh.run(noAbort());
  };
  const collect = async (who: BucketServer): Promise<void> => {
    await who.collector.deleteDue(noAbort());
    await who.collector.condemn(noAbort());
  };
  const run = (who: BucketServer = server): Promise<void> => inTime(clock, collect(who), 1);
  const isThere = (container: Container): boolean => bucket.objects.has(container.key);
  return { ...world, server, pack, digests, condemnAndPublish, run, isThere, newServer: world.server };
}

describe('Collector', () => {
  it('deletes a condemned container two refreshes and a lease after it was published, and no moment before', async () => {
    const { clock, server, pack, digests, condemnAndPublish, run, isThere } = await setUp();
    await condemnAndPublish(pack);
    clock.advance(GRACE_MS - 1);
    await run();
    assert.equal(isThere(pack), true);
    clock.advance(1);
    await run();
    assert.equal(isThere(pack), false);
    assert.equal(server.index.containers.find(pack.id), undefined);
    assert.ok(digests.every((digest) => server.index.keeps(digest)));
    assert.deepEqual(server.collector.counts, { condemned: 0, deleted: 1 });
  });

  it('lets no time pass before it is published', async () => {
    const { clock, server, pack, run, isThere } = await setUp();
    await inTime(clock, server.condemnations.condemn([pack], 0, noAbort()));
    clock.advance(100 * GRACE_MS);
    await run();
    assert.equal(isThere(pack), true);
  });

  it('waits as long as the slowest of the servers that live, in each respect', async () => {
    const { clock, server, newServer, pack, condemnAndPublish, run, isThere } = await setUp();
    const peers = [newServer('3', { refreshSeconds: 60 }), newServer('4', { promiseSeconds: 400 })];
    for (const peer of peers) await peer.refresh.run(noAbort());
    await condemnAndPublish(pack);
    // They tell that they have copied what they need.
    for (let round = 0; round < 2; round++) for (const peer of peers) await peer.refresh.run(noAbort());
    await server.refresh.run(noAbort());
    assert.equal(server.peers.live.length, 2);
    const grace = 2 * 60_000 + 600_000;
    clock.advance(grace - 1);
    await run();
    assert.equal(isThere(pack), true);
    clock.advance(1);
    await run();
    assert.equal(isThere(pack), false);
  });

  it('waits for a server that lives and has not copied what it needs, but for a day at most, and says so', async () => {
    const { clock, server, newServer, pack, condemnAndPublish, run, isThere } = await setUp();
    const peer = newServer('3');
    await peer.refresh.run(noAbort());
    await condemnAndPublish(pack);
    // It goes on publishing, and never says that it has dealt with what was published here.
    const dayMs = 86_400_000;
    for (let passedMs = 0; passedMs < GRACE_MS + dayMs - 600_000; passedMs += 600_000) {
      clock.advance(600_000);
      await peer.refresh.publish(noAbort());
      await server.refresh.run(noAbort());
      await run();
      assert.equal(isThere(pack), true, `after ${passedMs} ms`);
    }
    assert.equal(server.peers.live.length, 1);
    clock.advance(600_000);
    await peer.refresh.publish(noAbort());
    await server.refresh.run(noAbort());
    await run();
    assert.equal(isThere(pack), false);
    assert.ok(server.lines.some(({ msg }) => msg.includes('has not copied for a day')));
  });

  it('deletes as soon as the others have dealt with it, once the time is over', async () => {
    const { clock, server, newServer, pack, condemnAndPublish, run, isThere } = await setUp();
    const peer = newServer('3');
    await peer.refresh.run(noAbort());
    await condemnAndPublish(pack);
    clock.advance(GRACE_MS);
    await run();
    assert.equal(isThere(pack), true);
    // It reads the news, says so with its next state, and that is read here.
    for (const each of [peer, peer, server]) await each.refresh.run(noAbort());
    await run();
    assert.equal(isThere(pack), false);
  });

  it('does not wait for servers that are dead', async () => {
    const { clock, server, newServer, pack, condemnAndPublish, run, isThere } = await setUp();
    await newServer('3', { promiseSeconds: 100_000 }).refresh.run(noAbort());
    await server.refresh.run(noAbort());
    clock.advance(DEAD_AFTER_MS);
    await condemnAndPublish(pack);
    clock.advance(GRACE_MS);
    await run();
    assert.equal(isThere(pack), false);
  });

  it('leaves what others condemned to them; of a server that died, whoever follows announces it and waits anew', async () => {
    const { clock, newServer, pack, condemnAndPublish, run, isThere } = await setUp();
    const other = newServer('3');
    await other.refresh.compare(noAbort(), { isFollowing: true });
    await condemnAndPublish(pack);
    const refresh = async (): Promise<void> => {
      await other.refresh.run(noAbort());
      await inTime(clock, other.condemnations.empty(other.condemnations.unfinished, noAbort()), 1);
      await run(other);
    };
    await refresh();
    clock.advance(DEAD_AFTER_MS - 1);
    await refresh();
    assert.equal(isThere(pack), true, 'its owner lives, as far as is known');
    clock.advance(1);
    await refresh();
    await refresh();
    clock.advance(GRACE_MS - 1);
    await run(other);
    assert.equal(isThere(pack), true);
    clock.advance(1);
    await run(other);
    assert.equal(isThere(pack), false);
  });

  it('does not delete what it still has to copy, however long S3 was away', async () => {
    let isDown = false;
    const faults = (call: string) => (isDown && call !== 'delete' ? ('fail-before' as const) : undefined);
    const { clock, server, pack, digests, run, isThere } = await setUp({ faults });
    pack.condemned = {
      keepSinceSeconds: 0,
      learnedMs: clock.monotonicMs(),
      isAnnounced: true,
      publishedMs: clock.monotonicMs(),
    };
    isDown = true;
    const emptied = server.condemnations.empty([pack], noAbort());
    clock.advance(3 * GRACE_MS);
    await run();
    assert.equal(isThere(pack), true);
    isDown = false;
    await inTime(clock, emptied);
    await run();
    assert.equal(isThere(pack), false);
    assert.ok(digests.every((digest) => server.index.keeps(digest)));
  });

  describe('containers of a server that is dead', () => {
    const retentionSeconds = 10;

    /** A dead server with a pack, and two that live. */
    async function withDead() {
      const world = await setUp();
      const { clock, newServer } = world;
      const low = newServer('5', { retentionSeconds });
      const high = newServer('6', { retentionSeconds });
      await world.server.refresh.run(noAbort());
      const refresh = async (): Promise<void> => {
        for (const each of [low, high, low, high]) await each.refresh.run(noAbort());
      };
      for (const each of [low, high]) await each.refresh.compare(noAbort(), { isFollowing: true });
      await refresh();
      return { ...world, low, high, refresh, clock };
    }

    it('are looked after by the living one with the lowest name', async () => {
      const { clock, low, high, refresh, run, pack } = await withDead();
      clock.advance(DEAD_AFTER_MS - 1);
      await refresh();
      await run(low);
      assert.equal(low.collector.counts.condemned, 0, 'not before it is dead');
      clock.advance(1);
      await refresh();
      await run(high);
      assert.equal(high.collector.counts.condemned, 0, 'not by the other');
      await run(low);
      assert.equal(low.collector.counts.condemned, 1);
      assert.ok(low.index.containers.find(pack.id)?.condemned !== undefined);
    });

    it('are looked after by the next one when that one is dead, too', async () => {
      const { clock, high, run } = await withDead();
      clock.advance(DEAD_AFTER_MS);
      await high.refresh.run(noAbort());
      await run(high);
      assert.equal(high.collector.counts.condemned, 1);
    });

    it('are its own again as soon as it is heard of', async () => {
      const { clock, server, low, refresh, run } = await withDead();
      clock.advance(DEAD_AFTER_MS);
      await server.refresh.run(noAbort());
      await refresh();
      await run(low);
      assert.equal(low.collector.counts.condemned, 0);
    });
  });

  describe('when deleting fails', () => {
    for (const fault of ['fail-before', 'fail-middle', 'fail-after'] as const) {
      it(`does it again, and counts each object once: ${fault}`, async () => {
        let down: ObjectStoreFault | undefined = fault;
        const { clock, server, pack, condemnAndPublish, run, isThere } = await setUp({
          faults: (call) => (call === 'delete' ? down : undefined),
        });
        const large = storeLarge(server, 'large').container;
        await condemnAndPublish(pack);
        await condemnAndPublish(large);
        clock.advance(GRACE_MS);
        await assert.rejects(run(), ofKind('unavailable'));
        assert.ok(server.index.containers.find(pack.id) !== undefined);
        assert.equal(server.collector.counts.deleted, 0);
        down = undefined;
        await run();
        assert.deepEqual([isThere(pack), isThere(large)], [false, false]);
        assert.equal(server.collector.counts.deleted, 2);
      });
    }
  });

  it('condemns what the rules choose of its own, and nothing of servers that live', async () => {
    const { clock, server, newServer, pack, run } = await setUp({ retentionSeconds: 1000 });
    const other = newServer('1', { retentionSeconds: 1000 });
    const { pack: theirs } = await storePack(other, 'theirs');
    await other.refresh.run(noAbort());
    await server.refresh.compare(noAbort(), { isFollowing: true });
    await server.refresh.run(noAbort());
    clock.advance(1_000_000);
    await run();
    assert.ok(pack.condemned !== undefined);
    assert.equal(server.index.containers.find(theirs.id)?.condemned, undefined);
    assert.equal(server.collector.counts.condemned, 1);
  });
});
