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

  start(lease: Lease, onStage: (stage: LeaseStage) => void, signal: AbortSignal): Promise<LeaseOutcome> {
    const folder = `${this.#folder}/${this.#leases++}`;
    this.#used = folder;
    return runLease(lease, this.#tools, this.#options, { folder, onStage, signal });
  }

  async cleanUp(): Promise<void> {
    this.#endStrays();
    if (this.#used !== undefined) await removeTree(this.#used);
    this.#used = undefined;
    try {
      mkdirSync(this.#folder, { recursive: true });
      accessSync(this.#folder, constants.W_OK);
    } catch (error) {
      throw new ReapiError('unavailable', 'the build directory cannot be written', { cause: error });
    }
  }

  /** Between leases, whatever works in the slot's folder has left its group and outlived its lease. */
  #endStrays(): void {
    const nowMs = this.#tools.clock.monotonicMs();
    if (nowMs < this.#straysDueMs) return;
    this.#straysDueMs = nowMs + STRAY_CHECK_INTERVAL_MS;
    killProcessesIn(this.#realFolder);
  }
}
