import { BucketTier, type BucketTierOptions } from '../../../src/cas/s3/bucket-tier.ts';
import { snapshotKey } from '../../../src/cas/s3/object-names.ts';
import { createLog } from '../../../src/system/log.ts';
import type { Random } from '../../../src/system/random.ts';
import type { MemoryBucket } from '../../support/memory-object-store.ts';
import type { BucketWatch } from './bucket-watch.ts';
import { SimFiles } from './sim-files.ts';
import { type SimDisk, SimLocalTier } from './sim-local-tier.ts';
import { type CallFate, SimObjects } from './sim-objects.ts';
import { SimProcess, type SimTime } from './sim-time.ts';

/** Where a tier keeps its folder on the disk of its machine. */
const FOLDER = '/s3';

/** Pause before a server that could not open its tier starts again. */
const RESTART_MS = 5000;

/** What a machine stands in. */
export interface MachineWorld {
  readonly time: SimTime;
  readonly bucket: MemoryBucket;
  readonly watch: BucketWatch | undefined;
  readonly random: Random;
  readonly options: BucketTierOptions;
  readonly localBytes: number;
  readonly localLeaseMs: number;
  readonly fate: (machine: Machine) => CallFate;
  readonly told: (text: string) => void;
  readonly violated: (violation: string) => void;
}

/** What a server must never say of itself. */
const SHAMEFUL = /a job of the S3 tier failed|storing in the bucket failed|deleted before all of it was copied/;

/** A server with a disk: it is killed, paused, cut off, loses its disk and starts again. */
export class Machine {
  readonly name: string;
  readonly offsetMs: number;
  readonly #world: MachineWorld;
  #files: SimFiles;
  #disk: SimDisk = new Map();
  #process: SimProcess | undefined;
  #tier: BucketTier | undefined;
  /** Data folders it has had before. */
  disk = 0;
  /** Name among the writers of the bucket, by data folder. */
  readonly writers: string[] = [];
  /** Starts of its process. */
  starts = 0;
  isGone = false;
  /** Until then no call reaches the bucket. */
  cutOffUntilMs = 0;
  /** Until when it promised a blob, by hash. */
  promises = new Map<string, number>();
  /** When it last noted a use of a blob, by hash; only what it will still know. */
  uses = new Map<string, number>();
  #written = new Map<string, number>();

  constructor(name: string, offsetMs: number, world: MachineWorld) {
    this.name = name;
    this.offsetMs = offsetMs;
    this.#world = world;
    this.#files = this.#newFiles();
  }

  /** The tier if the server runs and is ready. */
  get tier(): BucketTier | undefined {
    return this.#process?.isPaused === true ? undefined : this.#tier;
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  /** When what it knows of the others was true; undefined if it knows nothing. */
  get newsMs(): number | undefined {
    const staleSeconds = this.#tier?.stats().staleSeconds;
    return staleSeconds === undefined ? undefined : this.#world.time.monotonicMs() - staleSeconds * 1000;
  }

  /** Whether what it notes will count for the others. */
  get isFresh(): boolean {
    const { newsMs } = this;
    return newsMs !== undefined && this.#world.time.monotonicMs() - newsMs < this.#world.options.refreshMs;
  }

  /** Starts the server; it tries again if opening its tier fails. */
  start(): void {
    const { time, bucket, watch, random, options, fate, told, violated } = this.#world;
    this.starts++;
    const process = new SimProcess(time, this.offsetMs);
    this.#process = process;
    const local = new SimLocalTier(process, this.#disk, {
      maxBytes: this.#world.localBytes,
      leaseMs: this.#world.localLeaseMs,
      mayEvict: (key) => this.#tier?.mayEvict(key) ?? options.durability === 's3',
    });
    const log = createLog('warn', {
      write: (line) => {
        const { msg, err } = JSON.parse(line);
        told(`${this.name} logs: ${msg}${err === undefined ? '' : ` (${err.message})`}`);
        if (SHAMEFUL.test(msg)) violated(`${this.name} logs: ${msg}${err === undefined ? '' : ` (${err.message})`}`);
      },
    });
    const objects = new SimObjects(process, bucket, { time, ...(watch && { watch }), fate: () => fate(this) });
    const host = { objects, local, files: this.#files, folder: FOLDER, clock: process, random, log };
    const heard = { onProgress: () => undefined, onForgotten: () => undefined };
    BucketTier.open({ ...host, ...heard }, options, new AbortController().signal).then(
      (tier) => {
        this.#tier = tier;
        told(`${this.name} is ready`);
      },
      (error: unknown) => {
        told(`${this.name} could not open its tier: ${error}`);
        process.wakeAt(time.monotonicMs() + RESTART_MS, () => {
          process.kill();
          this.start();
        });
      },
    );
  }

  /** Ends the process where it stands. What it noted since it last wrote its index is forgotten. */
  kill(): void {
    this.#process?.kill();
    this.#process = undefined;
    this.#tier = undefined;
    this.uses = new Map(this.#written);
  }

  /** Stops the server in order. @returns whether that came to an end within an hour. */
  async stop(graceMs: number): Promise<boolean> {
    const tier = this.#tier;
    const process = this.#process;
    if (tier === undefined || process === undefined) return true;
    let isClosed = false;
    const closing = tier.close(graceMs).then(() => {
      isClosed = true;
    });
    await Promise.race([closing, this.#world.time.after(3_600_000)]);
    if (this.#process === process) this.kill();
    return isClosed || process.isKilled;
  }

  /** Loses everything that was written, also its name. */
  loseDisk(): void {
    this.#disk = new Map();
    this.#files = this.#newFiles();
    this.disk++;
    this.promises = new Map();
    this.uses = new Map();
    this.#written = new Map();
  }

  /** Loses what it knew of the bucket, and nothing else. */
  loseIndex(): void {
    if (this.#files.list(FOLDER).includes('index')) this.#files.remove(`${FOLDER}/index`);
    this.#written = new Map();
    this.uses = new Map();
  }

  /** Stands still for a while. */
  pause(ms: number): void {
    this.#process?.pause(ms);
  }

  /** What it noted no longer counts: it was away from the others for too long. */
  forgetUses(): void {
    this.uses = new Map();
    this.#written = new Map();
  }

  /** Key and bytes of the snapshot it would have shared when it last wrote its index down. */
  snapshot(): readonly [string, Uint8Array] | undefined {
    const writer = this.writers[this.disk];
    if (writer === undefined || !this.#files.list(FOLDER).includes('index')) return undefined;
    return [snapshotKey(writer, 0), this.#files.bytes(`${FOLDER}/index`)];
  }

  #newFiles(): SimFiles {
    const files: SimFiles = new SimFiles((path) => {
      if (path === `${FOLDER}/index`) this.#written = new Map(this.uses);
      if (path === `${FOLDER}/writer`) this.writers[this.disk] = Buffer.from(files.bytes(path)).toString();
    });
    return files;
  }
}
