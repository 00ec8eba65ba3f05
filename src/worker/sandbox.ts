/** One command in a prepared directory. */
export interface SandboxJob {
  /** At least one (R-CM-13). */
  readonly arguments: readonly string[];
  /** The whole environment; nothing else reaches the command (R-CM-14). */
  readonly environment: ReadonlyMap<string, string>;
  /** Absolute path of the input root. */
  readonly root: string;
  /** Relative to `root`; exists and lies inside. */
  readonly workingDirectory: string;
  /** Files that are created for the two streams. */
  readonly stdoutPath: string;
  readonly stderrPath: string;
  /** Run time after which everything is killed (R-EX-20). */
  readonly timeoutMs: number;
  /** Size of either stream above which everything is killed: a disk must not fill with output nobody can read. */
  readonly maxLogBytes: number;
}

/** How a command ended. A non-zero exit code is an outcome like any other. */
export interface SandboxOutcome {
  /** `out-of-memory` and `disk-full`: it failed because the machine was too small for it. */
  readonly ended: 'exited' | 'timed-out' | 'log-overflow' | 'out-of-memory' | 'disk-full';
  /** 128 + n when signal n ended it (R-EX-23). */
  readonly exitCode: number;
  /** By the clock that enforces the timeout (R-EX-52). */
  readonly wallMs: number;
  /** Processor time of the command and the children it waited for. */
  readonly userMs: number;
  readonly systemMs: number;
}

/** Runs one command at a time in a prepared directory and leaves no process behind. */
export interface Sandbox {
  /** @throws invalid-argument: no such executable; cancelled, after everything was killed; unavailable if the sandbox itself is broken. */
  run(job: SandboxJob, signal: AbortSignal): Promise<SandboxOutcome>;
  /** Ends whatever the sandbox keeps running. */
  close(): Promise<void>;
}
