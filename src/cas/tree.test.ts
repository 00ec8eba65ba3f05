import assert from 'node:assert/strict';
import fc from 'fast-check';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { type Digest, digestKey, digestToWire } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { ReapiError } from '../errors.ts';
import { Directory, Tree } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { MemoryBlobStore } from './memory-blob-store.ts';
import { directoryLinks, treeFiles, type WalkedDirectory, walkDirectories } from './tree.ts';

const LIMITS = { maxDirectories: 100, maxDepth: 20, maxDirectoryBytes: 10_000 };
const file = (text: string): Digest => digestOf('sha256', Buffer.from(text));

function encoded(label: string, files: readonly Digest[], directories: readonly Digest[]): Uint8Array {
  const node = (digest: Digest, index: number) => ({ name: `${label}${index}`, digest: digestToWire(digest) });
  const message = {
    files: files.map(node),
    directories: directories.map(node),
    symlinks: [{ name: label, target: 'x' }],
  };
  return Directory.encode(Directory.fromPartial(message)).finish();
}

async function walk(store: MemoryBlobStore, root: Digest, limits = LIMITS): Promise<WalkedDirectory[]> {
  const walked: WalkedDirectory[] = [];
  for await (const directory of walkDirectories(store, root, limits, noAbort())) walked.push(directory);
  return walked;
}

/** Directories given by the numbers of earlier ones they contain; the last is the root. Some are not stored. */
const graphs = fc.array(fc.record({ below: fc.array(fc.nat({ max: 30 }), { maxLength: 4 }), isStored: fc.boolean() }), {
  minLength: 1,
  maxLength: 30,
});

describe('walkDirectories', () => {
  it('law: visits what is reachable through stored directories, each once, the root first', async () => {
    await fc.assert(
      fc.asyncProperty(graphs, async (graph) => {
        const store = new MemoryBlobStore({ maxBytes: 1_000_000 });
        const digests: Digest[] = [];
        const children = new Map<string, readonly Digest[]>();
        for (const [index, { below, isStored }] of graph.entries()) {
          const inside = index === 0 ? [] : below.flatMap((number) => digests[number % index] ?? []);
          const bytes = encoded(`n${index}-`, [file(`${index}`)], inside);
          const digest = digestOf('sha256', bytes);
          digests.push(digest);
          if (!isStored) continue;
          await store.putBytes(digest, bytes, noAbort());
          children.set(digestKey(digest), inside);
        }
        const root = digests.at(-1);
        assert.ok(root);
        const reachable = new Set<string>();
        const visit = (digest: Digest): void => {
          const key = digestKey(digest);
          if (reachable.has(key)) return;
          reachable.add(key);
          for (const child of children.get(key) ?? []) visit(child);
        };
        visit(root);
        const walked = await walk(store, root, { ...LIMITS, maxDepth: 40 });
        const keys = walked.map(({ digest }) => digestKey(digest));
        assert.equal(keys[0], digestKey(root));
        assert.deepEqual(keys.toSorted(), [...reachable].sort());
        for (const { digest, bytes, files } of walked) {
          assert.equal(bytes !== undefined, children.has(digestKey(digest)));
          assert.equal(files.length, bytes === undefined ? 0 : 1);
        }
      }),
    );
  });

  it('counts the root against the limit of directories, and depth from it', async () => {
    const store = new MemoryBlobStore({ maxBytes: 100_000 });
    const put = async (bytes: Uint8Array): Promise<Digest> => {
      const digest = digestOf('sha256', bytes);
      await store.putBytes(digest, bytes, noAbort());
      return digest;
    };
    const root = await put(encoded('root', [], [await put(encoded('child', [], []))]));
    assert.equal((await walk(store, root, { ...LIMITS, maxDirectories: 2, maxDepth: 1 })).length, 2);
    await assert.rejects(walk(store, root, { ...LIMITS, maxDirectories: 1 }), ofKind('too-large'));
    await assert.rejects(walk(store, root, { ...LIMITS, maxDepth: 0 }), ofKind('too-large'));
    await assert.rejects(walk(store, root, { ...LIMITS, maxDirectoryBytes: 10 }), ofKind('too-large'));
  });

  it('passes on what the store says, absence apart', async () => {
    const store = Object.assign(new MemoryBlobStore({ maxBytes: 1000 }), {
      getBytes: () => Promise.reject(new ReapiError('unavailable', 'no answer')),
    });
    await assert.rejects(walk(store, file('x')), ofKind('unavailable'));
  });
});

describe('directoryLinks', () => {
  it('lists files and directories in order, repeats included', () => {
    const bytes = encoded('x', [file('b'), file('a'), file('b')], [file('d')]);
    assert.deepEqual(directoryLinks('sha256', bytes), {
      files: [file('b'), file('a'), file('b')],
      directories: [file('d')],
    });
    assert.deepEqual(directoryLinks('sha256', new Uint8Array()), { files: [], directories: [] });
  });

  it('refuses bytes that are no Directory, and nodes without a proper digest', () => {
    const wrong = [
      Buffer.of(0x0a, 0x05),
      Directory.encode(Directory.fromPartial({ files: [{ name: 'f' }] })).finish(),
      Directory.encode(
        Directory.fromPartial({ files: [{ name: 'f', digest: { hash: 'x', sizeBytes: 1n } }] }),
      ).finish(),
    ];
    for (const bytes of wrong) assert.throws(() => directoryLinks('sha256', bytes), ofKind('invalid-argument'));
  });
});

describe('treeFiles', () => {
  it('lists the files of the root and of all other directories', () => {
    const child = Directory.decode(encoded('c', [file('in child')], []));
    const root = Directory.decode(encoded('r', [file('in root')], [file('child')]));
    const bytes = Tree.encode({ root, children: [child, child] }).finish();
    assert.deepEqual(treeFiles('sha256', bytes), [file('in root'), file('in child'), file('in child')]);
  });

  it('refuses bytes that are no Tree', () => {
    assert.throws(() => treeFiles('sha256', Buffer.of(0x0a, 0x05)), ofKind('invalid-argument'));
    assert.throws(() => treeFiles('sha256', Buffer.of(0x0a, 0x02, 0x0a, 0x05)), ofKind('invalid-argument'));
  });
});
