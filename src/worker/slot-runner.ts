import { accessSync, constants, mkdirSync, realpathSync } from 'node:fs';
import { ReapiError } from '../errors.ts';
import { killProcessesIn } from './leftovers.ts';
import { removeTree } from './remove-tree.ts';
import {
  type Lease,
  type LeaseOptions,
  type LeaseOutcome,
  type LeaseStage,
  type LeaseTools,
  runLease,
} from './run-lease.ts';
import type { LeaseRunner } from './worker.ts';

/** How often a slot looks for processes that outlived their lease: a look at all processes costs milliseconds. */
const STRAY_CHECK_INTERVAL_MS = 10_000;

/** Carries out leases of one slot, each in a new folder below the slot's own. */
export class SlotRunner implements LeaseRunner {
  readonly #folder: string;
  readonly #tools: LeaseTools;
  readonly #options: LeaseOptions;
  #leases = 0;
  /** Folder of the last lease, until it is removed. */
  #used: string | undefined;
  readonly #realFolder: string;
  #straysDueMs: number;

  /** @param folder exists and belongs to the slot alone. */
  constructor(folder: string, tools: LeaseTools, options: LeaseOptions) {
    this.#folder = folder;
    this.#tools = tools;
    this.#options = options;
    this.#realFolder = realpathSync(folder);
    this.#straysDueMs = tools.clock.monotonicMs() + STRAY_CHECK_INTERVAL_MS;
  }

  async start(lease: Lease, onStage: (stage: LeaseStage) => void, signal: AbortSignal): Promise<LeaseOutcome> {
    const name = String(this.#leases++);
    const folder = `${this.#folder}/${name}`;
    const makeReady = async (): Promise<void> => {
      await this.cleanUp();
      this.#used = folder;
    };
    // This lease may take hours: what the ones before it left does not go on for so long.
    const look = this.#tools.clock.wakeAt(this.#straysDueMs, () => this.#endStrays(name));
    try {
      return await runLease(lease, this.#tools, this.#options, { folder, makeReady, onStage, signal });
    } finally {
      look.cancel();
    }
  }

  async close(): Promise<void> {
    this.#endStrays();
    await this.cleanUp();
  }

  async cleanUp(): Promise<void> {
    if (this.#tools.clock.monotonicMs() >= this.#straysDueMs) this.#endStrays();
    if (this.#used !== undefined) await this.#remove(this.#used);
    this.#used = undefined;
    try {
      mkdirSync(this.#folder, { recursive: true });
      accessSync(this.#folder, constants.W_OK);
    } catch (error) {
      throw new ReapiError('unavailable', 'the build directory cannot be written', { cause: error });
    }
  }

  /** What keeps a folder from being removed is mostly a process that outlived its lease and works there still. */
  async #remove(folder: string): Promise<void> {
    try {
      await removeTree(folder);
    } catch {
      this.#endStrays();
      await removeTree(folder);
    }
  }

  /** Whatever works in the slot's folder, but for a lease under way, has left its group and outlived its lease. */
  #endStrays(running?: string): void {
    this.#straysDueMs = this.#tools.clock.monotonicMs() + STRAY_CHECK_INTERVAL_MS;
    killProcessesIn(this.#realFolder, running);
  }
}
