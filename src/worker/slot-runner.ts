import { accessSync, constants, mkdirSync } from 'node:fs';
import { ReapiError } from '../errors.ts';
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

/** Carries out leases of one slot, each in a new folder below the slot's own. */
export class SlotRunner implements LeaseRunner {
  readonly #folder: string;
  readonly #tools: LeaseTools;
  readonly #options: LeaseOptions;
  #leases = 0;
  /** Folder of the last lease, until it is removed. */
  #used: string | undefined;

  /** @param folder exists and belongs to the slot alone. */
  constructor(folder: string, tools: LeaseTools, options: LeaseOptions) {
    this.#folder = folder;
    this.#tools = tools;
    this.#options = options;
  }

  start(lease: Lease, onStage: (stage: LeaseStage) => void, signal: AbortSignal): Promise<LeaseOutcome> {
    const folder = `${this.#folder}/${this.#leases++}`;
    this.#used = folder;
    return runLease(lease, this.#tools, this.#options, { folder, onStage, signal });
  }

  async cleanUp(): Promise<void> {
    if (this.#used !== undefined) removeTree(this.#used);
    this.#used = undefined;
    try {
      mkdirSync(this.#folder, { recursive: true });
      accessSync(this.#folder, constants.W_OK);
    } catch (error) {
      throw new ReapiError('unavailable', 'the build directory cannot be written', { cause: error });
    }
  }
}
