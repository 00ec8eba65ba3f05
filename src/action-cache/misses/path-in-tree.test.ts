import assert from 'node:assert/strict';
import { ActionWorld } from '../../../test/support/action-world.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { type Digest, digestToWire } from '../../digest/digest.ts';
import { digestOf } from '../../digest/hasher.ts';
import { ReapiError } from '../../errors.ts';
import { Directory, Tree } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { pathInTree } from './path-in-tree.ts';

const FILE = digestOf('sha256', Buffer.from('file'));
const OTHER = digestOf('sha256', Buffer.from('other'));
const OPTIONS = { maxTreeBytes: 10_000, signal: noAbort() };

describe('pathInTree', () => {
  const world = new ActionWorld();
  const find = (tree: Digest, file = FILE): Promise<string | undefined> => pathInTree(world.blobs, tree, file, OPTIONS);
  const wireOf = (directory: Directory) => digestToWire(digestOf('sha256', Directory.encode(directory).finish()));
  const store = (tree: Parameters<typeof Tree.fromPartial>[0]): Promise<Digest> =>
    world.put(Tree.encode(Tree.fromPartial(tree)).finish());
  const leaf = Directory.fromPartial({ files: [{ name: 'f', digest: digestToWire(FILE) }] });

  it('finds a file in the root, or below, whatever the order of the directories', async () => {
    assert.equal(await find(await store({ root: leaf })), 'f');
    const middle = Directory.fromPartial({ directories: [{ name: 'leaf', digest: wireOf(leaf) }] });
    const root = { directories: [{ name: 'middle', digest: wireOf(middle) }] };
    for (const children of [
      [leaf, middle],
      [middle, leaf],
    ]) {
      assert.equal(await find(await store({ root, children })), 'middle/leaf/f');
    }
  });

  it('takes each directory once: a Tree may name one an exponential number of times', async () => {
    let below = Directory.fromPartial({ files: [{ name: 'f', digest: digestToWire(OTHER) }] });
    const children = [below];
    for (let depth = 0; depth < 40; depth++) {
      const digest = wireOf(below);
      below = Directory.fromPartial({
        directories: [
          { name: 'a', digest },
          { name: 'b', digest },
        ],
      });
      children.push(below);
    }
    assert.equal(await find(await store({ root: below, children })), undefined);
  });

  it('finds nothing in a Tree that is gone, too large, incomplete or none', async () => {
    const tree = await store({ root: leaf });
    assert.equal(await find(OTHER), undefined);
    assert.equal(await find(tree, OTHER), undefined);
    assert.equal(await find(await world.put('\xff')), undefined);
    assert.equal(await find(await store({})), undefined);
    const root = { directories: [{ name: 'gone', digest: wireOf(leaf) }] };
    assert.equal(await find(await store({ root })), undefined);
    assert.equal(await pathInTree(world.blobs, tree, FILE, { ...OPTIONS, maxTreeBytes: 10 }), undefined);
    assert.equal(await pathInTree(world.blobs, { ...tree, function: 'none' }, FILE, OPTIONS), undefined);
  });

  it('fails if the store cannot be asked', async () => {
    const broken = Object.assign(new ActionWorld().blobs, {
      getBytes: () => Promise.reject(new ReapiError('unavailable', 'no answer')),
    });
    await assert.rejects(pathInTree(broken, OTHER, FILE, OPTIONS), ofKind('unavailable'));
  });
});
