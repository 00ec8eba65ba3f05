import assert from 'node:assert/strict';
import { ofKind } from '../../../test/support/expectations.ts';
import { type Digest, digestKey, digestToWire } from '../../digest/digest.ts';
import { digestOf } from '../../digest/hasher.ts';
import { Directory } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { type ListedEntry, listDirectory } from './list-directory.ts';

const LIMITS = { maxEntries: 100, maxDepth: 5, maxBatchBytes: 1_000 };
const FILE = digestToWire(digestOf('sha256', Buffer.from('file')));

/** Directories, and how they were asked for. */
class World {
  readonly stored = new Map<string, Uint8Array>();
  readonly asked: number[] = [];

  /** @param entries name to the digest of a directory, or `file`. */
  put(entries: Readonly<Record<string, Digest | 'file'>>): { readonly digest: Digest; readonly bytes: Uint8Array } {
    const all = Object.entries(entries);
    const files = all.flatMap(([name, what]) => (what === 'file' ? [{ name, digest: FILE }] : []));
    const directories = all.flatMap(([name, what]) => (what === 'file' ? [] : [{ name, digest: digestToWire(what) }]));
    const bytes = Directory.encode(Directory.fromPartial({ files, directories })).finish();
    const digest = digestOf('sha256', bytes);
    this.stored.set(digestKey(digest), bytes);
    return { digest, bytes };
  }

  async list(root: Uint8Array, isRecursive: boolean, limits: Partial<typeof LIMITS> = {}): Promise<string[]> {
    const source = async (digests: readonly Digest[]): Promise<ReadonlyMap<string, Uint8Array>> => {
      this.asked.push(digests.length);
      return this.stored;
    };
    const lines: string[] = [];
    const entries: AsyncIterable<ListedEntry> = listDirectory(
      { digestFunction: 'sha256', bytes: root },
      isRecursive ? source : undefined,
      { ...LIMITS, ...limits },
    );
    for await (const { path, isMissing } of entries) lines.push(isMissing ? `${path} missing` : path);
    return lines;
  }
}

describe('listDirectory', () => {
  let world: World;

  beforeEach(() => {
    world = new World();
  });

  it('lists one directory without reading others', async () => {
    const root = world.put({ b: world.put({ x: 'file' }).digest, a: 'file' });
    assert.deepEqual(await world.list(root.bytes, false), ['a', 'b']);
    assert.deepEqual(world.asked, []);
  });

  it('lists what is below too, each directory before its contents', async () => {
    const deep = world.put({ z: 'file' });
    const root = world.put({ c: world.put({ y: 'file', x: deep.digest }).digest, a: 'file', d: 'file' });
    assert.deepEqual(await world.list(root.bytes, true), ['a', 'c', 'c/x', 'c/x/z', 'c/y', 'd']);
  });

  it('reads the directories of one parent together, up to a number of bytes', async () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    const root = world.put(Object.fromEntries(names.map((name) => [name, world.put({ [name]: 'file' }).digest])));
    assert.equal((await world.list(root.bytes, true)).length, 10);
    assert.deepEqual(world.asked, [5]);
    world.asked.length = 0;
    const { sizeBytes } = world.put({ a: 'file' }).digest;
    assert.equal((await world.list(root.bytes, true, { maxBatchBytes: 2 * sizeBytes })).length, 10);
    assert.deepEqual(world.asked, [2, 2, 1]);
  });

  it('says which directories are missing and goes on', async () => {
    const gone = world.put({ x: 'file' });
    const root = world.put({ a: gone.digest, b: 'file' });
    world.stored.delete(digestKey(gone.digest));
    assert.deepEqual(await world.list(root.bytes, true), ['a missing', 'b']);
  });

  it('lists a directory under each of its names', async () => {
    const shared = world.put({ x: 'file' });
    const root = world.put({ a: shared.digest, b: shared.digest });
    assert.deepEqual(await world.list(root.bytes, true), ['a', 'a/x', 'b', 'b/x']);
  });

  it('ends where few directories make very many paths', async () => {
    let level = world.put({ x: 'file' });
    for (let depth = 0; depth < 30; depth++) level = world.put({ a: level.digest, b: level.digest });
    const { bytes } = level;
    await assert.rejects(world.list(bytes, true, { maxDepth: 100 }), ofKind('too-large'));
    await assert.rejects(world.list(bytes, true, { maxEntries: 1e9 }), { message: 'it is deeper than 5 directories' });
  });
});
