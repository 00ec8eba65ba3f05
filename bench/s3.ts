/**
 * Figures of the store with a bucket behind it, next to local disk alone, in one run over a MinIO that it starts itself:
 * `node bench/s3.ts [--dir D] [--puts N] [--only small,large,find,recover]`. Needs MinIO (`bash scripts/install-s3-servers.sh`). CPU time is that of this process, all
 * threads; MinIO's is not in it.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { BlobStore } from '../src/cas/blob-store.ts';
import { BucketTier, type BucketTierOptions } from '../src/cas/s3/bucket-tier.ts';
import { RequestCounts } from '../src/cas/s3/request-counts.ts';
import { createS3Client } from '../src/cas/s3/s3-client.ts';
import { S3ObjectStore } from '../src/cas/s3/s3-object-store.ts';
import { LocalStore } from '../src/cas/segment/local-store.ts';
import type { Digest } from '../src/digest/digest.ts';
import { digestOf } from '../src/digest/hasher.ts';
import { streamOf, WHOLE } from '../src/system/byte-stream.ts';
import { SystemClock } from '../src/system/clock.ts';
import { NODE_FILE_SYSTEM } from '../src/system/file-system.ts';
import { NO_LOG } from '../src/system/log.ts';
import { SystemRandom } from '../src/system/random.ts';
import { Minio } from '../test/support/minio.ts';

const NEVER = new AbortController().signal;
const KIB = 1024;
const MIB = 1024 * KIB;
const clock = new SystemClock();
const random = new SystemRandom();

const { values } = parseArgs({
  options: {
    dir: { type: 'string', default: tmpdir() },
    puts: { type: 'string', default: '100000' },
    only: { type: 'string', default: 'small,large,find,recover' },
  },
});

const OPTIONS: BucketTierOptions = {
  durability: 's3',
  maxBacklogBytes: 2 ** 31,
  uploadWaitMs: 60_000,
  refreshMs: 60_000,
  promiseSeconds: 600,
  retentionSeconds: 0,
  maxBytes: 0,
  packBytes: 32 * MIB,
  maxSmallPacksPerSecond: 4,
  maxPackedBlobBytes: MIB,
  maxEntryBytes: MIB,
  maxConcurrentRequests: 64,
};

interface World {
  readonly local: LocalStore;
  readonly tier: BucketTier;
  readonly counts: RequestCounts;
  close(): Promise<void>;
}

interface Sample {
  readonly digest: Digest;
  readonly bytes: Buffer;
}

function openLocal(folder: string): Promise<LocalStore> {
  const folders = { segments: join(folder, 'segments'), files: join(folder, 'blobs') };
  mkdirSync(folder, { recursive: true });
  return LocalStore.open(folders, {
    ...{ clock, random, sync: 'group', log: NO_LOG },
    events: { committed: () => undefined, evicted: () => undefined, refused: () => undefined },
    ...{ maxBytes: 32 * 2 ** 30, minFreeBytes: MIB, minRetentionMs: 60_000, maxLeasedShare: 0.8 },
    ...{ maxEntryBytes: 2 * MIB, checkpointMs: 300_000 },
  });
}

/** A machine with a bucket. */
async function openWorld(minio: Minio, folder: string, changes: Partial<BucketTierOptions> = {}): Promise<World> {
  const local = await openLocal(folder);
  const options = minio.options({ requestTimeoutMs: 30_000 });
  const client = createS3Client(options);
  const counts = new RequestCounts();
  const objects = new S3ObjectStore(client, options, { clock, random, counts });
  const host = {
    ...{ objects, local, clock, random, log: NO_LOG, files: NODE_FILE_SYSTEM, folder: join(folder, 's3') },
    onProgress: () => undefined,
    onForgotten: () => undefined,
  };
  const tier = await BucketTier.open(host, { ...OPTIONS, ...changes }, NEVER);
  const close = async (): Promise<void> => {
    await tier.close(60_000);
    await local.close();
    client.destroy();
  };
  return { local, tier, counts, close };
}

function sample(number: number, sizeBytes: number): Sample {
  const bytes = Buffer.alloc(sizeBytes, 0x61);
  bytes.writeDoubleLE(number, 0);
  return { bytes, digest: digestOf('sha256', bytes) };
}

/** CPU and wall microseconds of `count` steps, so many at once. */
async function measure(count: number, inFlight: number, step: (at: number) => Promise<unknown>) {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await step(next++);
  };
  const startMs = clock.monotonicMs();
  const before = process.cpuUsage();
  await Promise.all(Array.from({ length: inFlight }, lane));
  const { user, system } = process.cpuUsage(before);
  const seconds = (clock.monotonicMs() - startMs) / 1000;
  return { cpuMicros: (user + system) / count, perSecond: count / seconds, seconds };
}

function print(...cells: readonly string[]): void {
  process.stdout.write(`${cells.map((cell, at) => (at === 0 ? cell.padEnd(44) : cell.padStart(12))).join('')}\n`);
}

/** Puts and reads of 1 KiB: next to disk alone, and what they cost in requests and bytes. */
async function benchSmall(minio: Minio, folder: string): Promise<void> {
  const count = Number(values.puts);
  const samples = Array.from({ length: count }, (_, number) => sample(number, KIB));
  const put = (blobs: BlobStore) => (at: number) => {
    const { digest, bytes } = samples[at] ?? sample(at, KIB);
    return blobs.putBytes(digest, bytes, NEVER);
  };
  const get = (blobs: BlobStore) => (at: number) => blobs.getBytes((samples[at] ?? sample(at, KIB)).digest, NEVER);
  print('1 KiB blobs', 'CPU µs', 'a second');
  const disk = await openLocal(join(folder, 'disk'));
  const row = async (name: string, inFlight: number, step: (at: number) => Promise<unknown>): Promise<void> => {
    const { cpuMicros, perSecond } = await measure(count, inFlight, step);
    print(name, cpuMicros.toFixed(1), perSecond.toFixed(0));
  };
  await row('put, disk alone', 1000, put(disk.blobs));
  const first = await openWorld(minio, join(folder, 'first'));
  await row('put, durability s3', 1000, put(first.tier.blobs));
  cost('put, durability s3', first, count, count * KIB);
  await row('get, in the local tier', 64, get(first.tier.blobs));
  await first.close();
  const second = await openWorld(minio, join(folder, 'second'));
  const before = second.counts.total;
  await row('get, from the bucket', 64, get(second.tier.blobs));
  print('  requests per 1,000 reads', (((second.counts.total - before) * 1000) / count).toFixed(2));
  await second.close();
  await disk.close();
}

function cost(name: string, { counts, tier }: World, blobs: number, bytes: number): void {
  const put = counts.of('put').requests;
  print(`  requests per 1,000 blobs, ${name}`, ((put * 1000) / blobs).toFixed(2));
  print('  bytes stored per byte', (tier.stats().bytes / bytes).toFixed(4));
}

async function benchLarge(minio: Minio, folder: string): Promise<void> {
  const sizeBytes = 64 * MIB;
  const count = 8;
  const samples = Array.from({ length: count }, (_, number) => sample(number, sizeBytes));
  const chunks = (bytes: Buffer): Buffer[] =>
    Array.from({ length: bytes.length / MIB }, (_, at) => bytes.subarray(at * MIB, (at + 1) * MIB));
  const put = (blobs: BlobStore) => async (at: number) => {
    const { digest, bytes } = samples[at] ?? sample(at, sizeBytes);
    await blobs.put(digest, streamOf(...chunks(bytes)), NEVER);
  };
  const get = (blobs: BlobStore) => async (at: number) => {
    const { digest } = samples[at] ?? sample(at, sizeBytes);
    for await (const chunk of await blobs.open(digest, WHOLE, NEVER)) if (chunk.length === 0) throw new Error('empty');
  };
  print('64 MiB blobs', 'CPU s/GiB', 'MiB/s');
  const row = async (name: string, step: (at: number) => Promise<unknown>): Promise<void> => {
    const { cpuMicros, seconds } = await measure(count, 2, step);
    print(name, ((cpuMicros / 1e6) * (1024 / 64)).toFixed(2), ((count * 64) / seconds).toFixed(0));
  };
  const disk = await openLocal(join(folder, 'disk'));
  await row('put, disk alone', put(disk.blobs));
  const first = await openWorld(minio, join(folder, 'first'));
  await row('put, durability s3', put(first.tier.blobs));
  const requests = first.counts.total;
  print('  requests per GiB', ((requests * 1024) / (count * 64)).toFixed(0));
  await row('get, in the local tier', get(first.tier.blobs));
  await first.close();
  const second = await openWorld(minio, join(folder, 'second'));
  await row('get, from the bucket', get(second.tier.blobs));
  await second.close();
  await disk.close();
}

/** Looking up 1,000 digests, with and without a bucket. */
async function benchFind(minio: Minio, folder: string): Promise<void> {
  const samples = Array.from({ length: 1000 }, (_, number) => sample(number, KIB));
  const digests = samples.map(({ digest }) => digest);
  const world = await openWorld(minio, folder);
  const disk = await openLocal(join(folder, 'disk'));
  for (const blobs of [world.tier.blobs, disk.blobs]) {
    await Promise.all(samples.map(({ digest, bytes }) => blobs.putBytes(digest, bytes, NEVER)));
  }
  print('findMissing of 1,000 digests', 'CPU µs');
  for (const [name, blobs] of [
    ['disk alone', disk.blobs],
    ['with a bucket', world.tier.blobs],
  ] as const) {
    await measure(200, 1, () => blobs.findMissing(digests, NEVER));
    const { cpuMicros } = await measure(2000, 1, () => blobs.findMissing(digests, NEVER));
    print(name, cpuMicros.toFixed(0));
  }
  await disk.close();
  await world.close();
}

/** An empty machine and a bucket of `--puts` blobs: from footers alone. */
async function benchRecover(minio: Minio, folder: string): Promise<void> {
  const count = Number(values.puts);
  const first = await openWorld(minio, join(folder, 'first'), { packBytes: MIB });
  await measure(count, 4000, (at) => {
    const { digest, bytes } = sample(at, KIB);
    return first.tier.blobs.putBytes(digest, bytes, NEVER);
  });
  const { packs } = first.tier.stats();
  await first.close();
  const { cpuMicros, seconds } = await measure(1, 1, async () => {
    const second = await openWorld(minio, join(folder, 'second'));
    print(`recovery: ${second.tier.stats().blobs} blobs from ${packs} footers`);
    await second.close();
  });
  print('  seconds', seconds.toFixed(2));
  print('  CPU seconds', (cpuMicros / 1e6).toFixed(2));
}

const BENCHES = { small: benchSmall, large: benchLarge, find: benchFind, recover: benchRecover };

for (const [name, bench] of Object.entries(BENCHES)) {
  if (!values.only.split(',').includes(name)) continue;
  const folder = mkdtempSync(join(values.dir, 'gantry-bench-s3-'));
  mkdirSync(join(folder, 'minio'));
  const minio = await Minio.start(join(folder, 'minio'));
  try {
    await bench(minio, folder);
  } finally {
    await minio.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
