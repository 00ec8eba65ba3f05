import type { ObjectInfo, UnfinishedUpload } from '../../cas/s3/object-store.ts';
import { PART_BYTES } from '../../cas/s3/s3-multipart.ts';
import type { Clock } from '../../system/clock.ts';
import { readableCount, readableSize } from './readable.ts';
import { isDenied } from './s3-doctor-advice.ts';
import type { S3Probe } from './s3-doctor-probe.ts';
import type { S3Finding } from './s3-doctor-report.ts';

/** What a check found, without its name. */
export type Found = Omit<S3Finding, 'check'>;

/** What checks share. */
export interface CheckScene {
  readonly probe: S3Probe;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Begins the keys of everything that checks write. */
  readonly folder: string;
  /** Bytes that no compression or guess reproduces. */
  readonly sample: Uint8Array;
  /** What is still there, to be removed whatever happens; added to before anything is sent. */
  readonly keys: Set<string>;
  readonly uploads: Set<UnfinishedUpload>;
  /** Names of the checks that found nothing wrong. */
  readonly passed: ReadonlySet<string>;
}

/** One question about a bucket. */
export interface Check {
  readonly name: string;
  /** Names of checks without which this one says nothing. */
  readonly needs: readonly string[];
  /** What it takes, as AWS calls it. */
  readonly right: string;
  /** @throws what the bucket answers. */
  readonly run: (scene: CheckScene) => Promise<Found>;
  /** Uses the right alone, on nothing, where what the check needs is lacking. @throws as `run`. */
  readonly useRight?: (scene: CheckScene) => Promise<unknown>;
}

/** Bytes of the objects that are written and read back: more than one chunk of any framing. */
export const SAMPLE_BYTES = 100_003;

const NAMES = ['1', '2', '3'] as const;
const RANGE = { offset: 70_001, lengthBytes: 12_345 };

/** Two full parts and a bit: the last part of an upload may be short, the others may not. */
const LONG_BYTES = 2 * PART_BYTES + 12_345;

/** Requests of each kind that are timed, one after the other. */
const TIMED_REQUESTS = 9;

/** Above it people notice what waits for the bucket. */
const SLOW_MS = 250;

/** The checks in their order, after the first contact. */
export const CHECKS: readonly Check[] = [
  { name: 'put', needs: [], right: 's3:PutObject', run: put },
  {
    ...{ name: 'get', needs: ['put'], right: 's3:GetObject', run: get },
    useRight: ({ probe, folder, signal }) => probe.store.get(`${folder}absent`, SAMPLE_BYTES, signal),
  },
  { name: 'range read', needs: ['put', 'get'], right: 's3:GetObject', run: rangeRead },
  { name: 'list', needs: ['put'], right: 's3:ListBucket', run: list },
  { name: 'copy', needs: ['put', 'get'], right: 's3:PutObject and s3:GetObject', run: copy },
  { name: 'multipart', needs: ['put', 'get'], right: 's3:PutObject', run: multipart },
  { name: 'abort multipart', needs: ['put'], right: 's3:AbortMultipartUpload', run: abortMultipart },
  {
    ...{ name: 'list multipart', needs: ['put'], right: 's3:ListBucketMultipartUploads', run: listMultipart },
    useRight: async ({ probe, signal }) => {
      for await (const _ of probe.store.unfinishedUploads(signal)) break;
    },
  },
  { name: 'latency', needs: ['put', 'get'], right: 's3:PutObject', run: latency },
  {
    ...{ name: 'delete', needs: ['put'], right: 's3:DeleteObject', run: remove },
    useRight: ({ probe, folder, signal }) => probe.store.delete([`${folder}absent`], signal),
  },
];

async function put(scene: CheckScene): Promise<Found> {
  const { probe, folder, sample, signal } = scene;
  for (const name of NAMES) {
    // Several chunks, as packs are sent: servers fail at these first.
    const chunks = [sample.subarray(0, 10), sample.subarray(10, 70_000), sample.subarray(70_000)];
    await written(scene, folder + name, () => probe.store.put(folder + name, chunks, signal));
  }
  return { result: 'ok', finding: `wrote ${NAMES.length} objects of ${readableSize(SAMPLE_BYTES)}` };
}

async function get({ probe, folder, sample, signal }: CheckScene): Promise<Found> {
  const bytes = await probe.store.get(folder + NAMES[0], 2 * SAMPLE_BYTES, signal);
  if (bytes === undefined) {
    return failed(
      'an object is not there right after it was written',
      'Gantry needs a store that is consistent at once.',
    );
  }
  if (isSame(bytes, sample)) {
    return { result: 'ok', finding: `${readableCount(bytes.length)} bytes came back as they were sent` };
  }
  if (Buffer.from(bytes).subarray(0, 200).includes('chunk-signature=')) {
    const finding = 'the server stored the framing of the upload as if it were content';
    return failed(finding, 'It does not understand aws-chunked bodies: update it or use another one.');
  }
  return failed(
    `other bytes came back: ${readableCount(bytes.length)} of ${readableCount(sample.length)} that were sent`,
    'The server, or a proxy on the way, changes what is stored. It cannot be used.',
  );
}

async function rangeRead({ probe, folder, sample, signal }: CheckScene): Promise<Found> {
  const last = { offset: sample.length - 1, lengthBytes: 1 };
  for (const { offset, lengthBytes } of [RANGE, last]) {
    const bytes = await probe.store.getRange(folder + NAMES[0], offset, lengthBytes, signal);
    if (isSame(bytes, sample.subarray(offset, offset + lengthBytes))) continue;
    return failed(
      `asked for ${readableCount(lengthBytes)} bytes from ${readableCount(offset)}, others came`,
      'The server has to honour the header Range: blobs are read out of packs that way.',
    );
  }
  return { result: 'ok', finding: 'parts of objects come as asked for' };
}

async function list(scene: CheckScene): Promise<Found> {
  const { folder } = scene;
  const all = await listed(scene, undefined);
  const expected = NAMES.map((name) => folder + name);
  if (!isSameList(keysOf(all), expected)) {
    const finding = `a listing right after writing ${expected.length} objects shows ${all.length}`;
    return failed(finding, 'Gantry needs listings that are complete at once, and in the order of keys.');
  }
  if (all.some(({ sizeBytes }) => sizeBytes !== SAMPLE_BYTES)) {
    return failed('a listing shows sizes that are wrong', 'The server cannot be used.');
  }
  const after = await listed(scene, expected[0]);
  if (!isSameList(keysOf(after), expected.slice(1))) {
    const finding = 'the server ignores start-after in listings';
    return failed(finding, 'Without it a server cannot look for what is new. Update the object store.');
  }
  return { result: 'ok', finding: 'complete right after a write, in order, and from any key on' };
}

async function copy(scene: CheckScene): Promise<Found> {
  const { probe, folder, sample, signal } = scene;
  const to = `${folder}copy`;
  await written(scene, to, () => probe.store.copy(folder + NAMES[0], to, sample.length, signal));
  const bytes = await probe.store.get(to, 2 * SAMPLE_BYTES, signal);
  if (bytes !== undefined && isSame(bytes, sample))
    return { result: 'ok', finding: 'copies inside the bucket are exact' };
  return failed('a copy differs from its original', 'The server cannot be used.');
}

async function multipart(scene: CheckScene): Promise<Found> {
  const { probe, folder, sample, signal } = scene;
  const key = `${folder}long`;
  await written(scene, key, () => probe.store.putStream(key, longContent(sample), LONG_BYTES, signal));
  let offset = 0;
  for await (const chunk of longContent(sample)) {
    const bytes = await probe.store.getRange(key, offset, chunk.length, signal);
    if (!isSame(bytes, chunk)) {
      const finding = `other bytes came back from ${readableCount(offset)} of an upload in parts`;
      return failed(finding, 'The server, or a proxy on the way, changes what is stored. It cannot be used.');
    }
    offset += chunk.length;
  }
  return { result: 'ok', finding: `${readableSize(LONG_BYTES)} in parts came back as they were sent` };
}

async function abortMultipart({ probe, folder, uploads, signal }: CheckScene): Promise<Found> {
  const upload = await probe.beginUpload(`${folder}dropped`, signal);
  uploads.add(upload);
  await probe.store.dropUpload(upload, signal);
  uploads.delete(upload);
  return { result: 'ok', finding: 'an upload in parts can be dropped' };
}

async function listMultipart({ probe, folder, uploads, signal }: CheckScene): Promise<Found> {
  const upload = await probe.beginUpload(`${folder}unfinished`, signal);
  uploads.add(upload);
  for await (const page of probe.store.unfinishedUploads(signal)) {
    if (page.some(({ key, id }) => key === upload.key && id === upload.id)) {
      return { result: 'ok', finding: 'unfinished uploads are listed, so that their parts can be removed' };
    }
  }
  return {
    result: 'warning',
    finding: 'the server does not list unfinished uploads',
    advice:
      'It has to remove them itself after some days (MinIO does after one): parts of broken-off uploads take room.',
  };
}

async function latency({ probe, clock, folder, sample, keys, signal }: CheckScene): Promise<Found> {
  const key = `${folder}small`;
  keys.add(key);
  const small = sample.subarray(0, 1024);
  const putMs = await timed(clock, () => probe.store.put(key, [small], signal));
  const getMs = await timed(clock, () => probe.store.get(key, SAMPLE_BYTES, signal));
  const finding = `1 KiB is written in ${spread(putMs)}, read in ${spread(getMs)}`;
  if (Math.max(median(putMs), median(getMs)) <= SLOW_MS) return { result: 'ok', finding };
  const advice =
    'Uploads with durability s3 wait at least that long: run the server near the bucket, or use durability local.';
  return { result: 'warning', finding, advice };
}

async function remove({ probe, keys, signal, folder, passed }: CheckScene): Promise<Found> {
  await probe.store.delete([...keys], signal);
  if (passed.has('get') && (await probe.store.get(folder + NAMES[0], 2 * SAMPLE_BYTES, signal)) !== undefined) {
    return failed(
      'an object is still there after it was deleted',
      'Is there a lock or a policy of retention on the bucket?',
    );
  }
  keys.clear();
  return { result: 'ok', finding: 'what was written is gone' };
}

/** Runs what writes an object, so that it is removed whatever comes; after a failure it may be there all the same. */
async function written({ keys }: CheckScene, key: string, write: () => Promise<void>): Promise<void> {
  keys.add(key);
  try {
    await write();
  } catch (error) {
    if (isDenied(error)) keys.delete(key);
    throw error;
  }
}

/** Chunks that differ, so that parts in the wrong order are noticed. */
async function* longContent(sample: Uint8Array): AsyncGenerator<Uint8Array> {
  const chunkBytes = 2 ** 20;
  for (let offset = 0; offset < LONG_BYTES; offset += chunkBytes) {
    const chunk = Buffer.alloc(Math.min(chunkBytes, LONG_BYTES - offset), sample);
    chunk.writeUInt32LE(offset);
    yield chunk;
  }
}

async function listed(
  { probe, folder, signal }: CheckScene,
  after: string | undefined,
): Promise<readonly ObjectInfo[]> {
  const found: ObjectInfo[] = [];
  for await (const page of probe.store.list(folder, after, signal)) {
    found.push(...page);
    // A server that ignores where to go on would do so for ever.
    if (found.length > 100) break;
  }
  return found;
}

async function timed(clock: Clock, request: () => Promise<unknown>): Promise<readonly number[]> {
  const times: number[] = [];
  for (let done = 0; done < TIMED_REQUESTS; done++) {
    const startedMs = clock.monotonicMs();
    await request();
    times.push(clock.monotonicMs() - startedMs);
  }
  return times.toSorted((a, b) => a - b);
}

function median(sorted: readonly number[]): number {
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

function spread(sorted: readonly number[]): string {
  return `${Math.ceil(median(sorted))} ms (least ${Math.ceil(sorted[0] ?? 0)} ms)`;
}

function failed(finding: string, advice: string): Found {
  return { result: 'failed', finding, advice };
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

function keysOf(objects: readonly ObjectInfo[]): readonly string[] {
  return objects.map(({ key }) => key);
}

function isSameList(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((key, at) => key === other[at]);
}
