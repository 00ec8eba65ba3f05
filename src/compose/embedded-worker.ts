import { type ChildProcess, fork } from 'node:child_process';
import type { PlatformProperty } from '../platform/platform.ts';
import { type Clock, sleep } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Random } from '../system/random.ts';
import { Backoff } from './backoff.ts';

/** What the worker tells its parent once it is ready to take work. */
export interface WorkerReady {
  readonly type: 'ready';
  readonly slots: number;
  readonly properties: readonly PlatformProperty[];
}

/** Collaborators of the supervisor. */
export interface EmbeddedWorkerParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** How the worker is started. */
export interface EmbeddedWorkerOptions {
  /** The program's entry file. */
  readonly main: string;
  readonly arguments: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

const BACKOFF = { firstMs: 200, maxMs: 10_000, healthyMs: 30_000 };

/**
 * The worker of `gantry serve`: a process of its own, because starting commands from a large process is slow
 * (performance, section 5). It is started again, with a growing pause, whenever it ends. It ends by itself when
 * this process does: the channel between them closes.
 */
export class EmbeddedWorker {
  readonly #parts: EmbeddedWorkerParts;
  readonly #options: EmbeddedWorkerOptions;
  readonly #stopping = new AbortController();
  #child: ChildProcess | undefined;
  #isReady = false;
  #restarts = 0;
  #running: Promise<void> | undefined;

  constructor(parts: EmbeddedWorkerParts, options: EmbeddedWorkerOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** How often it had to be started again. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Whether there is one now that has said it is ready. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Resolves when the first worker is ready to take work. @throws what `signal` is aborted with. */
  start(signal: AbortSignal): Promise<WorkerReady> {
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      this.#running = this.#supervise(resolve);
    });
  }

  /** Asks the worker to finish what it runs. Resolves when it has ended; after `graceMs` it is killed. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping.abort();
    const { clock, log } = this.#parts;
    const child = this.#child;
    child?.kill('SIGTERM');
    const timer = clock.wakeAt(clock.monotonicMs() + graceMs, () => {
      log.warn('the worker did not stop in time and is killed');
      this.kill();
    });
    await this.#running;
    timer.cancel();
  }

  /** Kills it now. The worker's children end with it. */
  kill(): void {
    this.#stopping.abort();
    this.#child?.kill('SIGKILL');
  }

  async #supervise(onReady: (ready: WorkerReady) => void): Promise<void> {
    const { clock, random, log } = this.#parts;
    const backoff = new Backoff(random, BACKOFF);
    while (!this.#stopping.signal.aborted) {
      const startedMs = clock.monotonicMs();
      const how = await this.#runOnce(onReady);
      if (this.#stopping.signal.aborted) return;
      const pauseMs = backoff.next(clock.monotonicMs() - startedMs);
      this.#restarts++;
      log.warn({ how, pauseMs: Math.round(pauseMs) }, 'the embedded worker ended and is started again');
      await sleep(clock, pauseMs, this.#stopping.signal).catch(() => undefined);
    }
  }

  /** Resolves with how the process ended. */
  async #runOnce(onReady: (ready: WorkerReady) => void): Promise<string> {
    let child: ChildProcess;
    try {
      child = fork(this.#options.main, this.#options.arguments, {
        env: this.#options.environment,
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
        // A terminal's Ctrl-C goes to the server, which stops the worker in order.
        detached: true,
      });
    } catch (error) {
      // Node throws some of the machine's refusals (no memory left) and reports others as an event.
      return notStarted(error);
    }
    this.#child = child;
    child.on('message', (message: WorkerReady) => {
      if (message.type !== 'ready') return;
      this.#isReady = true;
      onReady(message);
    });
    const how = await new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(notStarted(error)));
      child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
    });
    this.#isReady = false;
    return how;
  }
}

function notStarted(error: unknown): string {
  return `could not be started: ${error instanceof Error ? error.message : String(error)}`;
}
