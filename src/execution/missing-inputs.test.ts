import assert from 'node:assert/strict';
import { MemoryBlobStore } from '../cas/memory-blob-store.ts';
import { type Digest, digestToWire, emptyDigest } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { isKind } from '../errors.ts';
import { Directory } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { LargestInputs, MIN_SKETCHED_BYTES } from '../platform/locality.ts';
import { missingInputsOf } from './missing-inputs.ts';

const never = new AbortController().signal;
const limits = { maxDirectories: 10, maxDepth: 4, maxDirectoryBytes: 10_000 };

class Inputs {
  readonly store = new MemoryBlobStore({ maxBytes: 1_000_000 });

  async put(bytes: Uint8Array): Promise<Digest> {
    const digest = digestOf('sha256', bytes);
    await this.store.putBytes(digest, bytes, never);
    return digest;
  }

  directory(files: Record<string, Digest>, directories: Record<string, Digest> = {}): Uint8Array {
    const nodes = (of: Record<string, Digest>) =>
      Object.entries(of).map(([name, digest]) => ({ name, digest: digestToWire(digest) }));
    return Directory.encode(Directory.fromPartial({ files: nodes(files), directories: nodes(directories) })).finish();
  }

  missing(root: Digest): Promise<readonly Digest[]> {
    return missingInputsOf(this.store, limits)(root, never);
  }
}

const lost = (text: string): Digest => digestOf('sha256', Buffer.from(text));

describe('missingInputsOf', () => {
  it('finds nothing missing in a complete tree, nor in the empty one (R-CAS-01)', async () => {
    const inputs = new Inputs();
    const file = await inputs.put(Buffer.from('file'));
    const below = await inputs.put(inputs.directory({ file }));
    const root = await inputs.put(inputs.directory({ file, empty: emptyDigest('sha256') }, { below }));
    assert.deepEqual(await inputs.missing(root), []);
    assert.deepEqual(await inputs.missing(emptyDigest('sha256')), []);
  });

  it('names every missing file and Directory of the tree, each once (R-EX-43, R-EX-45)', async () => {
    const inputs = new Inputs();
    const below = await inputs.put(inputs.directory({ a: lost('a'), b: lost('b') }));
    const root = await inputs.put(inputs.directory({ a: lost('a') }, { below, again: below, gone: lost('gone') }));
    const hashes = (await inputs.missing(root)).map(({ hash }) => hash).sort();
    assert.deepEqual(hashes, [lost('a'), lost('b'), lost('gone')].map(({ hash }) => hash).sort());
  });

  it('asks for some thousand files at a time, also where one directory has them all', async () => {
    const inputs = new Inputs();
    const hash = (index: number): string => index.toString(16).padStart(64, '0');
    const files = Array.from({ length: 12_001 }, (_, index) => ({
      name: String(index),
      digest: { hash: hash(index), sizeBytes: 1n },
    }));
    const root = await inputs.put(Directory.encode(Directory.fromPartial({ files })).finish());
    const questions: number[] = [];
    const store = Object.assign(inputs.store, {
      findMissing: async (digests: readonly Digest[]) => {
        questions.push(digests.length);
        return digests;
      },
    });
    const missing = await missingInputsOf(store, { ...limits, maxDirectoryBytes: 2_000_000 })(root, never);
    assert.deepEqual(questions, [5_000, 5_000, 2_001]);
    assert.deepEqual(new Set(missing.map((digest) => digest.hash)), new Set(files.map(({ digest }) => digest.hash)));
  });

  it('tells of the largest files of the whole tree, each once, missing or not', async () => {
    const inputs = new Inputs();
    const sized = (name: string, sizeBytes: number): Digest => ({ ...lost(name), sizeBytes });
    const [middle, large] = [sized('middle', MIN_SKETCHED_BYTES), sized('large', 2 * MIN_SKETCHED_BYTES)];
    const small = await inputs.put(Buffer.from('small'));
    const below = await inputs.put(inputs.directory({ large, small }));
    const root = await inputs.put(inputs.directory({ middle, again: middle }, { below }));
    const largest = new LargestInputs();
    await missingInputsOf(inputs.store, limits)(root, never, largest);
    const expected = [large, middle].map(({ hash, sizeBytes }) => ({ hash, sizeBytes }));
    assert.deepEqual(largest.sketch, expected);
  });

  it('lets other things happen between its steps, however many trees there are: they may all be at hand', async () => {
    const inputs = new Inputs();
    const names = Array.from({ length: 100 }, (_, index) => String(index));
    const files = Object.fromEntries(names.map((name) => [name, lost(name)]));
    const store = Object.assign(inputs.store, { findMissing: async () => [] });
    const missing = missingInputsOf(store, limits);
    const root = await inputs.put(inputs.directory(files));
    let turns = 0;
    const count = (): void => {
      turns++;
      handle = setImmediate(count);
    };
    let handle = setImmediate(count);
    await Promise.all(Array.from({ length: 200 }, () => missing(root, never)));
    clearImmediate(handle);
    assert.ok(turns >= 15, `20,000 files in ${turns} turns`);
  });

  it('walks so many trees at a time and no more: others wait, and may be given up', async () => {
    const inputs = new Inputs();
    const gate = Promise.withResolvers<Uint8Array>();
    let reading = 0;
    const store = Object.assign(inputs.store, {
      getBytes: () => {
        reading++;
        return gate.promise;
      },
    });
    const missing = missingInputsOf(store, limits);
    const walks = Array.from({ length: 40 }, () => missing(lost('root'), never));
    const leaving = new AbortController();
    const last = missing(lost('root'), leaving.signal);
    await new Promise(setImmediate);
    assert.equal(reading, 32);
    leaving.abort();
    await assert.rejects(last, (error) => isKind(error, 'cancelled'));
    gate.resolve(inputs.directory({}));
    await Promise.all(walks);
    assert.equal(reading, 40);
  });

  it('names a missing root itself', async () => {
    assert.deepEqual(await new Inputs().missing(lost('root')), [lost('root')]);
  });

  it('refuses a tree beyond its limits (R-CM-10)', async () => {
    const inputs = new Inputs();
    let root = await inputs.put(inputs.directory({}, {}));
    for (let depth = 0; depth < 6; depth++) root = await inputs.put(inputs.directory({}, { [`d${depth}`]: root }));
    await assert.rejects(inputs.missing(root), (error) => isKind(error, 'too-large'));
  });
});
