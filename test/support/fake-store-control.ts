import type { BucketStats } from '../../src/cas/s3/bucket-stats.ts';
import type {
  CheckReport,
  PruneReport,
  StoreControl,
  StoreProgress,
  StoreStats,
} from '../../src/cas/segment/store-report.ts';
import { ReapiError } from '../../src/errors.ts';

/** Statistics in which every number is another one. */
export const SOME_STATS: StoreStats = {
  maxBytes: 50 * 1024 ** 3,
  segmentBytes: 11 * 1024 ** 3,
  segments: 88,
  fileBytes: 1_288_490_189,
  files: 40,
  otherBytes: 57_671_680,
  blobs: 1_200_000,
  entries: 30_000,
  liveBytes: 10_844_792_422,
  leasedBytes: 3_435_973_837,
  maxLeasedBytes: 40 * 1024 ** 3,
  indexRows: 1_230_000,
  indexBuckets: 2_097_152,
  indexMemoryBytes: 80_845_210,
  oldestAgeSeconds: 273_600.5,
  evictedBlobs: 1_234,
  evictedEntries: 5,
  copiedBytes: 7 * 1024 ** 2,
  quarantined: 2,
};

/** Statistics of a bucket in which every number is another one. */
export const SOME_BUCKET_STATS: BucketStats = {
  isReachable: true,
  staleSeconds: 12.5,
  blobs: 9_000_000,
  entries: 80_000,
  packs: 4_000,
  largeBlobs: 700,
  condemned: 6,
  bytes: 300 * 1024 ** 3,
  liveBytes: 240 * 1024 ** 3,
  damagedPacks: 2,
  backlogBytes: 5 * 1024 ** 2,
  maxBacklogBytes: 10 * 1024 ** 3,
  pendingUploads: 40,
  refusedWrites: 3,
  storedPacks: 1_500,
  copiedBytes: 8 * 1024 ** 2,
  deletedObjects: 900,
  otherServers: 1,
  indexMemoryBytes: 600 * 1024 ** 2,
};

/** A job that a test moves by hand. It ends with `cancelled` when it is told to. */
interface Job<Report> {
  readonly onProgress: (progress: StoreProgress) => void;
  readonly signal: AbortSignal;
  readonly end: PromiseWithResolvers<Report>;
}

/** A store whose jobs do what a test says. */
export class FakeStoreControl implements StoreControl {
  readonly checks: Job<CheckReport>[] = [];
  readonly prunes: (Job<PruneReport> & { readonly targetBytes: number })[] = [];
  #onStart = (): void => undefined;

  stats(): StoreStats {
    return SOME_STATS;
  }

  check(onProgress: (progress: StoreProgress) => void, signal: AbortSignal): Promise<CheckReport> {
    const job = jobOf<CheckReport>(onProgress, signal);
    this.checks.push(job);
    this.#onStart();
    return job.end.promise;
  }

  prune(targetBytes: number, onProgress: (progress: StoreProgress) => void, signal: AbortSignal): Promise<PruneReport> {
    const job = { ...jobOf<PruneReport>(onProgress, signal), targetBytes };
    this.prunes.push(job);
    this.#onStart();
    return job.end.promise;
  }

  /** Resolves once so many jobs have started. */
  async started(count = 1): Promise<void> {
    while (this.checks.length + this.prunes.length < count) {
      await new Promise<void>((resolve) => {
        this.#onStart = resolve;
      });
    }
  }
}

function jobOf<Report>(onProgress: (progress: StoreProgress) => void, signal: AbortSignal): Job<Report> {
  const end = Promise.withResolvers<Report>();
  signal.addEventListener('abort', () => end.reject(new ReapiError('cancelled', 'the job was cancelled')));
  return { onProgress, signal, end };
}
