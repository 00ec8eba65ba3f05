import assert from 'node:assert/strict';
import { actionStoreContract } from '../../test/support/action-store-contract.ts';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { MemoryBlobStore } from '../cas/memory-blob-store.ts';
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

type PartialResult = Parameters<typeof ActionResult.fromPartial>[0];

const KEY = { instance: parseInstanceName(''), action: digestOf('sha256', Buffer.from('action')) };
const LIMITS = { maxTreeBytes: 1000, maxTreeDirectories: 5, maxTreeDepth: 3, maxDirectoryBytes: 1000 };

/** Counts what is asked, and can forget a blob. */
class ForgetfulStore extends MemoryBlobStore {
  readonly asked: number[] = [];
  readonly forgotten = new Set<string>();

  override async findMissing(digests: readonly Digest[], signal: AbortSignal): Promise<readonly Digest[]> {
    this.asked.push(digests.length);
    const lost = digests.filter(({ hash }) => this.forgotten.has(hash));
    return [...lost, ...(await super.findMissing(digests, signal))];
  }

  override getBytes(digest: Digest, signal: AbortSignal): Promise<Uint8Array> {
    if (this.forgotten.has(digest.hash)) return Promise.reject(new ReapiError('blob-not-found', 'forgotten'));
    return super.getBytes(digest, signal);
  }
}

describe('CompleteActionStore', () => {
  let blobs: ForgetfulStore;
  let store: CompleteActionStore;

  const open = (): CompleteActionStore => {
    blobs = new ForgetfulStore({ maxBytes: 1_000_000 });
    const entries = new MemoryEntryStore({ maxBytes: 100_000, maxEntryBytes: 50_000 });
    store = new CompleteActionStore(new EntryActionStore(entries), blobs, new Semaphore(2), LIMITS);
    return store;
  };
  beforeEach(open);

  describe('as an ActionStore', () => actionStoreContract(open));

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

  it('answers a result of which everything is there, and asks for all of it at once (R-AC-02)', async () => {
    const [result, needed] = await everything();
    assert.equal(await isHit(result), true);
    assert.deepEqual(blobs.asked, [Object.keys(needed).length]);
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
