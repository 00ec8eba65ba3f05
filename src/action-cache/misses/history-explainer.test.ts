import assert from 'node:assert/strict';
import { type ActionParts, ActionWorld, metadataOf } from '../../../test/support/action-world.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { type Digest, digestToWire } from '../../digest/digest.ts';
import { digestOf } from '../../digest/hasher.ts';
import { Directory, Tree } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { DEFAULT_EXPLAINER_LIMITS, HistoryExplainer } from './history-explainer.ts';
import type { MissReport } from './miss-report.ts';

const TARGET = metadataOf('//a:a', 'Compile', 'fast');
const compiles = (source: string, ...flags: string[]): ActionParts => ({
  command: { arguments: ['cc', ...flags], outputPaths: [`${source}.o`] },
});

describe('HistoryExplainer', () => {
  let world: ActionWorld;
  let explainer: HistoryExplainer;
  beforeEach(() => {
    world = new ActionWorld();
    const { history, actions, blobs } = world;
    const limits = { ...DEFAULT_EXPLAINER_LIMITS, maxCandidates: 8, maxMessageBytes: 10_000 };
    explainer = new HistoryExplainer({ history, actions, blobs }, limits);
  });

  const explain = async (digest: Digest, instance?: string): Promise<MissReport> => {
    const query = instance === undefined ? { digest } : { digest, instance };
    const report = await explainer.explain(query, noAbort());
    assert.deepEqual(JSON.parse(JSON.stringify(report)), report, 'a report survives JSON');
    return report;
  };

  it('explains an action that nobody asked for by asking now, without noting it', async () => {
    const digest = await world.action();
    const report = await explain(digest);
    const history = { sinceMs: world.clock.nowMs(), actions: 0, maxActions: 100 };
    assert.deepEqual(report, {
      action: digest,
      instance: '',
      isCached: false,
      miss: { reason: 'never-seen' },
      history,
    });
    assert.equal(world.history.find(world.key(digest)), undefined);
  });

  it('has no miss to explain if a result is there and none is known', async () => {
    const digest = await world.action();
    await world.store(world.key(digest));
    const { miss, isCached, storedMs } = await explain(digest);
    assert.deepEqual([miss, isCached, storedMs], [undefined, true, world.clock.nowMs()]);
  });

  it('reports the last miss although the result is there by now, with target and times', async () => {
    const digest = await world.action();
    await world.look(world.key(digest), TARGET);
    const missedMs = world.clock.nowMs();
    world.clock.advance(1000);
    await world.store(world.key(digest), {}, TARGET);
    const report = await explain(digest);
    assert.deepEqual([report.missedMs, report.storedMs, report.isCached], [missedMs, missedMs + 1000, true]);
    assert.deepEqual(report.miss, { reason: 'never-seen' });
    assert.deepEqual(report.origin, {
      targetId: '//a:a',
      mnemonic: 'Compile',
      configurationId: 'fast',
      invocationId: 'i',
    });
  });

  it('explains what asking now gives, if a result came and went since the last miss', async () => {
    const digest = await world.action();
    await world.look(world.key(digest));
    await world.store(world.key(digest));
    await world.evict(world.key(digest));
    const { miss, missedMs, isCached } = await explain(digest);
    assert.deepEqual([miss?.reason, missedMs, isCached], ['evicted', undefined, false]);
    await world.look(world.key(digest));
    assert.equal((await explain(digest)).missedMs, world.clock.nowMs());
  });

  it('takes the instance where the action was last seen, unless it is told one', async () => {
    const digest = await world.action();
    await world.store(world.key(digest, 'main'));
    assert.equal((await explain(digest)).instance, 'main');
    const elsewhere = await explain(digest, 'other');
    assert.deepEqual([elsewhere.instance, elsewhere.miss?.reason], ['other', 'other-instance']);
    await assert.rejects(explain(digest, '/x'), ofKind('invalid-argument'));
  });

  it('compares with the previous action of the same target that makes the same outputs', async () => {
    for (const source of ['a', 'b', 'c']) {
      await world.store(world.key(await world.action(compiles(source, '-O0'))), {}, TARGET);
    }
    const seenMs = world.clock.nowMs();
    world.clock.advance(1000);
    const digest = await world.action(compiles('b', '-O2'));
    await world.look(world.key(digest), TARGET);
    const { previous } = await explain(digest);
    assert.deepEqual(previous, {
      action: await world.action(compiles('b', '-O0')),
      instance: '',
      seenMs,
      match: 'same-outputs',
      difference: {
        differences: [{ part: 'arguments', name: '1', before: '-O0', after: '-O2' }],
        more: [],
        unavailable: [],
      },
    });
  });

  it('compares with the latest of the same configuration if none makes the same outputs, and says so', async () => {
    await world.store(world.key(await world.action(compiles('a'))), {}, TARGET);
    await world.store(world.key(await world.action(compiles('x'))), {}, metadataOf('//a:a', 'Compile', 'debug'));
    const digest = await world.action(compiles('b'));
    await world.look(world.key(digest), TARGET);
    const { previous } = await explain(digest);
    assert.deepEqual([previous?.match, previous?.action], ['same-target', await world.action(compiles('a'))]);
    assert.deepEqual(
      previous?.difference.differences.map(({ part, name }) => [part, name]),
      [
        ['output-paths', 'a.o'],
        ['output-paths', 'b.o'],
      ],
    );
  });

  it('takes the latest if the configuration is new', async () => {
    await world.store(world.key(await world.action(compiles('a'))), {}, TARGET);
    const digest = await world.action(compiles('b'));
    await world.look(world.key(digest), metadataOf('//a:a', 'Compile', 'new'));
    assert.deepEqual((await explain(digest)).previous?.action, await world.action(compiles('a')));
  });

  it('looks at so many candidates only', async () => {
    await world.store(world.key(await world.action(compiles('a', '-O0'))), {}, TARGET);
    for (let index = 0; index < 8; index++) {
      await world.store(world.key(await world.action(compiles(`b${index}`))), {}, TARGET);
    }
    const digest = await world.action(compiles('a', '-O2'));
    await world.look(world.key(digest), TARGET);
    assert.equal((await explain(digest)).previous?.match, 'same-target');
  });

  it('has nothing to compare with for an action without a target, or the only one of it', async () => {
    const one = await world.action(compiles('a'));
    await world.look(world.key(one));
    const two = await world.action(compiles('b'));
    await world.look(world.key(two), TARGET);
    assert.deepEqual([(await explain(one)).previous, (await explain(two)).previous], [undefined, undefined]);
  });

  it('reports also when the messages of the actions are gone, or never were there', async () => {
    const [old, current] = ['old', 'current'].map((text) => digestOf('sha256', Buffer.from(text)));
    assert.ok(old && current);
    for (const action of [old, current]) await world.look(world.key(action), TARGET);
    const { previous } = await explain(current);
    assert.equal(previous?.match, 'same-target');
    assert.deepEqual(
      previous?.difference.unavailable.map(({ side, what, blob }) => [side, what, blob.hash]),
      [
        ['before', 'Action', old.hash],
        ['after', 'Action', current.hash],
      ],
    );
  });

  it('finds the path of a file that is gone in its output directory, if the Tree is left', async () => {
    const file = await world.put('content');
    const below = Directory.fromPartial({ files: [{ name: 'f', digest: digestToWire(file) }] });
    const digest = digestToWire(digestOf('sha256', Directory.encode(below).finish()));
    const tree = Tree.fromPartial({ root: { directories: [{ name: 'd', digest }] }, children: [below] });
    const treeDigest = await world.put(Tree.encode(tree).finish());
    const action = await world.action();
    await world.store(world.key(action), {
      outputDirectories: [{ path: 'out', treeDigest: digestToWire(treeDigest) }],
    });
    assert.equal(await world.look(world.key(action)), undefined);
    world.blobs.forgotten.add(file.hash);
    await world.look(world.key(action));
    const role = { kind: 'tree-file', path: 'out', tree: treeDigest };
    const miss = { reason: 'incomplete', blob: file, role: { ...role, within: 'd/f' }, absent: 1 };
    assert.deepEqual((await explain(action)).miss, miss);
    world.blobs.forgotten.add(treeDigest.hash);
    assert.deepEqual((await explain(action)).miss, { ...miss, role });
  });
});
