import { type Digest, digestKey, isEmptyBlob } from '../../digest/digest.ts';
import { invariant } from '../../errors.ts';
import { streamOf } from '../../system/byte-stream.ts';
import { Semaphore } from '../../system/semaphore.ts';
import { batchesOf } from '../batches.ts';
import type { SmallBlob, WorkerStore } from '../worker-store.ts';
import { type OutputBlob, readOutput, readSmallOutput } from './output-files.ts';

/** Bytes of small outputs that are read for one round of calls. */
const MAX_ROUND_BYTES = 8 * 1024 * 1024;

/** Counts what was sent. */
export interface UploadCounters {
  blobsUploaded: number;
  bytesUploaded: number;
}

/** Sends outputs to the CAS, only those that it lacks. */
export class Uploader {
  readonly #transfers: Semaphore;
  readonly counters: UploadCounters = { blobsUploaded: 0, bytesUploaded: 0 };

  /** @param options.maxTransfers uploads at a time, over all slots. */
  constructor(options: { readonly maxTransfers: number }) {
    this.#transfers = new Semaphore(options.maxTransfers);
  }

  /** Resolves when all blobs are in the CAS (R-CM-34). @throws precondition if a file changed meanwhile; what the store throws. */
  async upload(blobs: readonly OutputBlob[], store: WorkerStore, signal: AbortSignal): Promise<void> {
    const distinct = new Map(blobs.filter((b) => !isEmptyBlob(b.digest)).map((b) => [digestKey(b.digest), b]));
    if (distinct.size === 0) return;
    const missing = await store.findMissing(
      [...distinct.values()].map((blob) => blob.digest),
      signal,
    );
    const needed = missing.map((digest) => blobOf(distinct, digest));
    const isSmall = (blob: OutputBlob): boolean => blob.digest.sizeBytes <= store.maxSmallBytes;
    const stop = new AbortController();
    const joint = AbortSignal.any([signal, stop.signal]);
    const jobs: (() => Promise<void>)[] = [];
    for (const batch of batchesOf(needed.filter(isSmall), (blob) => blob.digest.sizeBytes, MAX_ROUND_BYTES)) {
      jobs.push(() => store.writeAll(batch.map(loadSmall), joint));
    }
    for (const blob of needed) {
      if (!isSmall(blob)) jobs.push(() => store.write(blob.digest, streamBlob(blob), joint));
    }
    const runs = jobs.map((job) => this.#transfers.run(joint, job));
    try {
      await Promise.all(runs);
    } finally {
      stop.abort();
      await Promise.allSettled(runs);
    }
    this.counters.blobsUploaded += needed.length;
    for (const blob of needed) this.counters.bytesUploaded += blob.digest.sizeBytes;
  }
}

function blobOf(blobs: ReadonlyMap<string, OutputBlob>, digest: Digest): OutputBlob {
  const blob = blobs.get(digestKey(digest));
  invariant(blob !== undefined, 'the store reports only digests it was asked for as missing');
  return blob;
}

function streamBlob(blob: OutputBlob): ReturnType<typeof readOutput> {
  return 'bytes' in blob ? streamOf(blob.bytes) : readOutput(blob.path, blob.digest.sizeBytes);
}

function loadSmall(blob: OutputBlob): SmallBlob {
  if ('bytes' in blob) return blob;
  return { digest: blob.digest, bytes: readSmallOutput(blob.path, blob.digest) };
}
