import { closeSync, existsSync, fstatSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { ReapiError, throwIfAborted } from '../errors.ts';
import type { Clock, Timer } from '../system/clock.ts';
import { diskFailure } from './exhaustion.ts';
import type { MachineProbe } from './machine-probe.ts';
import { findExecutable } from './process/find-executable.ts';
import { type ForkedCommand, type ForkOutcome, ForkServer } from './process/fork-server.ts';
import { shellText } from './process/shell-text.ts';
import type { Sandbox, SandboxJob, SandboxOutcome } from './sandbox.ts';

/** How often the sizes of stdout and stderr are looked at. */
const LOG_CHECK_INTERVAL_MS = 1000;

/** Exit code of a command that SIGKILL ended (R-EX-23). */
const KILLED = 128 + 9;

/** Folders with the system's programs. */
const SYSTEM_FOLDERS = ['/usr/bin', '/bin'] as const;

/**
 * Commands as plain processes of this machine, each a session and process group of its own. It keeps an action from
 * outliving its lease, not from looking around: a process that makes itself a new session escapes the kill of the
 * group; whoever owns the folder of the job looks for those.
 */
export class ProcessSandbox implements Sandbox {
  readonly #clock: Clock;
  readonly #probe: MachineProbe;
  readonly #forkServer: ForkServer;
  readonly #tools: { readonly setsid: string; readonly env: string };

  /** @throws unavailable if this machine lacks `sh`, `setsid` or `env`. */
  constructor(clock: Clock, probe: MachineProbe) {
    this.#clock = clock;
    this.#probe = probe;
    this.#tools = { setsid: systemProgram('setsid'), env: systemProgram('env') };
    this.#forkServer = new ForkServer('/bin/sh');
  }

  async run(job: SandboxJob, signal: AbortSignal): Promise<SandboxOutcome> {
    throwIfAborted(signal);
    const [program] = job.arguments;
    if (program === undefined)
      throw new ReapiError('invalid-argument', 'the command has no arguments', { field: 'arguments' });
    const workingDirectory = join(job.root, job.workingDirectory);
    findExecutable(program, workingDirectory, job.environment.get('PATH'));
    const text = shellText({ ...job, workingDirectory }, this.#tools);
    const logs = createLogs(job);
    const killsBefore = this.#probe.memoryKills();
    try {
      const outcome = await this.#watch(this.#forkServer.start(text), { ...job, logs }, signal);
      return outcome.ended === 'exited' ? { ...outcome, ended: this.#shortageOf(outcome, job, killsBefore) } : outcome;
    } finally {
      for (const log of logs) closeSync(log);
    }
  }

  close(): Promise<void> {
    return this.#forkServer.close();
  }

  async #watch(command: ForkedCommand, job: WatchedJob, signal: AbortSignal): Promise<SandboxOutcome> {
    let stoppedFor: 'cancelled' | 'timed-out' | 'log-overflow' | undefined;
    let startedMs = this.#clock.monotonicMs();
    const timers: Timer[] = [];
    const stop = (reason: NonNullable<typeof stoppedFor>): void => {
      stoppedFor ??= reason;
      // Until the command is known to have started, `started` below takes care of it.
      this.#forkServer.kill();
    };
    const onAbort = (): void => stop('cancelled');
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await command.started;
      startedMs = this.#clock.monotonicMs();
      if (stoppedFor !== undefined) this.#forkServer.kill();
      timers.push(this.#clock.wakeAt(startedMs + job.timeoutMs, () => stop('timed-out')));
      this.#watchLogs(job, timers, stop);
      const outcome = await command.ended;
      if (stoppedFor === undefined && areLogsTooLarge(job)) stoppedFor = 'log-overflow';
      if (stoppedFor === 'cancelled') throw new ReapiError('cancelled', 'the lease was cancelled');
      return outcomeOf(outcome, stoppedFor ?? 'exited', this.#clock.monotonicMs() - startedMs);
    } finally {
      signal.removeEventListener('abort', onAbort);
      for (const timer of timers) timer.cancel();
    }
  }

  /**
   * Whether a failure was the machine's. A count of this worker's cgroup tells of any process of a command, as of a
   * compiler whose driver then exits with 1; it may be another slot's command, which costs a needless attempt. A count
   * of the whole machine says nothing unless SIGKILL ended this very command.
   */
  #shortageOf({ exitCode }: SandboxOutcome, job: SandboxJob, killsBefore: number): SandboxOutcome['ended'] {
    if (exitCode === 0) return 'exited';
    const isSuspect = exitCode === KILLED || this.#probe.countsOwnOnly;
    if (isSuspect && this.#probe.memoryKills() > killsBefore) return 'out-of-memory';
    return this.#probe.isDiskFull(job.root) ? 'disk-full' : 'exited';
  }

  #watchLogs(job: WatchedJob, timers: Timer[], stop: (reason: 'log-overflow') => void): void {
    const check = (): void => {
      if (areLogsTooLarge(job)) stop('log-overflow');
      else timers[1] = this.#clock.wakeAt(this.#clock.monotonicMs() + LOG_CHECK_INTERVAL_MS, check);
    };
    timers[1] = this.#clock.wakeAt(this.#clock.monotonicMs() + LOG_CHECK_INTERVAL_MS, check);
  }
}

/** Stdout and stderr stay open here: what the command does to their paths must not hide their size. */
interface WatchedJob extends SandboxJob {
  readonly logs: readonly number[];
}

function outcomeOf(outcome: ForkOutcome, ended: SandboxOutcome['ended'], wallMs: number): SandboxOutcome {
  return { ended, ...outcome, wallMs };
}

/** Made beforehand, so that a full disk is our failure and not an exit code of the action. */
function createLogs(job: SandboxJob): readonly number[] {
  const logs: number[] = [];
  try {
    for (const path of [job.stdoutPath, job.stderrPath]) logs.push(openSync(path, 'w', 0o644));
    return logs;
  } catch (error) {
    for (const log of logs) closeSync(log);
    throw diskFailure('the worker cannot write the output of commands', error);
  }
}

function areLogsTooLarge(job: WatchedJob): boolean {
  return job.logs.some((log) => fstatSync(log).size > job.maxLogBytes);
}

function systemProgram(name: string): string {
  const found = SYSTEM_FOLDERS.map((folder) => `${folder}/${name}`).find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new ReapiError('unavailable', `the process sandbox needs the program "${name}", which this machine lacks`);
}
