import assert from 'node:assert/strict';
import { callServerStreaming } from '../../test/support/call-method.ts';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { fakeCall } from '../../test/support/fake-call.ts';
import { OpenAuthorizer } from '../auth/authorizer.ts';
import { type Digest, digestToWire, emptyDigest } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { InstanceNames } from '../digest/instance-name.ts';
import {
  ContentAddressableStorageDefinition,
  Directory,
  GetTreeRequest,
  type GetTreeResponse,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { casMethods } from './cas-service.ts';
import { MemoryBlobStore } from './memory-blob-store.ts';

const { getTree } = ContentAddressableStorageDefinition.methods;

const LIMITS = {
  maxBatchTotalSizeBytes: 1000,
  maxBlobSizeBytes: 0,
  maxDigestsPerRequest: 10,
  maxMessageBytes: 1000,
  maxTreeDirectories: 40,
  maxTreeDepth: 10,
  maxDirectoriesPerPage: 20,
};

describe('GetTree', () => {
  let store: MemoryBlobStore;

  beforeEach(() => {
    store = new MemoryBlobStore({ maxBytes: 1_000_000 });
  });

  const ask = (root: Digest, request: object = {}, limits: object = {}): Promise<GetTreeResponse[]> => {
    const access = { authorizer: new OpenAuthorizer(), instances: new InstanceNames() };
    const methods = casMethods(store, access, { ...LIMITS, ...limits });
    return callServerStreaming(methods, getTree, { rootDigest: digestToWire(root), ...request });
  };

  /** Stores a Directory with these children, told apart from others by a symlink called `label`. */
  const directory = async (label: string, ...children: readonly Digest[]): Promise<Digest> => {
    const message = Directory.fromPartial({
      directories: children.map((digest, index) => ({ name: `d${index}`, digest: digestToWire(digest) })),
      symlinks: [{ name: label, target: 'x' }],
    });
    return stored(Directory.encode(message).finish());
  };
  const stored = async (bytes: Uint8Array): Promise<Digest> => {
    const digest = digestOf('sha256', bytes);
    await store.putBytes(digest, bytes, noAbort());
    return digest;
  };
  const labels = (pages: readonly GetTreeResponse[]): (string | undefined)[] =>
    pages.flatMap((page) => page.directories.map(({ symlinks }) => symlinks[0]?.name));

  it('sends the root first, then every directory once, all in one stream (R-CAS-14, R-CAS-15, R-CAS-17)', async () => {
    const leaf = await directory('leaf');
    const left = await directory('left', leaf);
    const right = await directory('right', leaf, left);
    const root = await directory('root', left, right, leaf);
    const pages = await ask(root);
    assert.deepEqual(labels(pages), ['root', 'left', 'right', 'leaf']);
    assert.deepEqual(
      pages.map(({ nextPageToken }) => nextPageToken),
      [''],
    );
  });

  it('caps pages by page_size, goes on in the same stream, and resumes at every token (R-CAS-15, R-CAS-16)', async () => {
    const children = await Promise.all(['a', 'b', 'c', 'd'].map((label) => directory(label)));
    const root = await directory('root', ...children);
    const pages = await ask(root, { pageSize: 2 });
    assert.deepEqual(
      pages.map(({ directories }) => directories.length),
      [2, 2, 1],
    );
    assert.equal(pages.at(-1)?.nextPageToken, '');
    for (const [index, { nextPageToken }] of pages.slice(0, -1).entries()) {
      assert.notEqual(nextPageToken, '');
      assert.deepEqual(labels(await ask(root, { pageToken: nextPageToken })), labels(pages.slice(index + 1)));
    }
  });

  it('keeps every message below its limit (R-CAS-16, R-XC-05)', async () => {
    const children = await Promise.all(Array.from({ length: 8 }, (_, index) => directory(`${index}`.padEnd(250, '-'))));
    const rest = await directory('rest', ...children.slice(4));
    const root = await directory('root', ...children.slice(0, 4), rest);
    const pages = await ask(root);
    assert.equal(labels(pages).length, 10);
    assert.ok(pages.length > 2);
    const methods = casMethods(store, { authorizer: new OpenAuthorizer(), instances: new InstanceNames() }, LIMITS);
    const method = methods[3];
    assert.ok(method?.kind === 'server-streaming');
    const request = GetTreeRequest.encode(GetTreeRequest.fromPartial({ rootDigest: digestToWire(root) })).finish();
    for await (const page of method.handle(request, fakeCall())) assert.ok(page.length <= LIMITS.maxMessageBytes);
  });

  it('leaves absent descendants out, and fails for an absent root (R-CAS-14)', async () => {
    const absent = digestOf('sha256', Buffer.from('absent'));
    const root = await directory('root', absent, await directory('child'));
    assert.deepEqual(labels(await ask(root)), ['root', 'child']);
    await assert.rejects(ask(absent), ofKind('blob-not-found'));
  });

  it('answers the empty root with one empty Directory, without storage (R-CAS-18)', async () => {
    const pages = await ask(emptyDigest('sha256'));
    assert.deepEqual(pages, [{ directories: [Directory.fromPartial({})], nextPageToken: '' }]);
  });

  it('sends directories as they are stored, unknown fields included', async () => {
    const bytes = Buffer.concat([Directory.encode(Directory.fromPartial({})).finish(), Buffer.of(0xa0, 0x06, 0x07)]);
    const root = await stored(bytes);
    const methods = casMethods(store, { authorizer: new OpenAuthorizer(), instances: new InstanceNames() }, LIMITS);
    const method = methods[3];
    assert.ok(method?.kind === 'server-streaming');
    const request = GetTreeRequest.encode(GetTreeRequest.fromPartial({ rootDigest: digestToWire(root) })).finish();
    const pages: Uint8Array[] = [];
    for await (const page of method.handle(request, fakeCall())) pages.push(page);
    assert.deepEqual(Buffer.concat(pages), Buffer.concat([Buffer.of(0x0a, bytes.length), bytes]));
  });

  for (const token of ['x', '0123456789abcdef-1', '-1', 'abc-0']) {
    it(`refuses the page token ${token} (R-CAS-15)`, async () => {
      await assert.rejects(ask(await directory('root'), { pageToken: token }), ofKind('invalid-argument'));
    });
  }

  it('refuses a token beyond the end of the tree, and a negative page size', async () => {
    const root = await directory('root');
    const pageToken = `${root.hash.slice(0, 16)}-1`;
    await assert.rejects(ask(root, { pageToken }), ofKind('invalid-argument'));
    await assert.rejects(ask(root, { pageSize: -1 }), ofKind('invalid-argument'));
  });

  it('refuses a request without a root, and a malformed one', async () => {
    const root = await directory('root');
    await assert.rejects(ask(root, { rootDigest: undefined }), ofKind('invalid-argument'));
    await assert.rejects(ask(root, { rootDigest: { hash: 'x', sizeBytes: 1n } }), ofKind('invalid-argument'));
  });

  it('refuses a blob that is no Directory, and a node without a digest', async () => {
    await assert.rejects(ask(await stored(Buffer.from('\xff no message'))), ofKind('invalid-argument'));
    const nameless = Directory.encode(Directory.fromPartial({ directories: [{ name: 'x' }] })).finish();
    await assert.rejects(ask(await stored(nameless)), ofKind('invalid-argument'));
  });

  it('bounds depth, number and size of directories', async () => {
    let chain = await directory('end');
    for (let depth = 0; depth < 11; depth++) chain = await directory(`${depth}`, chain);
    await assert.rejects(ask(chain), ofKind('too-large'));
    assert.equal(labels(await ask(chain, {}, { maxTreeDepth: 11 })).length, 12);
    await assert.rejects(ask(chain, {}, { maxTreeDepth: 11, maxTreeDirectories: 11 }), ofKind('too-large'));
    await assert.rejects(ask(await directory('x'.repeat(1000))), ofKind('too-large'));
  });
});
