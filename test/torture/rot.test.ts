import assert from 'node:assert/strict';
import { copyFileSync, cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { LocalStore } from '../../src/cas/segment/local-store.ts';
import { isKind } from '../../src/errors.ts';
import { ofKind } from '../support/expectations.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { MODEL_LIMITS, modelBlob } from './model-world.ts';
import { foldersIn, tortureOptions } from './torture-load.ts';

const NEVER = new AbortController().signal;

/** Records only; files of their own have tests beside them. */
const NUMBERS = Array.from({ length: 28 }, (_, at) => at).filter((number) => number % 7 < 5);
const LEASE_MS = 1.6 * MODEL_LIMITS.minRetentionMs;

const SEGMENT_HEADER_BYTES = 32;
const RECORD_HEADER_BYTES = 32;

describe('LocalStore over a disk that rots', () => {
  let folder: string;
  let clock: FakeClock;
  const stores: LocalStore[] = [];

  const open = async (where = folder): Promise<LocalStore> => {
    const options = { ...tortureOptions(clock, 'none', () => undefined), ...MODEL_LIMITS };
    const store = await LocalStore.open(foldersIn(where), options);
    stores.push(store);
    return store;
  };
  const closeAll = async (): Promise<void> => {
    for (const store of stores.splice(0)) await store.close();
  };
  const absent = async (store: LocalStore): Promise<readonly number[]> => {
    const digests = NUMBERS.map((number) => modelBlob(number).digest);
    const missing = new Set((await store.blobs.findMissing(digests, NEVER)).map(({ hash }) => hash));
    return NUMBERS.filter((number) => missing.has(modelBlob(number).digest.hash));
  };
  /** Reads everything; @returns what is not found. Whatever is read is whole. */
  const unreadable = async (store: LocalStore): Promise<readonly number[]> => {
    const lost: number[] = [];
    for (const number of NUMBERS) {
      const { bytes, digest } = modelBlob(number);
      try {
        assert.ok(bytes.equals(await store.blobs.getBytes(digest, NEVER)), `blob ${number} has other bytes`);
      } catch (error) {
        assert.ok(isKind(error, 'blob-not-found'), String(error));
        lost.push(number);
      }
    }
    return lost;
  };
  const files = (kind: RegExp, where = folder): readonly string[] =>
    readdirSync(join(where, 'segments'))
      .filter((name) => kind.test(name))
      .map((name) => join(where, 'segments', name));
  const flip = (path: string, at: number): void => {
    const bytes = readFileSync(path);
    bytes[at] = (bytes[at] ?? 0) ^ 0x40;
    writeFileSync(path, bytes);
  };
  /** Where the record of a blob begins. */
  const placeOf = (number: number): { readonly path: string; readonly at: number } => {
    const key = Buffer.from(modelBlob(number).digest.hash, 'hex');
    for (const path of files(/\.segment$/)) {
      const at = readFileSync(path).indexOf(key);
      if (at >= 0) return { path, at: at - RECORD_HEADER_BYTES };
    }
    return assert.fail(`blob ${number} is in no segment`);
  };

  beforeEach(async () => {
    folder = temporaryFolder();
    clock = new FakeClock();
    const store = await open();
    for (const number of NUMBERS) {
      const { bytes, digest } = modelBlob(number);
      await store.blobs.putBytes(digest, bytes, NEVER);
    }
    await store.entries.put('key', Buffer.from('value'), NEVER);
    await store.close();
  });

  afterEach(closeAll);

  for (const [part, offset] of [
    ['header', 6],
    ['size', 12],
    ['key', RECORD_HEADER_BYTES + 5],
    ['data', RECORD_HEADER_BYTES + 32 + 50],
  ] as const) {
    it(`does without a record whose ${part} is damaged, and keeps all others`, async () => {
      const { path, at } = placeOf(3);
      flip(path, at + offset);
      const store = await open();
      const found = await unreadable(store);
      // A header is not needed to read a blob whose place and digest are known.
      assert.deepEqual(found, part === 'data' ? [3] : []);
      const report = await store.check(() => undefined, NEVER);
      assert.equal(report.damaged, part === 'data' ? 0 : 1);
      assert.deepEqual(await absent(store), [3]);
      assert.equal(store.stats().quarantined, 1);
      await store.close();
      const again = await open();
      assert.deepEqual(await unreadable(again), [3]);
      const { bytes, digest } = modelBlob(3);
      await again.blobs.putBytes(digest, bytes, NEVER);
      assert.deepEqual(await unreadable(again), []);
    });
  }

  it('copies nothing forward that is damaged', async () => {
    const { path, at } = placeOf(3);
    flip(path, at + RECORD_HEADER_BYTES + 40);
    const store = await open();
    await absent(store);
    for (let number = 1001; number < 1400; number += 7) {
      const { bytes, digest } = modelBlob(number);
      await store.blobs.putBytes(digest, bytes, NEVER).catch((error: unknown) => {
        if (!isKind(error, 'quota-exceeded')) throw error;
      });
    }
    await store.prune(0, () => undefined, NEVER);
    const lost = await unreadable(store);
    assert.deepEqual(lost, [3]);
    assert.equal(store.stats().quarantined, 1);
  });

  it('says once that an entry was damaged, then does without it', async () => {
    const [path = ''] = files(/\.segment$/).filter((file) => readFileSync(file).includes('keyvalue'));
    flip(path, readFileSync(path).indexOf('keyvalue') + 4);
    const store = await open();
    await assert.rejects(store.entries.get('key', NEVER), ofKind('data-loss'));
    assert.equal(await store.entries.get('key', NEVER), undefined);
    assert.equal(store.stats().quarantined, 1);
    assert.deepEqual(await unreadable(store), []);
  });

  it('reads a segment whose header is damaged', async () => {
    const [path = ''] = files(/\.segment$/);
    for (let at = 0; at < SEGMENT_HEADER_BYTES; at += 5) flip(path, at);
    for (const isIndexGone of [false, true]) {
      if (isIndexGone) for (const index of files(/^index$/)) rmSync(index);
      const store = await open();
      assert.deepEqual(await unreadable(store), []);
      await store.close();
    }
  });

  it('is built anew from the segments alone, and does not take up what was damaged', async () => {
    const { path, at } = placeOf(3);
    flip(path, at + 6);
    flip(placeOf(10).path, placeOf(10).at + RECORD_HEADER_BYTES + 50);
    for (const file of files(/^(?:index|leases-.*)$/)) rmSync(file);
    const store = await open();
    assert.deepEqual(await unreadable(store), [3, 10]);
    assert.ok(await store.entries.get('key', NEVER));
    assert.ok(store.stats().quarantined >= 1);
  });

  it('law: one flipped bit anywhere loses at most one record, and is never served', async () => {
    const pristine = join(temporaryFolder(), 'pristine');
    cpSync(folder, pristine, { recursive: true });
    const names = files(/^(?:index|leases-.*|.*\.segment)$/, pristine);
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...names), fc.nat(), fc.boolean(), async (name, at, isCrash) => {
        const where = join(temporaryFolder(), 'rotten');
        cpSync(pristine, where, { recursive: true });
        const rotten = name.replace(pristine, where);
        const sizeBytes = readFileSync(rotten).length;
        if (sizeBytes > 0) flip(rotten, at % sizeBytes);
        if (isCrash) for (const index of files(/^index$/, where)) rmSync(index);
        const store = await open(where);
        const lost = await unreadable(store);
        const entry = await store.entries.get('key', NEVER).catch((error: unknown) => {
          if (!isKind(error, 'data-loss')) throw error;
          return undefined;
        });
        assert.ok(entry === undefined || Buffer.from(entry.value).toString() === 'value');
        assert.ok(lost.length + (entry === undefined ? 1 : 0) <= 1, `${lost} are lost`);
        await closeAll();
      }),
      { numRuns: 60 },
    );
  });

  it('takes up only whole records when the machine stopped and the end of the log was lost', async () => {
    const store = await open();
    const fresh = NUMBERS.map((number) => number + 28);
    for (const number of fresh) await store.blobs.putBytes(modelBlob(number).digest, modelBlob(number).bytes, NEVER);
    const copy = join(temporaryFolder(), 'copy');
    cpSync(folder, copy, { recursive: true });
    // The file system had made room for the bytes, and had not written them.
    const newest =
      files(/\.segment$/, copy)
        .toSorted()
        .at(-1) ?? '';
    const bytes = readFileSync(newest);
    writeFileSync(newest, bytes.fill(0, bytes.length - 30_000));
    const again = await open(copy);
    const isThere = again.stats().blobs;
    assert.ok(isThere >= NUMBERS.length && isThere < 2 * NUMBERS.length, String(isThere));
    assert.deepEqual(await unreadable(again), []);
    assert.equal((await again.check(() => undefined, NEVER)).damaged, 0);
    assert.equal(again.stats().quarantined, 0);
  });

  it('forgets no promise when the log of leases is torn', async () => {
    const store = await open();
    clock.advance(0.9 * MODEL_LIMITS.minRetentionMs);
    assert.deepEqual(await absent(store), []);
    const copy = join(temporaryFolder(), 'copy');
    cpSync(folder, copy, { recursive: true });
    const leases = files(/^leases-/, copy);
    assert.ok(leases.length > 0 && leases.some((file) => readFileSync(file).length > 0));
    // A torn end: bytes that were being written when the process died.
    for (const file of leases) writeFileSync(file, Buffer.concat([readFileSync(file), Buffer.from('torn')]));
    const again = await open(copy);
    clock.advance(0.9 * MODEL_LIMITS.minRetentionMs);
    for (let number = 1001; number < 1300; number += 7) {
      const { bytes, digest } = modelBlob(number);
      await again.blobs.putBytes(digest, bytes, NEVER).catch((error: unknown) => {
        if (!isKind(error, 'quota-exceeded')) throw error;
      });
    }
    assert.deepEqual(await absent(again), []);
    clock.advance(LEASE_MS);
  });

  it('leaves alone what is no file of its own', async () => {
    const foreign = join(folder, 'segments', 'README');
    copyFileSync(import.meta.filename, foreign);
    await open();
    assert.ok(existsSync(foreign));
  });
});
