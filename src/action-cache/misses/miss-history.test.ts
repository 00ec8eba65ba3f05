import assert from 'node:assert/strict';
import { ActionWorld, metadataOf } from '../../../test/support/action-world.ts';
import { noAbort } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { type Digest, digestToWire } from '../../digest/digest.ts';
import type { DigestFunction } from '../../digest/digest-function.ts';
import { digestOf } from '../../digest/hasher.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { Tree } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { resultEntryKey } from '../entry-action-store.ts';
import { MissHistory } from './miss-history.ts';

const digest = (text: string): Digest => digestOf('sha256', Buffer.from(text));
const ACTION = digest('action');
const TARGET = metadataOf('//a:a');
/** Functions of later versions; keys of any function are told apart by its name alone. */
const OTHER_FUNCTION = 'blake3' as string as DigestFunction;

describe('MissHistory', () => {
  let world: ActionWorld;
  beforeEach(() => {
    world = new ActionWorld();
  });

  describe('tells why a lookup through the stores missed:', () => {
    it('never-seen: no result was stored, however often it was asked for', async () => {
      assert.deepEqual(await world.look(world.key(ACTION)), { reason: 'never-seen' });
      assert.deepEqual(await world.look(world.key(ACTION)), { reason: 'never-seen' });
    });

    it('other-instance: it has a result under another instance name', async () => {
      await world.store(world.key(ACTION, 'main'));
      const atMs = world.clock.nowMs();
      world.clock.advance(1000);
      assert.deepEqual(await world.look(world.key(ACTION)), { reason: 'other-instance', instance: 'main', atMs });
    });

    it('other-function: its hash has a result under another function', async () => {
      const other = { ...ACTION, function: OTHER_FUNCTION };
      world.history.stored(world.key(other), undefined);
      const atMs = world.clock.nowMs();
      assert.deepEqual(await world.look(world.key(ACTION)), { reason: 'other-function', function: 'blake3', atMs });
    });

    it('other-function: the latest action of its target had another function', async () => {
      world.history.stored(world.key(digest('older')), TARGET);
      world.history.stored(world.key({ ...digest('old'), function: OTHER_FUNCTION }), TARGET);
      const atMs = world.clock.nowMs();
      assert.deepEqual(await world.look(world.key(ACTION), TARGET), {
        reason: 'other-function',
        function: 'blake3',
        atMs,
      });
      assert.deepEqual(await world.look(world.key(digest('b')), metadataOf('//b')), { reason: 'never-seen' });
    });

    it('evicted: the store removed it, with the time and its age', async () => {
      await world.store(world.key(ACTION));
      world.clock.advance(5000);
      await world.evict(world.key(ACTION), 3600);
      const evicted = { reason: 'evicted', atMs: world.clock.nowMs(), ageSeconds: 3600 };
      world.clock.advance(5000);
      assert.deepEqual(await world.look(world.key(ACTION)), evicted);
    });

    it('evicted: also of an action that was not seen since the start', async () => {
      const { entries, clock } = world;
      await world.store(world.key(ACTION));
      const restarted = new MissHistory(clock, { maxActions: 10 });
      assert.notEqual(entries.bytes, 0);
      Object.assign(world, { history: restarted, results: { actions: world.actions, observer: restarted } });
      await world.evict(world.key(ACTION), 1);
      assert.equal((await world.look(world.key(ACTION)))?.reason, 'evicted');
    });

    it('not evicted any more once it was stored again, whatever the wall clock says', async () => {
      await world.store(world.key(ACTION));
      await world.evict(world.key(ACTION));
      world.clock.jump(-100_000);
      await world.store(world.key(ACTION));
      assert.equal(await world.look(world.key(ACTION)), undefined);
      await world.remove(world.key(ACTION));
      assert.equal((await world.look(world.key(ACTION)))?.reason, 'removed');
    });

    it('expired: older than results may become', async () => {
      world = new ActionWorld({ maxAgeMs: 1000 });
      await world.store(world.key(ACTION));
      const writtenMs = world.clock.nowMs();
      world.clock.advance(1001);
      assert.deepEqual(await world.look(world.key(ACTION)), { reason: 'expired', writtenMs, maxAgeMs: 1000 });
    });

    it('incomplete: a blob is gone, with its role', async () => {
      const out = await world.put('out');
      await world.store(world.key(ACTION), { outputFiles: [{ path: 'bin/a', digest: digestToWire(out) }] });
      world.blobs.forgotten.add(out.hash);
      const role = { kind: 'output-file', path: 'bin/a' };
      assert.deepEqual(await world.look(world.key(ACTION)), { reason: 'incomplete', blob: out, role, absent: 1 });
    });

    it('damaged: an output directory that is no Tree', async () => {
      const garbage = await world.put('\xff no message');
      const outputDirectories = [{ path: 'd', treeDigest: digestToWire(garbage) }];
      await world.store(world.key(ACTION), { outputDirectories });
      assert.deepEqual(await world.look(world.key(ACTION)), { reason: 'damaged', what: 'the output directory "d"' });
    });

    it('too-large: an output directory beyond the limits', async () => {
      const root = { symlinks: [{ name: 'x'.repeat(10_000), target: 'y' }] };
      const tree = await world.put(Tree.encode(Tree.fromPartial({ root })).finish());
      await world.store(world.key(ACTION), { outputDirectories: [{ path: 'd', treeDigest: digestToWire(tree) }] });
      assert.deepEqual(await world.look(world.key(ACTION)), { reason: 'too-large', what: 'the output directory "d"' });
    });

    it('not-cached: it ran, and its result was not stored because …', async () => {
      const because = { kind: 'exit-code', exitCode: 2 } as const;
      world.history.notStored(world.key(ACTION), because, undefined);
      const notCached = { reason: 'not-cached', because, atMs: world.clock.nowMs() };
      world.clock.advance(1000);
      assert.deepEqual(await world.look(world.key(ACTION)), notCached);
    });

    it('not-cached: also after an eviction that came before', async () => {
      await world.store(world.key(ACTION));
      await world.evict(world.key(ACTION));
      world.history.notStored(world.key(ACTION), { kind: 'timed-out' }, undefined);
      assert.equal((await world.look(world.key(ACTION)))?.reason, 'not-cached');
    });

    it('removed: an operator did', async () => {
      await world.store(world.key(ACTION));
      assert.equal(await world.remove(world.key(ACTION)), true);
      assert.equal(await world.remove(world.key(ACTION)), false);
      const atMs = world.clock.nowMs();
      assert.deepEqual(await world.look(world.key(ACTION)), { reason: 'removed', atMs });
    });

    it('lost: it was there, and nothing is known of an eviction', async () => {
      await world.store(world.key(ACTION));
      world.clock.advance(5);
      assert.equal(await world.look(world.key(ACTION)), undefined);
      const seenMs = world.clock.nowMs();
      await world.entries.delete(resultEntryKey(world.key(ACTION)), noAbort());
      world.clock.advance(5);
      assert.deepEqual(await world.look(world.key(ACTION)), { reason: 'lost', seenMs });
    });

    it('skipped: nobody asked', () => {
      world.history.skipped(world.key(ACTION), 'do-not-cache', undefined);
      const miss = { reason: 'skipped', because: 'do-not-cache' };
      assert.deepEqual(world.history.find(world.key(ACTION))?.miss, miss);
    });
  });

  it('remembers the last miss when a hit follows', async () => {
    await world.look(world.key(ACTION));
    const missedMs = world.clock.nowMs();
    world.clock.advance(10);
    await world.store(world.key(ACTION));
    await world.look(world.key(ACTION));
    const record = world.history.find(world.key(ACTION));
    assert.deepEqual([record?.miss?.reason, record?.missedMs], ['never-seen', missedMs]);
    assert.deepEqual([record?.storedMs, record?.seenMs], [missedMs + 10, missedMs + 10]);
  });

  it('finds the instance under which an action was seen last', () => {
    const { history, clock } = world;
    assert.equal(history.latest(ACTION), undefined);
    for (const instance of ['a', 'b', 'a']) {
      clock.advance(1);
      history.found(world.key(ACTION, instance), undefined);
    }
    assert.equal(history.latest(ACTION)?.key.instance, 'a');
    assert.equal(history.latest({ ...ACTION, sizeBytes: ACTION.sizeBytes + 1 }), undefined);
  });

  it('finds the other actions of a target and mnemonic under one instance name, the latest first', () => {
    const { history } = world;
    const seen = (name: string, metadata = TARGET, instance = ''): void =>
      history.found(world.key(digest(name), instance), metadata);
    for (const name of ['one', 'two', 'three', 'one']) seen(name);
    seen('link', metadataOf('//a:a', 'Link'));
    seen('other', metadataOf('//b'));
    seen('elsewhere', TARGET, 'main');
    const related = (max: number): readonly string[] =>
      history.related(world.key(digest('two')), max).map(({ key }) => key.action.hash);
    assert.deepEqual(related(10), [digest('one').hash, digest('three').hash]);
    assert.deepEqual(related(1), [digest('one').hash]);
    assert.deepEqual(history.related(world.key(digest('unknown')), 10), []);
  });

  it('moves an action that comes back for another target', () => {
    const { history } = world;
    for (const name of ['one', 'two']) history.found(world.key(digest(name)), TARGET);
    history.found(world.key(digest('one')), metadataOf('//b'));
    assert.deepEqual(history.related(world.key(digest('two')), 10), []);
    assert.equal(history.find(world.key(digest('one')))?.group?.targetId, '//b');
  });

  it('forgets the least recently seen actions, their targets and evictions beyond its bound', () => {
    const history = new MissHistory(new FakeClock(), { maxActions: 3 });
    const keys = ['a', 'b', 'c', 'd'].map((name) => world.key(digest(name)));
    for (const key of keys.slice(0, 3)) history.found(key, TARGET);
    for (const key of [keys[0], keys[3]]) if (key) history.found(key, TARGET);
    assert.deepEqual(
      keys.map((key) => history.find(key) !== undefined),
      [true, false, true, true],
    );
    assert.equal(history.reach.actions, 3);
    const [first] = keys;
    assert.ok(first);
    assert.deepEqual(
      history.related(first, 10).map(({ key }) => key),
      [keys[3], keys[2]],
    );
  });

  it('keeps few records of one hash: instance names are for callers to choose', () => {
    for (let index = 0; index < 10; index++) world.history.found(world.key(ACTION, `i${index}`), TARGET);
    const kept = Array.from({ length: 10 }, (_, index) => world.history.find(world.key(ACTION, `i${index}`)));
    assert.equal(kept.filter((record) => record !== undefined).length, 4);
    assert.notEqual(kept[9], undefined);
    assert.equal(world.history.reach.actions, 1);
  });

  it('cuts texts from outside', () => {
    const long = 'x'.repeat(5000);
    for (let twice = 0; twice < 2; twice++) world.history.found(world.key(ACTION), metadataOf(long, long, long));
    const record = world.history.find(world.key(ACTION));
    for (const text of [record?.group?.targetId, record?.group?.mnemonic, record?.configurationId]) {
      assert.equal(text, `${'x'.repeat(256)}…`);
    }
  });

  it('keeps what the last request said, out of any number of invocations', () => {
    for (let index = 0; index < 3000; index++) {
      world.history.found(world.key(ACTION), { ...TARGET, toolInvocationId: `invocation ${index}` });
    }
    assert.equal(world.history.find(world.key(ACTION))?.invocationId, 'invocation 2999');
  });

  it('remembers nothing with a bound of zero', async () => {
    world = new ActionWorld({ maxActions: 0 });
    await world.store(world.key(ACTION), {}, TARGET);
    await world.evict(world.key(ACTION));
    assert.equal(world.history.find(world.key(ACTION)), undefined);
    assert.deepEqual(world.history.missed(world.key(ACTION), { reason: 'absent' }, TARGET), { reason: 'never-seen' });
    assert.equal(world.history.reach.actions, 0);
    assert.deepEqual(world.history.related({ instance: parseInstanceName(''), action: ACTION }, 10), []);
  });
});
