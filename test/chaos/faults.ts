import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { isKind } from '../../src/errors.ts';
import type { SeededRandom } from '../simulation/seeded-random.ts';
import { TRANSIENT } from './build-client.ts';
import { type ChaosFleet, WORKER_TIMEOUT_MS } from './chaos-fleet.ts';
import type { ChaosWorker } from './chaos-worker.ts';
import type { Ledger } from './ledger.ts';

/** What may go wrong. Long is longer than a worker may be silent, short is shorter. */
export const FAULTS = [
  'kill-server',
  'kill-server',
  'short-server-sleep',
  'long-server-sleep',
  'kill-worker',
  'kill-worker',
  'short-worker-sleep',
  'long-worker-sleep',
  'long-worker-stall',
  'cut-worker',
  'cut-clients',
  'refuse-worker',
  'stall-worker',
  'drain-worker',
  'terminate-worker',
] as const;

/** One of them. */
export type Fault = (typeof FAULTS)[number];

/** Well below the time that a worker may be silent, also on a busy machine. */
const SHORT_MS = { least: 300, most: 1_500 };

/** Above it. */
const LONG_MS = { least: WORKER_TIMEOUT_MS + 800, most: WORKER_TIMEOUT_MS + 1_500 };

/** How long a worker that was silent may still start what it was told before. */
const AWAKENING_MS = 3_000;

/** Brings trouble over a fleet, as a seed decides. */
export class Faults {
  readonly #fleet: ChaosFleet;
  readonly #ledger: Ledger;
  readonly #random: SeededRandom;
  /** Workers that something happens to. */
  readonly #taken = new Set<ChaosWorker>();
  readonly #running = new Set<Promise<void>>();
  /** What happened, in order, for people. */
  readonly story: string[] = [];
  #server: Promise<void> = Promise.resolve();

  constructor(fleet: ChaosFleet, ledger: Ledger, random: SeededRandom) {
    this.#fleet = fleet;
    this.#ledger = ledger;
    this.#random = random;
  }

  /** Makes so many faults, some of them at the same time; resolves when all is well again. */
  async make(count: number): Promise<void> {
    const kinds = shuffled(this.#random);
    for (let at = 0; at < count; at++) {
      await delay(this.#random.between(100, 1_200));
      const kind = kinds[at % kinds.length] ?? 'kill-server';
      const worker = this.#random.pick([0, 1, 2, 3]);
      this.#begin(kind, this.#fleet.workers[worker % this.#fleet.workers.length]);
    }
    await Promise.all(this.#running);
  }

  #begin(kind: Fault, worker: ChaosWorker | undefined): void {
    if (worker === undefined || (kind.includes('worker') && this.#taken.has(worker))) return;
    const isServer = kind.includes('server');
    const target = kind.includes('worker') ? ` ${worker.plan.name}` : '';
    const work = async (): Promise<void> => {
      this.story.push(`${new Date().toISOString()} ${kind}${target}`);
      await this.#carryOut(kind, worker);
      this.story.push(`${new Date().toISOString()} ${kind}${target} is over`);
    };
    // One thing after the other happens to the server.
    const done: Promise<void> = isServer ? this.#server.then(work) : this.#onWorker(kind, worker, work);
    if (isServer) this.#server = done;
    this.#running.add(done);
    // Whoever awaits all of them sees a failure; nobody has to see it earlier.
    done.catch(() => undefined);
  }

  async #onWorker(kind: Fault, worker: ChaosWorker, work: () => Promise<void>): Promise<void> {
    if (kind === 'cut-clients') return work();
    this.#taken.add(worker);
    await work();
    this.#taken.delete(worker);
  }

  async #carryOut(kind: Fault, worker: ChaosWorker): Promise<void> {
    switch (kind) {
      case 'kill-server':
        return this.#killServer();
      case 'short-server-sleep':
      case 'long-server-sleep':
        this.#fleet.sleepServer();
        await this.#pass(kind === 'long-server-sleep' ? LONG_MS : SHORT_MS);
        return this.#fleet.wakeServer();
      case 'kill-worker':
        return this.#killWorker(worker);
      case 'long-worker-sleep':
      case 'long-worker-stall':
        return this.#silence(kind, worker);
      case 'short-worker-sleep':
      case 'cut-worker':
      case 'refuse-worker':
      case 'stall-worker':
        return this.#hitch(kind, worker);
      case 'cut-clients':
        return this.#fleet.front.cut();
      case 'drain-worker':
        return this.#drain(worker);
      case 'terminate-worker':
        return this.#terminate(worker);
    }
  }

  async #killServer(): Promise<void> {
    await this.#fleet.killServer();
    const isBack = this.#ledger.serverDied();
    await this.#fleet.startServer();
    isBack();
  }

  /** Shorter than a worker may be silent. */
  async #hitch(kind: Fault, worker: ChaosWorker): Promise<void> {
    const end = this.#ledger.hitch(worker);
    const { proxy } = worker;
    if (kind === 'short-worker-sleep') worker.sleep();
    if (kind === 'refuse-worker') proxy.refuse(true);
    if (kind === 'stall-worker') proxy.stall(true);
    if (kind !== 'cut-worker') await this.#pass(SHORT_MS);
    worker.wake();
    proxy.refuse(false);
    proxy.stall(false);
    if (kind !== 'short-worker-sleep') proxy.cut();
    end();
  }

  async #killWorker(worker: ChaosWorker): Promise<void> {
    const end = this.#ledger.harm(worker);
    await worker.crash();
    await worker.restart();
    end();
  }

  /** For longer than a worker may be silent: it stands still, or only nobody hears it. */
  async #silence(kind: Fault, worker: ChaosWorker): Promise<void> {
    const end = this.#ledger.harm(worker);
    if (kind === 'long-worker-sleep') worker.sleep();
    else worker.proxy.stall(true);
    await this.#pass(LONG_MS);
    worker.wake();
    worker.proxy.stall(false);
    await delay(AWAKENING_MS);
    end();
  }

  async #drain(worker: ChaosWorker): Promise<void> {
    await this.#fleet.drain(worker).catch(whileAway);
    await this.#pass(SHORT_MS);
    await this.#fleet.undrain(worker);
  }

  /** If the server is away or goes away, the worker is told by a signal. */
  async #terminate(worker: ChaosWorker): Promise<void> {
    const isTold = await this.#fleet.terminate(worker).catch(whileAway);
    if (isTold !== true) worker.stop();
    const { exitCode } = await worker.end();
    assert.equal(exitCode, 0, `${worker.plan.name} was told to exit`);
    await this.#fleet.undrain(worker);
    await worker.restart();
  }

  async #pass({ least, most }: { readonly least: number; readonly most: number }): Promise<void> {
    await delay(this.#random.between(least, most));
  }
}

/** An operator who cannot reach the server does without. */
function whileAway(error: unknown): undefined {
  if (TRANSIENT.some((kind) => isKind(error, kind))) return;
  throw error;
}

/** Every fault once, in the order of the seed. */
function shuffled(random: SeededRandom): readonly Fault[] {
  return FAULTS.map((fault) => ({ fault, place: random.fraction() }))
    .toSorted((a, b) => a.place - b.place)
    .map(({ fault }) => fault);
}
