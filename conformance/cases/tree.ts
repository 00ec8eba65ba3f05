import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import {
  ContentAddressableStorageDefinition as Cas,
  type Digest,
  Directory,
  GetTreeRequest,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { type Blob, blobOf, EMPTY_BLOB, freshBlob, freshName, storeBlobs } from '../blobs.ts';
import { type CaseContext, conformanceCase } from '../case.ts';
import { expectEnd } from '../expect.ts';

function directoryBlob(children: readonly Blob[], marker = freshName()): Blob {
  const message = Directory.fromPartial({
    directories: children.map(({ digest }, index) => ({ name: `d${String(index).padStart(3, '0')}`, digest })),
    symlinks: [{ name: 'marker', target: marker }],
  });
  return blobOf(Directory.encode(message).finish());
}

async function getTree(
  context: CaseContext,
  rootDigest: Digest,
  options: { pageSize?: number; pageToken?: string } = {},
) {
  const request = GetTreeRequest.fromPartial({ instanceName: context.profile.instance, rootDigest, ...options });
  return await context.endpoint.stream(Cas, Cas.methods.getTree, request);
}

async function hashesOfTree(context: CaseContext, root: Blob, pageSize = 0): Promise<readonly string[]> {
  const streamed = await getTree(context, root.digest, { pageSize });
  expectEnd(streamed, status.OK);
  const directories = streamed.messages.flatMap((message) => message.directories);
  return directories.map((directory) => blobOf(Directory.encode(directory).finish()).digest.hash);
}

function hashes(blobs: readonly Blob[]): readonly string[] {
  return blobs.map(({ digest }) => digest.hash).sort();
}

/** GetTree. */
export const treeCases = [
  conformanceCase(
    {
      id: 'cas.get-tree.all',
      level: 'MUST',
      requirements: 'R-CAS-14',
      rule: 'The root and every directory below it are sent.',
    },
    async (context) => {
      const leaves = [directoryBlob([]), directoryBlob([])];
      const middle = directoryBlob(leaves);
      const root = directoryBlob([middle]);
      await storeBlobs(context, [...leaves, middle, root]);
      assert.deepEqual([...(await hashesOfTree(context, root))].sort(), hashes([...leaves, middle, root]));
    },
  ),
  conformanceCase(
    {
      id: 'cas.get-tree.missing-root',
      level: 'MUST',
      requirements: 'R-CAS-14',
      rule: 'A root that is absent is NOT_FOUND.',
    },
    async (context) => expectEnd(await getTree(context, freshBlob().digest), status.NOT_FOUND),
  ),
  conformanceCase(
    {
      id: 'cas.get-tree.missing-descendant',
      level: 'MUST',
      requirements: 'R-CAS-14',
      rule: 'A directory that is absent below the root is left out without an error.',
    },
    async (context) => {
      const [there, absent] = [directoryBlob([]), directoryBlob([])];
      const root = directoryBlob([there, absent]);
      await storeBlobs(context, [there, root]);
      assert.deepEqual([...(await hashesOfTree(context, root))].sort(), hashes([there, root]));
    },
  ),
  conformanceCase(
    {
      id: 'cas.get-tree.empty-root',
      level: 'SHOULD',
      requirements: 'R-CAS-18 R-CAS-01',
      rule: 'The tree of the empty blob is one empty directory.',
    },
    async (context) => assert.deepEqual(await hashesOfTree(context, EMPTY_BLOB), [EMPTY_BLOB.digest.hash]),
  ),
  conformanceCase(
    {
      id: 'cas.get-tree.pages-in-one-stream',
      level: 'SHOULD',
      requirements: 'R-CAS-15 R-CAS-16',
      rule: 'A page size bounds each message, and still one stream carries the whole tree.',
    },
    async (context) => {
      const leaves = Array.from({ length: 7 }, () => directoryBlob([]));
      const root = directoryBlob(leaves);
      await storeBlobs(context, [...leaves, root]);
      const streamed = await getTree(context, root.digest, { pageSize: 3 });
      expectEnd(streamed, status.OK);
      for (const message of streamed.messages) assert.ok(message.directories.length <= 3, 'a page is too long');
      assert.deepEqual([...(await hashesOfTree(context, root, 3))].sort(), hashes([...leaves, root]));
      assert.equal(streamed.messages.at(-1)?.nextPageToken, '');
    },
  ),
  conformanceCase(
    {
      id: 'cas.get-tree.bad-token',
      level: 'SHOULD',
      requirements: 'R-CAS-15',
      rule: 'A page token that the server never gave is refused.',
    },
    async (context) => {
      const root = directoryBlob([]);
      await storeBlobs(context, [root]);
      expectEnd(await getTree(context, root.digest, { pageToken: 'never given' }), status.INVALID_ARGUMENT);
    },
  ),
  conformanceCase(
    {
      id: 'cas.get-tree.shared-once',
      level: 'SHOULD',
      requirements: 'R-CAS-17',
      rule: 'A directory that is in the tree many times is sent once, which keeps a tree of 2^20 paths small.',
    },
    async (context) => {
      const chain = [directoryBlob([])];
      for (let depth = 0; depth < 20; depth += 1) {
        const below = chain.at(-1);
        if (below !== undefined) chain.push(directoryBlob([below, below]));
      }
      await storeBlobs(context, chain);
      const root = chain.at(-1);
      assert.ok(root !== undefined);
      assert.deepEqual([...(await hashesOfTree(context, root))].sort(), hashes(chain));
    },
  ),
  conformanceCase(
    {
      id: 'cas.get-tree.deep',
      level: 'SHOULD',
      requirements: 'R-CAS-14 R-CM-10',
      rule: 'A tree of 200 levels is sent.',
    },
    async (context) => {
      const chain = [directoryBlob([])];
      for (let depth = 1; depth < 200; depth += 1) chain.push(directoryBlob(chain.slice(-1)));
      await storeBlobs(context, chain);
      const root = chain.at(-1);
      assert.ok(root !== undefined);
      assert.equal((await hashesOfTree(context, root)).length, 200);
    },
  ),
  conformanceCase(
    {
      id: 'cas.get-tree.not-a-directory',
      level: 'SHOULD',
      requirements: 'R-CM-10',
      rule: 'A root whose bytes are no Directory is an error, not a tree.',
    },
    async (context) => {
      const blob = blobOf(`\xff\xff${freshName()}`);
      await storeBlobs(context, [blob]);
      const streamed = await getTree(context, blob.digest);
      expectEnd(streamed, status.INVALID_ARGUMENT, status.FAILED_PRECONDITION, status.DATA_LOSS, status.INTERNAL);
    },
  ),
];
