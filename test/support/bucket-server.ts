import { hash as sha256 } from 'node:crypto';
import { BucketIndex } from '../../src/cas/s3/bucket-index.ts';
import { BucketTime } from '../../src/cas/s3/bucket-time.ts';
import { Collector } from '../../src/cas/s3/collector.ts';
import { Condemnations } from '../../src/cas/s3/condemnations.ts';
import { ContainerLoader } from '../../src/cas/s3/container-loader.ts';
import { ContainerNumbers } from '../../src/cas/s3/container-numbers.ts';
import { type Container, Containers } from '../../src/cas/s3/containers.ts';
import { CopyForward } from '../../src/cas/s3/copy-forward.ts';
import { encodeEntryBody } from '../../src/cas/s3/entry-body.ts';
import { containerKey } from '../../src/cas/s3/object-names.ts';
import { ENTRY_RECORD_KIND } from '../../src/cas/s3/pack-record.ts';
import { PackWriter } from '../../src/cas/s3/pack-writer.ts';
import { Peers } from '../../src/cas/s3/peers.ts';
import { Promises } from '../../src/cas/s3/promises.ts';
import { RangeReader } from '../../src/cas/s3/range-reader.ts';
import { Refresh } from '../../src/cas/s3/refresh.ts';
import type { VictimRules } from '../../src/cas/s3/victims.ts';
import { RowKey } from '../../src/cas/segment/record-index/row-key.ts';
import type { Digest } from '../../src/digest/digest.ts';
import { digestFunctionToWire } from '../../src/digest/digest-function.ts';
import { digestOf } from '../../src/digest/hasher.ts';
import { ReapiError } from '../../src/errors.ts';
import type { Clock } from '../../src/system/clock.ts';
import type { Random } from '../../src/system/random.ts';
import { turns } from './deferred.ts';
import { FakeClock } from './fake-clock.ts';
import { MemoryBucket, MemoryObjectStore, type ObjectStoreCall, type ObjectStoreFault } from './memory-object-store.ts';
import { recordingLog } from './recording-log.ts';

/** The same in every run. */
export const EVEN_RANDOM: Random = {
  fraction: () => 0.5,
  uuid: () => '00000000-0000-4000-8000-000000000000',
  token: (bytes) => 'ab'.repeat(bytes),
};

/** How a server of a `bucketServer` is set up. */
export interface BucketServerOptions extends Partial<VictimRules> {
  /** 16 hex digits. */
  readonly writer: string;
  /** 8 hex digits. */
  readonly nonce?: string;
  readonly clock: FakeClock;
  readonly bucket: MemoryBucket;
  readonly faults?: (call: ObjectStoreCall, key: string) => ObjectStoreFault | undefined;
  /** Asked before an object is copied: what it returns is thrown. */
  readonly copyError?: () => ReapiError | undefined;
  readonly refreshSeconds?: number;
  readonly retentionSeconds?: number;
  /** How long presence is promised. */
  readonly promiseSeconds?: number;
  /** Small packs a second; default as fast as they come. */
  readonly maxSmallPacksPerSecond?: number;
}

/** One server's parts of the S3 tier, over a bucket in memory, without what runs by itself. */
export function bucketServer(options: BucketServerOptions) {
  const { clock, bucket, writer, nonce = 'a0a0a0a0', refreshSeconds = 10, promiseSeconds = 100 } = options;
  const { log, lines } = recordingLog();
  const objects = new FaultyCopies(clock, options);
  const index = new BucketIndex(new Containers(), 7);
  const local = new LocalTierInMemory();
  const time = new BucketTime(clock);
  const numbers = new ContainerNumbers(writer, nonce, index.containers);
  const { packBytes = 1024 * 1024, maxSmallPacksPerSecond = 1000 } = options;
  const ground = { objects, index, local, clock, random: EVEN_RANDOM, log, time, numbers };
  const packs = new PackWriter(
    { ...ground, containers: index.containers, connected: Promise.resolve() },
    { packBytes, maxSmallPacksPerSecond },
  );
  const reader = new RangeReader(objects, clock, { maxConcurrent: 8 });
  const copies = new CopyForward({ ...ground, reader, packs }, { packBytes });
  const refreshMs = refreshSeconds * 1000;
  const promises = new Promises(clock, time, {
    writer,
    refreshMs,
    retentionSeconds: promiseSeconds,
    wasUnclean: false,
  });
  const forgotten: string[] = [];
  const onForgotten = ({ hash }: { readonly hash: string }): void => void forgotten.push(hash);
  const condemnations = new Condemnations({ ...ground, packs, copies, promises, onForgotten });
  const peers = new Peers(clock);
  const loader = new ContainerLoader(objects, index, log);
  const news = { ...ground, loader, condemnations, peers, promises };
  const { retentionSeconds = 0, maxBytes = 0 } = options;
  const refresh = new Refresh(news, { refreshSeconds });
  const collector = new Collector(news, { packBytes, retentionSeconds, maxBytes, writer, refreshMs });
  return { ...news, packs, copies, reader, collector, refresh, forgotten, lines, bucket };
}

/** What `bucketServer` makes. */
export type BucketServer = ReturnType<typeof bucketServer>;

/** Lets time pass in small steps until a promise settles, and gives its outcome. */
export async function inTime<T>(clock: FakeClock, promise: Promise<T>, stepMs = 100): Promise<T> {
  let isSettled = false;
  const settled = (): void => {
    isSettled = true;
  };
  promise.then(settled, settled);
  for (let step = 0; step < 10_000; step++) {
    await turns(2);
    if (isSettled) return promise;
    clock.advance(stepMs);
  }
  throw new Error('it did not settle in time');
}

/** Stores blobs in one pack. @returns their digests and the pack. */
export async function storePack(server: BucketServer, ...texts: readonly string[]) {
  const digests: Digest[] = [];
  const found: Container[] = [];
  const added = texts.map((text) => {
    const bytes = Buffer.from(text);
    const digest = digestOf('sha256', bytes);
    digests.push(digest);
    return server.packs.add({
      bytes: bytes.length,
      patienceMs: 1000,
      build: (builder) => builder.addBlob(digestFunctionToWire(digest.function), digest.hash, bytes),
      stored: (container, place) => {
        found.push(container);
        if (place !== undefined) server.index.putBlob(rowKeyOf(digest), { container, ...place }, server.time.now());
      },
    });
  });
  await Promise.all([server.packs.flush(), ...added]);
  const [pack] = found;
  if (pack === undefined) throw new Error('a pack of nothing');
  return { digests, pack };
}

/** Stores a value of an entry in a pack of its own. @returns the pack, and the hash of the key. */
export async function storeEntry(server: BucketServer, key: string, sequence: number, value = 'value') {
  const body = encodeEntryBody(key, Buffer.from(value), server.clock.nowMs());
  const hash = sha256('sha256', key);
  const version = { sequence, writer: server.numbers.writer };
  const found: Container[] = [];
  const added = server.packs.add({
    bytes: body.length,
    patienceMs: 1000,
    build: (builder) => builder.addEntryBody(ENTRY_RECORD_KIND, hash, body, version),
    stored: (container, place) => {
      found.push(container);
      if (place === undefined) return;
      const rowKey = new RowKey().setHex(ENTRY_RECORD_KIND, hash);
      server.index.putEntry(rowKey, { container, ...place }, { version, isRemoval: false }, server.time.now());
    },
  });
  await Promise.all([server.packs.flush(), added]);
  const [pack] = found;
  if (pack === undefined) throw new Error('a pack of nothing');
  return { pack, hash, version };
}

/** Stores a large blob, which is an object of its own. */
export function storeLarge(server: BucketServer, text: string) {
  const bytes = Buffer.from(text);
  const digest = digestOf('sha256', bytes);
  const id = server.numbers.take();
  server.bucket.set(containerKey({ id, digest }), bytes, server.clock.nowMs());
  const container = server.index.containers.add({ id, digest }, bytes.length, server.time.now());
  server.index.putBlob(rowKeyOf(digest), { container, offset: 0, lengthBytes: bytes.length }, server.time.now());
  server.numbers.settle(id);
  return { digest, container };
}

/** What the index finds a blob by. */
export function rowKeyOf(digest: Digest): RowKey {
  return new RowKey().setHex(digestFunctionToWire(digest.function), digest.hash);
}

/** Blobs of the local tier in a map; there are no entries. */
class LocalTierInMemory {
  readonly held = new Map<string, Uint8Array>();
  /** Thrown by reads, if it is set. */
  error: Error | undefined;
  reads = 0;
  readonly blobs = { getBytes: (digest: Digest) => this.#read(digest) };

  has({ hash }: Digest): boolean {
    return this.held.has(hash);
  }

  async #read({ hash }: Digest): Promise<Uint8Array> {
    this.reads++;
    if (this.error !== undefined) throw this.error;
    const bytes = this.held.get(hash);
    if (bytes === undefined) throw new ReapiError('blob-not-found', 'it is not there');
    return bytes;
  }
}

class FaultyCopies extends MemoryObjectStore {
  readonly #copyError: (() => ReapiError | undefined) | undefined;

  constructor(clock: Clock, { bucket, faults, copyError }: BucketServerOptions) {
    super(clock, { bucket, ...(faults && { faults }) });
    this.#copyError = copyError;
  }

  override copy(from: string, to: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
    const error = this.#copyError?.();
    return error === undefined ? super.copy(from, to, sizeBytes, signal) : Promise.reject(error);
  }
}

/** A clock, an empty bucket and servers on it. */
export function bucketWorld() {
  const clock = new FakeClock(1_000_000_000);
  const bucket = new MemoryBucket();
  const server = (writer: string, options: Partial<BucketServerOptions> = {}): BucketServer =>
    bucketServer({ writer: writer.repeat(16).slice(0, 16), clock, bucket, ...options });
  return { clock, bucket, server };
}
