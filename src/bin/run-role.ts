import type { RunningRole } from '../compose/roles.ts';
import { type ReadyOptions, readyBlock } from './ready-block.ts';

/** Exit codes, as shells and service managers see them. */
export const EXIT = { success: 0, failure: 1, usage: 2 } as const;

/** The process around a role. */
export interface Surroundings {
  /** Writes to standard output and standard error. */
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Calls `handler` at every SIGTERM and SIGINT. @returns ends it. */
  readonly onStopSignal: (handler: () => void) => () => void;
  /** Tells the service manager. @returns what went wrong. */
  readonly notify: (state: 'READY=1' | 'STOPPING=1') => Promise<string | undefined>;
}

/** How a role is run. */
export interface RunOptions extends ReadyOptions {
  /** How long running calls may go on after the first signal. */
  readonly graceMs: number;
}

/**
 * Starts a role and stays until it ends by itself or is told to.
 *
 * - The first signal stops it gracefully; one that comes during the start ends that where it waits for something, or else takes
 *   effect right after it.
 * - The second aborts what is left, or the start, and makes the exit code a failure.
 * - A role that ends by itself with an error is stopped and makes it a failure too.
 *
 * @returns the exit code. @throws what starting throws.
 */
export async function runRole(
  start: (signal: AbortSignal) => Promise<RunningRole>,
  surroundings: Surroundings,
  options: RunOptions,
): Promise<number> {
  const first = Promise.withResolvers<'told'>();
  const second = Promise.withResolvers<'forced'>();
  const told = new AbortController();
  const unsubscribe = surroundings.onStopSignal(() => {
    if (told.signal.aborted) second.resolve('forced');
    else first.resolve('told');
    told.abort();
  });
  try {
    const running = await Promise.race([startUnless(told.signal, start), second.promise]);
    if (running === undefined) return EXIT.success;
    if (running === 'forced') return EXIT.failure;
    if (!told.signal.aborted) await announce(running, surroundings, options);
    const end = await Promise.race([running.done, first.promise]);
    if (end instanceof Error) surroundings.err(`gantry: ${end.message}\n`);
    report(await surroundings.notify('STOPPING=1'), surroundings);
    const stopped = await Promise.race([running.stop(options.graceMs), second.promise]);
    if (stopped === 'forced') running.force();
    return stopped === 'forced' || end instanceof Error ? EXIT.failure : EXIT.success;
  } finally {
    unsubscribe();
  }
}

/** Runs a command with a signal that aborts at the first SIGINT or SIGTERM; the next one ends the process. */
export async function untilStopped<T>(
  { onStopSignal }: Pick<Surroundings, 'onStopSignal'>,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const stopping = new AbortController();
  const unsubscribe = onStopSignal(() => {
    stopping.abort();
    unsubscribe();
  });
  try {
    return await work(stopping.signal);
  } finally {
    unsubscribe();
  }
}

/** Undefined if the start was given up because it was told to. */
async function startUnless(
  told: AbortSignal,
  start: (signal: AbortSignal) => Promise<RunningRole>,
): Promise<RunningRole | undefined> {
  try {
    return await start(told);
  } catch (error) {
    if (told.aborted) return undefined;
    throw error;
  }
}

async function announce(running: RunningRole, surroundings: Surroundings, options: RunOptions): Promise<void> {
  surroundings.out(readyBlock(running.ready, options));
  report(await surroundings.notify('READY=1'), surroundings);
}

function report(problem: string | undefined, surroundings: Surroundings): void {
  if (problem !== undefined) surroundings.err(`gantry: ${problem}\n`);
}
