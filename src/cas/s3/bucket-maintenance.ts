import { isKind, ReapiError, throwIfAborted } from '../../errors.ts';
import { sleep } from '../../system/clock.ts';
import { identifyBucket } from './bucket-identity.ts';
import type { BucketTierHost, BucketTierOptions } from './bucket-tier.ts';
import type { TierParts } from './tier-parts.ts';
import { untilDone } from './until-done.ts';

/** How often the index is compared with all that is in the bucket. */
const COMPARE_INTERVAL_MS = 3_600_000;

/** After a start it is compared that soon, and again: what the process before was storing when it died may come late. */
const EARLY_COMPARES_MS = [120_000, 600_000];

/** Without news for that long, all of the bucket is looked at again. */
const LONG_STALE_MS = 600_000;

/** How often the index is written down. */
const SNAPSHOT_INTERVAL_MS = 600_000;

/** After a refresh that failed the next one comes that soon. */
const RETRY_MS = 2000;

/** What a tier does by itself: getting in touch with the bucket, news of others, collecting, writing the index down. */
export class BucketMaintenance {
  readonly #parts: TierParts;
  readonly #host: BucketTierHost;
  readonly #options: BucketTierOptions;
  readonly #stopping = new AbortController();
  readonly #jobs = new Set<Promise<void>>();
  #bucket: string | undefined;
  #isConnected = false;
  #isTakenOver: boolean;
  /** Jobs of which one at a time runs. */
  readonly #underWay = new Set<string>();
  #connectedMs = 0;
  #comparedMs = 0;
  #snapshotMs: number;

  constructor(parts: TierParts, host: BucketTierHost, options: BucketTierOptions) {
    this.#parts = parts;
    this.#host = host;
    this.#options = options;
    this.#bucket = parts.expectedBucket;
    this.#isTakenOver = parts.lastStop.isTakenOver;
    this.#snapshotMs = host.clock.monotonicMs();
  }

  /** Gets in touch with the bucket, and starts what runs from then on. @throws precondition; cancelled. */
  async start(signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#host;
    const failed = (error: unknown): void => log.warn({ err: error }, 'waiting for S3');
    const isFinal = (error: unknown): boolean => !isTransient(error);
    const either = AbortSignal.any([signal, this.#stopping.signal]);
    try {
      if (this.#parts.expectedBucket !== undefined) await this.#connect(either);
      else await untilDone(() => this.#connect(either), { clock, random, failed, isFinal }, either);
    } catch (error) {
      if (this.#parts.expectedBucket === undefined || !isTransient(error)) throw error;
      log.warn({ err: error }, 'S3 is out of reach: starting with what this machine knows');
      this.#findPending();
    }
    this.#run(() => this.#refreshLoop());
  }

  /** Stores what can be stored within `graceMs`, and stops what runs. */
  async stop(graceMs: number): Promise<void> {
    const { clock, log } = this.#host;
    if (this.#isConnected && graceMs > 0) {
      const timeout = new AbortController();
      const flushed = this.#parts.packs.flush();
      await Promise.race([flushed.finally(() => timeout.abort()), sleep(clock, graceMs, timeout.signal)]).catch(
        (error: unknown) => log.debug({ err: error }, 'storing the rest ended'),
      );
    }
    this.#stopping.abort(new ReapiError('unavailable', 'the S3 tier is closed'));
    // Jobs may wait for packs that S3 does not take.
    await this.#parts.packs.close();
    await Promise.all(this.#jobs);
  }

  /** Writes the index down for the next start. After everything has stopped. */
  async writeDown(): Promise<void> {
    const { log } = this.#host;
    if (this.#bucket === undefined) return;
    try {
      await this.#parts.snapshots.write(this.#bucket);
      await this.#parts.folder.markStopped(this.#parts.pending.isIdle);
    } catch (error) {
      log.warn(
        { err: error },
        'the index of the bucket could not be written down; the next start reads it from the bucket',
      );
    }
  }

  async #connect(signal: AbortSignal): Promise<void> {
    const { objects, refresh, index, numbers, condemnations, connected } = this.#parts;
    const { random, clock, log, onProgress } = this.#host;
    const bucket = await identifyBucket(objects, random, signal);
    const isAnother = this.#bucket !== undefined && this.#bucket !== bucket;
    // It may also be the same one, which two servers named when they used it first: what is in it decides, below.
    if (isAnother)
      log.warn({}, 'the bucket has another name than before: what of it is not there any more is forgotten');
    this.#bucket = bucket;
    const remembered = [...index.containers].flatMap(({ id, remembered: keepSinceSeconds }) =>
      keepSinceSeconds === undefined ? [] : [{ id, keepSinceSeconds }],
    );
    numbers.sawFloor(await refresh.ownFloor(signal));
    const lostRows = await refresh.compare(signal, { isFollowing: false, onProgress });
    condemnations.learn(remembered);
    await this.#unlessFull(() => refresh.run(signal));
    this.#comparedMs = clock.monotonicMs();
    this.#connectedMs = this.#comparedMs;
    this.#isConnected = true;
    connected();
    this.#once('emptying', () => this.#empty());
    if (!this.#parts.lastStop.wasIdle || isAnother || lostRows > 0) this.#findPending();
  }

  /** Compares the local tier with the index, without anybody waiting for it. */
  #findPending(): void {
    const { pending, entries } = this.#parts;
    const { signal } = this.#stopping;
    this.#run(async () => {
      await pending.findAll((key, value, writtenMs) => entries.adopt(key, value, writtenMs, signal), signal);
      this.#noteTakenOver();
    });
  }

  async #refreshLoop(): Promise<void> {
    const { clock, log } = this.#host;
    const { signal } = this.#stopping;
    const periodMs = this.#options.refreshMs / 2;
    let retryMs = RETRY_MS;
    for (let pauseMs = periodMs; !signal.aborted; ) {
      await sleep(clock, pauseMs, signal);
      pauseMs = periodMs;
      try {
        await this.#refresh(signal);
        retryMs = RETRY_MS;
      } catch (error) {
        throwIfAborted(signal);
        log.warn({ err: error }, 'news of the bucket could not be read; it is tried again');
        pauseMs = Math.min(periodMs, retryMs);
        retryMs *= 2;
      }
    }
  }

  async #refresh(signal: AbortSignal): Promise<void> {
    const { refresh, collector } = this.#parts;
    const { log } = this.#host;
    if (!this.#isConnected) return this.#connect(signal);
    // Whoever was cut off for long may have missed a condemnation together with the pack that held it.
    if (this.#wasCutOff()) await this.#compare(signal, false);
    await this.#unlessFull(() => refresh.run(signal));
    this.#noteTakenOver();
    this.#once('emptying', () => this.#empty());
    this.#once('deleting', () =>
      collector.deleteDue(signal).catch((error: unknown) => {
        throwIfAborted(signal);
        log.warn({ err: error }, 'what is due could not be deleted; it is tried again');
      }),
    );
    this.#once('collecting', () => this.#collect(signal));
    if (this.#isCompareDue()) this.#once('comparing', () => this.#compare(signal, true));
  }

  #wasCutOff(): boolean {
    const longMs = Math.max(LONG_STALE_MS, 2 * this.#options.refreshMs);
    const sinceMs = this.#host.clock.monotonicMs() - this.#comparedMs;
    return (this.#parts.promises.staleMs ?? 0) > longMs && sinceMs > longMs;
  }

  /** Reading and deleting go on in a bucket that has no room: deleting makes it. */
  async #unlessFull(refresh: () => Promise<void>): Promise<void> {
    try {
      await refresh();
    } catch (error) {
      if (!isKind(error, 'quota-exceeded')) throw error;
      this.#host.log.warn({ err: error }, 'the bucket has no room for what this server has to say of itself');
    }
  }

  /** Once everything that was there before the bucket is in it, whatever is pending has been acknowledged. */
  #noteTakenOver(): void {
    const { pending, folder } = this.#parts;
    if (this.#isTakenOver || !pending.hasTakenOver) return;
    pending.tookOver();
    this.#isTakenOver = true;
    this.#run(() => folder.markTakenOver());
  }

  #isCompareDue(): boolean {
    const now = this.#host.clock.monotonicMs();
    const isEarly = EARLY_COMPARES_MS.some((ms) => {
      const atMs = this.#connectedMs + ms;
      return this.#comparedMs < atMs && now >= atMs;
    });
    return isEarly || now - this.#comparedMs >= COMPARE_INTERVAL_MS;
  }

  async #compare(signal: AbortSignal, isFollowing: boolean): Promise<void> {
    const lostRows = await this.#parts.refresh.compare(signal, { isFollowing });
    this.#comparedMs = this.#host.clock.monotonicMs();
    // What this machine still has of it goes back into the bucket.
    if (lostRows > 0) this.#findPending();
  }

  async #collect(signal: AbortSignal): Promise<void> {
    const { clock } = this.#host;
    await this.#parts.collector.condemn(signal);
    if (this.#bucket === undefined || clock.monotonicMs() - this.#snapshotMs < SNAPSHOT_INTERVAL_MS) return;
    this.#snapshotMs = clock.monotonicMs();
    const sizeBytes = await this.#parts.snapshots.write(this.#bucket);
    await this.#parts.snapshots.share(sizeBytes, signal);
  }

  /** Empties what is condemned; whatever is left over, for whatever reason, the next refresh takes up again. */
  async #empty(): Promise<void> {
    const { condemnations } = this.#parts;
    await condemnations.empty(condemnations.unfinished, this.#stopping.signal);
  }

  /** Runs a job in the background, unless it runs already. */
  #once(name: string, work: () => Promise<void>): void {
    if (this.#underWay.has(name)) return;
    this.#underWay.add(name);
    this.#run(() => work().finally(() => this.#underWay.delete(name)));
  }

  #run(work: () => Promise<void>): void {
    const job = work()
      .catch((error: unknown) => {
        if (this.#stopping.signal.aborted) return;
        // The next refresh does it again.
        if (isTransient(error)) this.#host.log.warn({ err: error }, 'S3 failed a job; it is tried again');
        else this.#host.log.error({ err: error }, 'a job of the S3 tier failed');
      })
      .finally(() => this.#jobs.delete(job));
    this.#jobs.add(job);
  }
}

/** Whether it may be otherwise the next time: S3 is away, or has no room. */
function isTransient(error: unknown): boolean {
  return isKind(error, 'unavailable') || isKind(error, 'quota-exceeded');
}
