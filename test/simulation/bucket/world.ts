import type { Random } from '../../../src/system/random.ts';
import { MemoryBucket } from '../../support/memory-object-store.ts';
import { SeededRandom } from '../seeded-random.ts';
import { BucketWatch } from './bucket-watch.ts';
import { Clients, makeBlobs, type SimBlob } from './clients.ts';
import { Machine, type MachineWorld } from './machine.ts';
import { Model } from './model.ts';
import { drawSettings, MAX_PACKED_BYTES, type Settings } from './settings.ts';
import type { CallFate } from './sim-objects.ts';
import { SimTime } from './sim-time.ts';

/** Events that are kept for the account of a failure. */
const HISTORY = 20_000;

/** After the last fault everything has to be in order within that: long enough for the dead to be noticed and looked after. */
const QUIET_MS = 2 * 3_600_000;

/** A condemned object that is still there so many graces after its condemnation was published is forgotten garbage. */
const GRACES = 6;

/** Packs that may be there when all is quiet, by server that is or was: those that are too few to be put together, and full ones. */
const MAX_QUIET_PACKS = 40;

/** What became of a world. */
export interface Verdict {
  readonly seed: number;
  /** Milliseconds of its life. */
  readonly atMs: number;
  readonly violation: string | undefined;
  readonly history: readonly string[];
  readonly acknowledged: number;
  readonly deletions: number;
}

/** Takes one rule away from the tier, and gives back what undoes that. */
export type Plant = () => () => void;

/** Lives the world of a seed to its end, or to the first violation. One at a time: plants change what all worlds share. */
export async function runSeed(seed: number, plant?: Plant): Promise<Verdict> {
  const undo = plant?.();
  try {
    return await new BucketWorld(seed).live();
  } finally {
    undo?.();
  }
}

class BucketWorld {
  readonly #seed: number;
  readonly #random: SeededRandom;
  readonly #settings: Settings;
  readonly #time = new SimTime();
  readonly #bucket = new MemoryBucket();
  readonly #watch: BucketWatch;
  readonly #model: Model;
  readonly #blobs: readonly SimBlob[];
  readonly #keys: readonly string[];
  readonly #clients: Clients;
  readonly #machines: Machine[] = [];
  readonly #history: string[] = [];
  readonly #graceMs: number;
  #isHostile = true;
  #bucketDownUntilMs = 0;
  #violation: string | undefined;

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = new SeededRandom(seed);
    this.#settings = drawSettings(this.#random);
    const { options, blobs, entries, machines, offsetMs } = this.#settings;
    const { promiseSeconds, refreshMs, retentionSeconds, durability, maxBytes } = options;
    // The lease is half as long again as the promise.
    const leaseSeconds = promiseSeconds + Math.ceil(promiseSeconds / 2);
    this.#graceMs = 2 * refreshMs + leaseSeconds * 1000;
    this.#watch = new BucketWatch(this.#time, this.#graceMs, (violation) => this.#violated(violation));
    const isShort = maxBytes > 0;
    this.#model = new Model(this.#watch, {
      ...{ durability, refreshMs, promiseMs: promiseSeconds * 1000 },
      // Under a limit of bytes nothing is sure to stay for long.
      retentionMs: isShort ? 1 : retentionSeconds * 1000,
      slackMs: 2 * offsetMs + 2 * refreshMs,
    });
    this.#blobs = makeBlobs(blobs, MAX_PACKED_BYTES);
    this.#keys = Array.from({ length: entries }, (_, number) => `entry ${number}`);
    this.#clients = new Clients(this.#clientsWorld(this.#time));
    for (let number = 0; number < machines; number++) this.#machines.push(this.#newMachine(`server ${number}`));
  }

  async live(): Promise<Verdict> {
    const { lifeMs } = this.#settings;
    for (const machine of this.#machines) machine.start();
    this.#keepHappening();
    for (let part = 1; part <= 2 && this.#violation === undefined; part++) {
      await this.#time.run((lifeMs * part) / 2, () => this.#violation !== undefined);
      if (this.#violation === undefined) await this.#recover(part === 1);
    }
    if (this.#violation === undefined) await this.#comeToRest();
    if (this.#violation === undefined) await this.#recover(true);
    if (this.#violation === undefined) await this.#close();
    return {
      seed: this.#seed,
      atMs: this.#time.monotonicMs(),
      violation: this.#violation,
      history: this.#history,
      acknowledged: this.#clients.acknowledged,
      deletions: this.#watch.deletions,
    };
  }

  #keepHappening(): void {
    const pauseMs = -Math.log(1 - this.#random.fraction()) * this.#settings.pauseMs;
    this.#time.wakeAt(this.#time.monotonicMs() + pauseMs, () => {
      if (!this.#isHostile) return;
      this.#happen();
      this.#keepHappening();
    });
  }

  #happen(): void {
    const random = this.#random;
    for (const machine of this.#machines) if (!machine.isFresh) machine.forgetUses();
    const machine = this.#machines[random.between(0, this.#machines.length - 1)];
    if (machine === undefined || machine.isGone) return;
    if (random.chance(this.#settings.mishaps)) this.#mishap(machine);
    else this.#run(this.#clients.doSomething(machine));
  }

  #mishap(machine: Machine): void {
    const random = this.#random;
    const now = this.#time.monotonicMs();
    const roll = random.fraction();
    // Mostly short, sometimes longer than it takes to be thought dead.
    const awayMs = random.chance(0.7) ? random.between(1, 200) * 1000 : random.between(200, 2800) * 1000;
    if (roll < 0.3) {
      this.#told(`${machine.name} is cut off for ${awayMs} ms`);
      machine.cutOffUntilMs = now + awayMs;
    } else if (roll < 0.4) {
      this.#told(`the bucket is out of reach for ${awayMs / 4} ms`);
      this.#bucketDownUntilMs = now + awayMs / 4;
    } else if (roll < 0.5) {
      this.#told(`${machine.name} is paused for ${awayMs} ms`);
      machine.pause(awayMs);
    } else if (roll < 0.6) {
      this.#told(`${machine.name} stops in order`);
      this.#run(machine.stop(random.between(0, 20) * 1000).then(() => this.#startAfter(machine, awayMs)));
    } else this.#kill(machine, awayMs);
  }

  #kill(machine: Machine, awayMs: number): void {
    const random = this.#random;
    this.#told(`${machine.name} is killed, for ${awayMs} ms`);
    machine.kill();
    const roll = random.fraction();
    if (roll < 0.1) {
      this.#told(`${machine.name} loses its disk`);
      machine.loseDisk();
    } else if (roll < 0.2) {
      this.#told(`${machine.name} loses its index`);
      machine.loseIndex();
    } else if (roll < 0.25 && this.#machines.filter(({ isGone }) => !isGone).length > 1) {
      this.#told(`${machine.name} is gone for ever`);
      machine.isGone = true;
      return;
    }
    this.#startAfter(machine, awayMs);
  }

  #startAfter(machine: Machine, ms: number): void {
    this.#time.wakeAt(this.#time.monotonicMs() + ms, () => {
      if (machine.isGone || machine.isRunning) return;
      this.#told(`${machine.name} starts`);
      machine.start();
    });
  }

  /** No faults any more: everything that is not gone for good has to come in order. */
  async #comeToRest(): Promise<void> {
    this.#isHostile = false;
    this.#bucketDownUntilMs = 0;
    for (const machine of this.#machines) machine.cutOffUntilMs = 0;
    this.#told('from here on all is well');
    const endMs = this.#time.monotonicMs() + QUIET_MS;
    const isOver = () => this.#violation !== undefined;
    // What lasts longest is a pause; nobody starts again later than that.
    await this.#time.run(this.#time.monotonicMs() + 2_800_000 + 600_000, isOver);
    if (this.#violation === undefined) await this.#readEverything(this.#machines.filter(({ isGone }) => !isGone));
    await this.#time.run(endMs, isOver);
    if (this.#violation === undefined) this.#checkRest();
  }

  #checkRest(): void {
    const running = this.#machines.filter(({ isGone }) => !isGone);
    for (const { name, tier } of running) {
      const stats = tier?.stats();
      if (stats === undefined) this.#violated(`${name} did not come up`);
      else if (stats.backlogBytes !== 0 || stats.pendingUploads !== 0) {
        this.#violated(`${name} has a backlog of ${stats.backlogBytes} bytes and ${stats.pendingUploads} uploads`);
      }
    }
    const now = this.#time.monotonicMs();
    let packs = 0;
    for (const key of this.#bucket.objects.keys()) {
      if (!key.startsWith('packs/')) continue;
      packs++;
      const sinceMs = this.#watch.condemnedSince(key);
      if (sinceMs !== undefined && now - sinceMs > GRACES * this.#graceMs + 1_800_000)
        this.#violated(`${key} is condemned for ${now - sinceMs} ms and still there`);
    }
    const most = MAX_QUIET_PACKS * this.#machines.length + this.#blobs.length;
    if (packs > most) this.#violated(`${packs} containers are there when all is quiet`);
  }

  async #close(): Promise<void> {
    const stops = this.#machines
      .filter(({ isGone }) => !isGone)
      .map(async (machine) => {
        if (!(await machine.stop(10_000))) this.#violated(`${machine.name} does not close`);
      });
    this.#run(Promise.all(stops));
    await this.#time.run(this.#time.monotonicMs() + 7_200_000, () => this.#violation !== undefined);
  }

  async #readEverything(machines: readonly Machine[]): Promise<void> {
    const now = this.#time.monotonicMs();
    const reads: Promise<void>[] = [];
    for (const machine of machines) {
      for (const blob of this.#blobs) {
        const mustBeThere =
          this.#model.mustHold(this.#machines, blob.digest.hash, now) &&
          !this.#model.isOnTheMove(blob.digest.hash, now);
        reads.push(this.#clients.readBlob(machine, blob, mustBeThere));
      }
      for (const key of this.#keys) reads.push(this.#clients.readEntry(machine, key, true));
    }
    this.#run(Promise.all(reads));
    await this.#time.run(now + 300_000, () => this.#violation !== undefined);
  }

  /** A new machine must find in a copy of the bucket all that has to be in it. */
  async #recover(withSnapshot: boolean): Promise<void> {
    const now = this.#time.monotonicMs();
    const time = new SimTime(now);
    const bucket = new MemoryBucket();
    for (const [key, { bytes }] of this.#bucket.objects) bucket.set(key, bytes, time.nowMs());
    if (withSnapshot) {
      const [key, bytes] =
        this.#machines.map((machine) => machine.snapshot()).find((found) => found !== undefined) ?? [];
      if (key !== undefined && bytes !== undefined) bucket.set(key, bytes, time.nowMs());
    }
    const { options, localBytes, offsetMs } = this.#settings;
    const world: MachineWorld = {
      ...{
        time,
        bucket,
        watch: undefined,
        random: seededSource(new SeededRandom(this.#seed + 1)),
        options,
        localBytes,
      },
      localLeaseMs: 0,
      fate: () => QUICK,
      told: () => undefined,
      violated: (violation) => this.#violated(violation),
    };
    const machine = new Machine(
      `new server ${withSnapshot ? 'with a snapshot' : 'with footers alone'}`,
      offsetMs,
      world,
    );
    machine.start();
    await time.run(now + 60_000, () => machine.tier !== undefined);
    const clients = new Clients(this.#clientsWorld(time));
    const reads: Promise<void>[] = [];
    for (const blob of this.#blobs) {
      const mustBeThere = this.#model.mustHold(this.#machines, blob.digest.hash, now);
      if (mustBeThere) reads.push(clients.readBlob(machine, blob, true));
    }
    const isSafe = options.durability === 's3';
    for (const key of this.#keys) reads.push(clients.readEntry(machine, key, isSafe, 'bucket'));
    let isDone = false;
    this.#run(
      Promise.all(reads).then(() => {
        isDone = true;
      }),
    );
    await time.run(now + 120_000, () => isDone || this.#violation !== undefined);
    if (!isDone) this.#violated(`${machine.name} does not answer`);
  }

  #newMachine(name: string): Machine {
    const { options, localBytes, offsetMs } = this.#settings;
    const random = this.#random;
    return new Machine(name, random.between(-offsetMs, offsetMs), {
      ...{
        time: this.#time,
        bucket: this.#bucket,
        watch: this.#watch,
        random: seededSource(random),
        options,
        localBytes,
      },
      localLeaseMs: Math.min(60, options.promiseSeconds) * 1000,
      fate: (machine) => this.#fateOf(machine),
      told: (text) => this.#told(text),
      violated: (violation) => this.#violated(violation),
    });
  }

  #fateOf(machine: Machine): CallFate {
    const random = this.#random;
    if (!this.#isHostile) return QUICK;
    const now = this.#time.monotonicMs();
    const quickMs = random.between(2, 120);
    const landsUnasked = random.chance(0.5);
    if (machine.cutOffUntilMs > now || this.#bucketDownUntilMs > now) {
      return { landsAfterMs: undefined, answersAfterMs: quickMs * 20, fails: true, landsUnasked };
    }
    if (!random.chance(this.#settings.callFaults)) {
      return { landsAfterMs: quickMs / 2, answersAfterMs: quickMs, fails: false, landsUnasked };
    }
    const roll = random.fraction();
    if (roll < 0.3) return { landsAfterMs: undefined, answersAfterMs: quickMs, fails: true, landsUnasked };
    if (roll < 0.6) return { landsAfterMs: quickMs / 2, answersAfterMs: quickMs, fails: true, landsUnasked };
    const longMs = random.between(1000, 60_000);
    if (roll < 0.7) return { landsAfterMs: longMs, answersAfterMs: 60_000, fails: true, landsUnasked };
    return { landsAfterMs: longMs / 2, answersAfterMs: longMs, fails: false, landsUnasked };
  }

  #clientsWorld(time: SimTime) {
    return {
      ...{ time, random: this.#random, model: this.#model, blobs: this.#blobs, keys: this.#keys },
      told: (text: string) => this.#told(text),
      violated: (violation: string) => this.#violated(violation),
    };
  }

  #run(work: Promise<unknown>): void {
    work.catch((error: unknown) =>
      this.#violated(`the simulation failed: ${error instanceof Error ? error.stack : error}`),
    );
  }

  #told(text: string): void {
    this.#history.push(`${(this.#time.monotonicMs() / 1000).toFixed(1)} s: ${text}`);
    if (this.#history.length > HISTORY) this.#history.shift();
  }

  #violated(violation: string): void {
    this.#violation ??= violation;
  }
}

/** Fate of a call when all is well. */
const QUICK: CallFate = { landsAfterMs: 5, answersAfterMs: 10, fails: false, landsUnasked: false };

function seededSource(random: SeededRandom): Random {
  const token = (bytes: number): string =>
    Array.from({ length: bytes }, () => random.between(0, 255).toString(16).padStart(2, '0')).join('');
  return { fraction: () => random.fraction(), uuid: () => token(16), token };
}
