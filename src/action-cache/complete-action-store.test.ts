import assert from 'node:assert/strict';
import { actionStoreContract } from '../../test/support/action-store-contract.ts';
import { ForgetfulStore } from '../../test/support/action-world.ts';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { type Digest, digestToWire, emptyDigest } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { MemoryEntryStore } from '../entries/memory-entry-store.ts';
import { ReapiError } from '../errors.ts';
import { ActionResult, Directory, Tree } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { Semaphore } from '../system/semaphore.ts';
import { resultFromMessage } from './action-store.ts';
import { CompleteActionStore } from './complete-action-store.ts';
import { EntryActionStore } from './entry-action-store.ts';
import type { StoreMiss } from './misses/miss.ts';

type PartialResult = Parameters<typeof ActionResult.fromPartial>[0];

const clock = new FakeClock();
const KEY = { instance: parseInstanceName(''), action: digestOf('sha256', Buffer.from('action')) };
const LIMITS = {
  maxTreeBytes: 1000,
  maxTreeDirectories: 5,
  maxTreeDepth: 3,
  maxDirectoryBytes: 1000,
  treeCacheBytes: 10_000,
};

describe('CompleteActionStore', () => {
  let blobs: ForgetfulStore;
  let store: CompleteActionStore;

  const open = (treeCacheBytes = LIMITS.treeCacheBytes): CompleteActionStore => {
    blobs = new ForgetfulStore({ maxBytes: 1_000_000 });
    const entries = new MemoryEntryStore({ clock, maxBytes: 100_000, maxEntryBytes: 50_000 });
    const stored = new EntryActionStore(entries, { clock, maxAgeMs: 0 });
    store = new CompleteActionStore(stored, blobs, new Semaphore(2), { ...LIMITS, treeCacheBytes });
    return store;
  };
  beforeEach(() => {
    open();
  });

  describe('as an ActionStore', () => actionStoreContract(() => open()));

  const stored = async (content: string | Uint8Array): Promise<Digest> => {
    const bytes = Buffer.from(content);
    const digest = digestOf('sha256', bytes);
    await blobs.putBytes(digest, bytes, noAbort());
    return digest;
  };
  const isHit = async (result: PartialResult): Promise<boolean> => {
    await store.put(KEY, resultFromMessage(ActionResult.fromPartial(result)), noAbort());
    return (await store.get(KEY, noAbort())) !== undefined;
  };
  /** A result with everything in it, and all digests it needs, by name. */
  const everything = async (): Promise<readonly [PartialResult, Record<string, Digest>]> => {
    const names = ['file', 'stdout', 'stderr', 'in tree', 'in child', 'in root', 'below root'];
    const files = new Map<string, Digest>();
    for (const name of names) files.set(name, await stored(name));
    const node = (name: string) => ({ name: 'f', digest: digestToWire(files.get(name) ?? emptyDigest('sha256')) });
    const child = Directory.fromPartial({ files: [node('in child')] });
    const childDigest = digestOf('sha256', Directory.encode(child).finish());
    const root = { files: [node('in tree')], directories: [{ name: 'd', digest: digestToWire(childDigest) }] };
    const tree = await stored(Tree.encode(Tree.fromPartial({ root, children: [child] })).finish());
    const below = await stored(Directory.encode(Directory.fromPartial({ files: [node('below root')] })).finish());
    const rootDirectory = await stored(
      Directory.encode(
        Directory.fromPartial({ files: [node('in root')], directories: [{ name: 'd', digest: digestToWire(below) }] }),
      ).finish(),
    );
    const result = {
      outputFiles: [{ path: 'a', digest: node('file').digest }],
      outputDirectories: [
        { path: 't', treeDigest: digestToWire(tree) },
        { path: 'r', rootDirectoryDigest: digestToWire(rootDirectory) },
      ],
      stdoutDigest: node('stdout').digest,
      stderrDigest: node('stderr').digest,
    };
    return [result, { ...Object.fromEntries(files), tree, rootDirectory, below }];
  };

  const hashesOf = (needed: Record<string, Digest>): string[] =>
    Object.values(needed)
      .map(({ hash }) => hash)
      .sort();
  const missOf = async (result: PartialResult): Promise<StoreMiss | undefined> => {
    await store.put(KEY, resultFromMessage(ActionResult.fromPartial(result)), noAbort());
    const misses: StoreMiss[] = [];
    await store.get(KEY, noAbort(), (miss) => misses.push(miss));
    assert.ok(misses.length <= 1);
    return misses[0];
  };

  it('answers a result of which everything is there, and asks for all of it at once (R-AC-02)', async () => {
    const [result, needed] = await everything();
    assert.equal(await isHit(result), true);
    assert.deepEqual(
      blobs.asked.map((hashes) => [...hashes].sort()),
      [hashesOf(needed)],
    );
  });

  it('asks for very many in parts, so that other calls get their turn, and counts what is gone in all of them', async () => {
    const outputFiles = Array.from({ length: 12_001 }, (_, index) => ({
      path: String(index),
      digest: { hash: index.toString(16).padStart(64, '0'), sizeBytes: 1n },
    }));
    const message = ActionResult.fromPartial({ outputFiles });
    const entries = new MemoryEntryStore({ clock, maxBytes: 4_000_000, maxEntryBytes: 2_000_000 });
    store = new CompleteActionStore(
      new EntryActionStore(entries, { clock, maxAgeMs: 0 }),
      blobs,
      new Semaphore(1),
      LIMITS,
    );
    await store.put(KEY, resultFromMessage(message), noAbort());
    let turns = 0;
    let isOver = false;
    const count = (): void => {
      turns++;
      if (!isOver) setImmediate(count);
    };
    setImmediate(count);
    let miss: StoreMiss | undefined;
    await store.get(KEY, noAbort(), (told) => {
      miss = told;
    });
    isOver = true;
    assert.deepEqual(
      blobs.asked.map(({ length }) => length),
      [5_000, 5_000, 2_001],
    );
    assert.ok(turns >= 2);
    assert.ok(miss?.reason === 'incomplete');
    assert.deepEqual([miss.absent, miss.role], [12_001, { kind: 'output-file', path: '0' }]);
  });

  it('answers a miss if any one blob is gone, whatever its role (R-AC-02, T-09)', async () => {
    const [result, needed] = await everything();
    for (const [name, { hash }] of Object.entries(needed)) {
      blobs.forgotten.add(hash);
      assert.equal(await isHit(result), false, name);
      blobs.forgotten.delete(hash);
    }
    assert.equal(await isHit(result), true);
  });

  it('reads no directory twice, and yet asks for every blob of it on every hit (R-AC-02)', async () => {
    const [result, needed] = await everything();
    assert.equal(await isHit(result), true);
    assert.ok(store.treeCacheBytes > 0);
    blobs.read.length = 0;
    blobs.asked.length = 0;
    for (let hits = 0; hits < 3; hits++) assert.equal(await isHit(result), true);
    assert.deepEqual(blobs.read, []);
    const all = hashesOf(needed);
    assert.deepEqual(
      blobs.asked.map((hashes) => [...hashes].sort()),
      [all, all, all],
    );
  });

  it('sees that a blob of a known directory is gone', async () => {
    const [result, needed] = await everything();
    assert.equal(await isHit(result), true);
    for (const [name, { hash }] of Object.entries(needed)) {
      blobs.forgotten.add(hash);
      assert.equal(await isHit(result), false, name);
      blobs.forgotten.delete(hash);
    }
  });

  it('reads every time if it may remember nothing', async () => {
    open(0);
    const [result] = await everything();
    for (let hits = 0; hits < 2; hits++) assert.equal(await isHit(result), true);
    assert.equal(store.treeCacheBytes, 0);
    // One Tree, and two directories of the other one.
    assert.equal(blobs.read.length, 6);
  });

  it('says which blob is gone, and what it is to the result, before and after the directories are known', async () => {
    const [result, needed] = await everything();
    const { tree } = needed;
    assert.ok(tree);
    const roles = {
      file: { kind: 'output-file', path: 'a' },
      stdout: { kind: 'stdout' },
      stderr: { kind: 'stderr' },
      tree: { kind: 'tree', path: 't' },
      'in tree': { kind: 'tree-file', path: 't', tree },
      'in child': { kind: 'tree-file', path: 't', tree },
      rootDirectory: { kind: 'root-directory', path: 'r' },
      below: { kind: 'root-directory', path: 'r' },
      'in root': { kind: 'root-directory', path: 'r' },
      'below root': { kind: 'root-directory', path: 'r' },
    };
    assert.deepEqual(Object.keys(roles).sort(), Object.keys(needed).sort());
    for (const isKnown of [false, true]) {
      assert.equal(store.treeCacheBytes > 0, isKnown);
      for (const [name, role] of Object.entries(roles)) {
        if (!isKnown) open();
        await everything();
        const blob = needed[name];
        assert.ok(blob);
        blobs.forgotten.add(blob.hash);
        assert.deepEqual(await missOf(result), { reason: 'incomplete', blob, role, absent: 1 }, name);
        blobs.forgotten.delete(blob.hash);
      }
      assert.equal(await missOf(result), undefined);
    }
  });

  it('counts the blobs that are gone, and cuts the path it names', async () => {
    const gone = ['x', 'y'].map((text) => digestOf('sha256', Buffer.from(text)));
    const outputFiles = gone.map((digest) => ({ path: 'p'.repeat(2000), digest: digestToWire(digest) }));
    const role = { kind: 'output-file', path: `${'p'.repeat(512)}…` };
    assert.deepEqual(await missOf({ outputFiles }), { reason: 'incomplete', blob: gone[0], role, absent: 2 });
  });

  it('counts directories that are known already against its limit', async () => {
    const roots: PartialResult['outputDirectories'] = [];
    for (let index = 0; index < LIMITS.maxTreeDirectories; index++) {
      const root = await stored(Directory.encode(Directory.fromPartial({ symlinks: [{ name: `${index}` }] })).finish());
      roots.push({ path: `${index}`, rootDirectoryDigest: digestToWire(root) });
    }
    assert.equal(await missOf({ outputDirectories: roots }), undefined);
    const [first] = roots;
    assert.ok(first);
    assert.equal((await missOf({ outputDirectories: [...roots, first] }))?.reason, 'too-large');
    open(0);
    await stored(Directory.encode(Directory.fromPartial({ symlinks: [{ name: '0' }] })).finish());
    const again = Array.from({ length: LIMITS.maxTreeDirectories + 1 }, () => first);
    assert.equal((await missOf({ outputDirectories: again }))?.reason, 'too-large');
  });

  it('needs no storage for empty outputs (R-CAS-01, R-AC-03, T-19)', async () => {
    const empty = digestToWire(emptyDigest('sha256'));
    const result = {
      outputFiles: [{ path: 'a', digest: empty }, { path: 'b' }, { path: 'c', digest: { hash: '', sizeBytes: 0n } }],
      stdoutDigest: empty,
    };
    assert.equal(await isHit(result), true);
    assert.deepEqual(blobs.asked, []);
  });

  it('takes a damaged or foreign Tree, root Directory or digest for a miss', async () => {
    const garbage = digestToWire(await stored('\xff no message'));
    assert.equal(await isHit({ outputDirectories: [{ path: 't', treeDigest: garbage }] }), false);
    assert.equal(await isHit({ outputDirectories: [{ path: 'r', rootDirectoryDigest: garbage }] }), false);
    assert.equal(await isHit({ stdoutDigest: { hash: 'x', sizeBytes: 1n } }), false);
  });

  it('takes a result beyond its limits for a miss', async () => {
    const largeTree = Tree.encode(Tree.fromPartial({ root: { symlinks: [{ name: 'x'.repeat(1000) }] } })).finish();
    const treeDigest = digestToWire(await stored(largeTree));
    assert.equal(await isHit({ outputDirectories: [{ path: 't', treeDigest }] }), false);
    let chain = await stored(Directory.encode(Directory.fromPartial({})).finish());
    for (let depth = 0; depth < 4; depth++) {
      const directories = [{ name: `d${depth}`, digest: digestToWire(chain) }];
      chain = await stored(Directory.encode(Directory.fromPartial({ directories })).finish());
    }
    assert.equal(await isHit({ outputDirectories: [{ path: 'r', rootDirectoryDigest: digestToWire(chain) }] }), false);
  });

  it('passes on that the store cannot be asked: that is no miss (R-AC-01)', async () => {
    const [result] = await everything();
    blobs.findMissing = () => Promise.reject(new ReapiError('unavailable', 'no answer'));
    await assert.rejects(isHit(result), ofKind('unavailable'));
  });
});
