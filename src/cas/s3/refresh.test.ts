import assert from 'node:assert/strict';
import {
  type BucketServer,
  type BucketServerOptions,
  bucketWorld,
  inTime,
  storeEntry,
  storePack,
} from '../../../test/support/bucket-server.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import type { FakeClock } from '../../../test/support/fake-clock.ts';
import type { ObjectStoreFault } from '../../../test/support/memory-object-store.ts';
import type { Digest } from '../../digest/digest.ts';
import { containerKey, writerKey } from './object-names.ts';
import { PackBuilder } from './pack-builder.ts';
import type { RecoveryProgress } from './refresh.ts';
import { decodeWriterState, isSinceState, stateName } from './writer-state.ts';

const A = '1';
const B = '2';

/** Two servers that have met. */
async function setUp(options: Partial<BucketServerOptions> = {}) {
  const { clock, bucket, server } = bucketWorld();
  const a = server(A);
  const b = server(B, options);
  for (const each of [a, b, a]) {
    await each.refresh.compare(noAbort(), { isFollowing: true });
    await each.refresh.run(noAbort());
  }
  return { clock, bucket, server, a, b };
}

const run = (server: BucketServer): Promise<void> => server.refresh.run(noAbort());

function knows(server: BucketServer, digests: readonly Digest[]): boolean {
  return digests.every((digest) => server.index.keeps(digest));
}

describe('Refresh', () => {
  describe('run', () => {
    it('learns what another server stored, and of how far its versions are', async () => {
      const { a, b } = await setUp();
      const { digests } = await storePack(a, 'one', 'two');
      await storeEntry(a, 'key', 99);
      await run(a);
      assert.equal(knows(b, digests), false);
      await run(b);
      assert.equal(knows(b, digests), true);
      assert.equal(b.index.maxSequence, 99);
    });

    it('publishes states that rise, whatever happens to the wall clock', async () => {
      const { clock, bucket, a } = await setUp();
      const published = (): string => {
        const state = decodeWriterState(bucket.objects.get(writerKey(a.numbers.writer))?.bytes ?? new Uint8Array());
        return stateName(state);
      };
      const before = published();
      clock.jump(-600_000);
      await run(a);
      assert.equal(isSinceState(published(), before), true);
      assert.equal(isSinceState(before, published()), false);
    });

    it('costs one listing beside the own state if nobody has news', async () => {
      const calls: string[] = [];
      const { b } = await setUp({ faults: (call, key) => void calls.push(`${call} ${key.split('/')[0]}`) });
      await run(b);
      calls.length = 0;
      await run(b);
      assert.deepEqual(calls, ['get writers', 'put writers', 'list writers']);
    });

    it('lists only what may be new', async () => {
      const { a, b } = await setUp();
      for (let at = 0; at < 5; at++) await storePack(a, `blob ${at}`);
      await run(a);
      await run(b);
      const afters: (string | undefined)[] = [];
      const list = b.objects.list.bind(b.objects);
      b.objects.list = (prefix, after, signal) => {
        if (prefix.startsWith('packs/')) afters.push(after);
        return list(prefix, after, signal);
      };
      const { digests } = await storePack(a, 'news');
      await run(a);
      await run(b);
      assert.deepEqual(afters, [`packs/${A.repeat(16)}/000000000005`]);
      assert.equal(knows(b, digests), true);
    });

    it('sees a container that appears late, below the highest number that is there', async () => {
      const { a, b, bucket, clock } = await setUp();
      const late = a.numbers.take();
      const { digests } = await storePack(a, 'after it');
      await run(a);
      await run(b);
      assert.equal(knows(b, digests), true);
      const builder = new PackBuilder(late, 1);
      builder.addBlob(1, 'ab'.repeat(32), Buffer.from('late'));
      bucket.set(containerKey({ id: late }), Buffer.concat([...builder.finish()]), clock.nowMs());
      a.numbers.settle(late);
      await run(a);
      await run(b);
      assert.ok(b.index.containers.find(late) !== undefined);
    });

    it('learns what others condemned', async () => {
      const { a, b, clock } = await setUp();
      const { pack } = await storePack(a, 'one');
      await run(a);
      await run(b);
      assert.equal(b.index.containers.find(pack.id)?.condemned, undefined);
      await inTime(clock, a.condemnations.condemn([pack], 0, noAbort()));
      await run(a);
      await run(b);
      assert.equal(b.index.containers.find(pack.id)?.condemned?.learnedMs, clock.monotonicMs());
    });

    it('keeps what it learned before it failed', async () => {
      let down: ObjectStoreFault | undefined;
      const third = '3'.repeat(16);
      const { a, b, clock, server } = await setUp({
        faults: (call, key) => (call === 'list' && key === `packs/${third}/` ? down : undefined),
      });
      const { pack } = await storePack(a, 'one');
      await run(a);
      await run(b);
      const c = server('3');
      await c.refresh.compare(noAbort(), { isFollowing: true });
      await run(c);
      await inTime(clock, a.condemnations.condemn([pack], 0, noAbort()));
      await run(a);
      down = 'fail-before';
      await assert.rejects(run(b), ofKind('unavailable'));
      assert.ok(b.index.containers.find(pack.id)?.condemned !== undefined);
    });

    it('reads the news that failed again, though the state of the other is the same, before it relies on them', async () => {
      let down: ObjectStoreFault | undefined;
      const { a, b, clock } = await setUp({
        faults: (call, key) => (call === 'list' && key.startsWith('packs/') ? down : undefined),
      });
      const { digests } = await storePack(a, 'one');
      await run(a);
      down = 'fail-before';
      clock.advance(5000);
      await assert.rejects(run(b), ofKind('unavailable'));
      await assert.rejects(run(b), ofKind('unavailable'));
      assert.equal(b.promises.staleMs, 5000, 'what is known is as old as before');
      down = undefined;
      await run(b);
      assert.equal(knows(b, digests), true);
      assert.equal(b.promises.staleMs, 0);
    });

    it('counts what it knows from the beginning of the refresh, not from its end', async () => {
      let passing: FakeClock | undefined;
      const { b, clock } = await setUp({ faults: (call) => void (call === 'list' && passing?.advance(300)) });
      await run(b);
      passing = clock;
      clock.advance(700);
      await run(b);
      assert.equal(b.promises.staleMs, 300);
    });

    it('learns that a container is condemned which it finds only afterwards', async () => {
      const { server, clock, a, b } = await setUp();
      const dead = server('9');
      const { pack } = await storePack(dead, 'of a server that died before it published');
      await a.refresh.compare(noAbort(), { isFollowing: true });
      await inTime(clock, a.condemnations.condemn([pack], 0, noAbort()));
      await run(a);
      await run(b);
      assert.equal(b.index.containers.find(pack.id), undefined);
      await b.refresh.compare(noAbort(), { isFollowing: true });
      assert.ok(b.index.containers.find(pack.id)?.condemned !== undefined);
    });

    it('refuses to go on if a newer version shares the bucket', async () => {
      const { b, bucket, clock } = await setUp();
      bucket.set(`writers/${'7'.repeat(16)}`, Buffer.from('{"version":2}'), clock.nowMs());
      await assert.rejects(run(b), ofKind('precondition'));
    });

    for (const [what, bytes] of [
      ['is no JSON', Buffer.from('{')],
      ['lacks facts', Buffer.from('{"version":1}')],
      ['is too long', Buffer.alloc(65_537, ' ')],
    ] as const) {
      it(`passes over a state that ${what}`, async () => {
        const { a, b, bucket, clock } = await setUp();
        bucket.set(`writers/${'7'.repeat(16)}`, bytes, clock.nowMs());
        const { digests } = await storePack(a, 'one');
        await run(a);
        await run(b);
        assert.equal(knows(b, digests), true);
        assert.equal(b.peers.get('7'.repeat(16)), undefined);
      });

      it(`writes its own state anew if that ${what}`, async () => {
        const { b, bucket, clock } = await setUp();
        const key = `writers/${B.repeat(16)}`;
        bucket.set(key, bytes, clock.nowMs());
        await run(b);
        assert.match(Buffer.from(bucket.objects.get(key)?.bytes ?? []).toString(), /"nonce":"a0a0a0a0"/);
      });
    }

    it('forgets a server whose state is gone', async () => {
      const { b, bucket } = await setUp();
      assert.equal(b.peers.live.length, 1);
      bucket.objects.delete(`writers/${A.repeat(16)}`);
      await run(b);
      assert.equal(b.peers.get(A.repeat(16)), undefined);
    });
  });

  describe('publish', () => {
    it('finds out that another server runs with a copy of the data folder', async () => {
      const { server, b } = await setUp();
      const twin = server(B, { nonce: 'ffffffff' });
      for (let at = 0; at < 2; at++) {
        await run(twin);
        await run(b);
      }
      await run(twin);
      await assert.rejects(run(b), ofKind('precondition'));
    });

    it('goes on when the last states of an earlier process of its own arrive late', async () => {
      const { server, bucket, b, clock } = await setUp();
      const key = `writers/${B.repeat(16)}`;
      const late = bucket.objects.get(key)?.bytes ?? new Uint8Array();
      const again = server(B, { nonce: 'ffffffff' });
      await run(again);
      for (let at = 0; at < 5; at++) {
        bucket.set(key, late, clock.nowMs());
        await run(again);
      }
      assert.equal(b.lines.length, 0);
    });

    it('takes over the name from an earlier start of itself', async () => {
      const { server, clock } = await setUp();
      const again = server(B, { nonce: 'ffffffff' });
      await run(again);
      clock.advance(1);
      await run(again);
    });

    it('changes the state each time, so that others see that it lives', async () => {
      const { a, b, clock } = await setUp();
      clock.advance(1000);
      await run(a);
      await run(b);
      const first = b.peers.get(A.repeat(16));
      assert.equal(first?.changedMs, clock.monotonicMs());
      clock.advance(1000);
      await run(b);
      assert.equal(first?.changedMs, clock.monotonicMs() - 1000);
      await run(a);
      await run(b);
      assert.equal(first?.changedMs, clock.monotonicMs());
    });

    it('does not start the time of a condemnation if the state may not be there', async () => {
      let down: ObjectStoreFault | undefined;
      const { b, clock } = await setUp({ faults: (_, key) => (key.startsWith('writers/2') ? down : undefined) });
      const { pack } = await storePack(b, 'one');
      await inTime(clock, b.condemnations.condemn([pack], 0, noAbort()));
      down = 'fail-after';
      await assert.rejects(run(b), ofKind('unavailable'));
      assert.equal(pack.condemned?.publishedMs, undefined);
      down = undefined;
      await run(b);
      assert.equal(pack.condemned?.publishedMs, clock.monotonicMs());
    });
  });

  describe('compare', () => {
    it('finds what was missed, of whomever it is', async () => {
      const { server, b } = await setUp();
      const { digests } = await storePack(server('9'), 'one');
      const steps: string[] = [];
      const onProgress = ({ listed, done, total }: RecoveryProgress) => void steps.push(`${listed} ${done}/${total}`);
      await b.refresh.compare(noAbort(), { isFollowing: true, onProgress });
      assert.equal(knows(b, digests), true);
      assert.deepEqual(steps, ['1 0/0', '1 1/1']);
    });

    it('forgets what somebody removed, and counts the rows that were lost with it', async () => {
      const { b, bucket } = await setUp();
      const { pack, digests } = await storePack(b, 'one', 'two');
      const kept = await storePack(b, 'three');
      bucket.objects.delete(pack.key);
      assert.equal(await b.refresh.compare(noAbort(), { isFollowing: true }), 2);
      assert.deepEqual([knows(b, digests), knows(b, kept.digests)], [false, true]);
      assert.ok(b.lines.some(({ level }) => level === 'error'));
    });

    it('looks for lost rows in all packs if it has followed, and else reads only what it does not know', async () => {
      for (const isFollowing of [true, false]) {
        const { b, server, bucket } = await setUp();
        const dead = server('9');
        await storePack(dead, 'one', 'two');
        await b.refresh.compare(noAbort(), { isFollowing: true });
        const { pack, digests } = await storePack(b, 'one');
        await storePack(b, 'three');
        await storePack(dead, 'four');
        bucket.objects.delete(pack.key);
        const before = b.objects.counts.of('get').requests;
        assert.equal(await b.refresh.compare(noAbort(), { isFollowing }), 1);
        assert.equal(knows(b, digests), isFollowing, 'another pack has it, too');
        assert.equal(b.objects.counts.of('get').requests - before, isFollowing ? 3 : 1);
      }
    });

    it('counts nothing lost with a condemned container: its owner deleted it', async () => {
      const { b, bucket } = await setUp();
      const { pack } = await storePack(b, 'one');
      pack.condemned = { keepSinceSeconds: 0, learnedMs: 0, isAnnounced: true, publishedMs: 0 };
      bucket.objects.delete(pack.key);
      assert.equal(await b.refresh.compare(noAbort(), { isFollowing: true }), 0);
      assert.equal(b.index.containers.find(pack.id), undefined);
    });

    it('does not take for lost what was stored while it listed', async () => {
      const { b } = await setUp();
      const list = b.objects.list.bind(b.objects);
      let stored: readonly Digest[] = [];
      b.objects.list = async function* (...args) {
        yield* list(...args);
        stored = (await storePack(b, 'meanwhile')).digests;
      };
      assert.equal(await b.refresh.compare(noAbort(), { isFollowing: true }), 0);
      assert.equal(knows(b, stored), true);
    });
  });
});
