import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** How a program ended, and what it printed. */
export interface ChildEnd {
  /** Undefined when a signal ended it. */
  readonly exitCode: number | undefined;
  /** Standard output and standard error, in the order they came. */
  readonly output: string;
}

/** Where and how a program runs. */
export interface ChildOptions {
  readonly cwd: string;
  /** On top of PATH, HOME and the locale of this process. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** A program in a process group of its own, so that what it starts can be ended with it. */
export class Child {
  readonly #process: ChildProcess;
  readonly #end: Promise<ChildEnd>;
  readonly #listeners = new Set<() => void>();
  #output = '';
  #hasEnded = false;

  constructor(program: string, args: readonly string[], options: ChildOptions) {
    this.#process = spawn(program, [...args], {
      cwd: options.cwd,
      detached: true,
      env: { PATH: process.env['PATH'], HOME: options.cwd, LANG: 'C.UTF-8', ...options.environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text;
        for (const listener of this.#listeners) listener();
      });
    }
    this.#end = new Promise((resolve, reject) => {
      this.#process.on('error', (error) => {
        // Whoever waits for something to be printed learns that the program is not there.
        this.#output += `${error.message}\n`;
        reject(error);
      });
      this.#process.on('close', (code) => {
        this.#hasEnded = true;
        for (const listener of this.#listeners) listener();
        resolve({ exitCode: code ?? undefined, output: this.#output });
      });
    });
    // Whoever waits for the end sees the failure; nobody has to.
    this.#end.catch(() => undefined);
  }

  get pid(): number {
    const { pid } = this.#process;
    if (pid === undefined) throw new Error('the program did not start');
    return pid;
  }

  get output(): string {
    return this.#output;
  }

  /** Resolves when the program has ended and its output is complete. */
  end(): Promise<ChildEnd> {
    return this.#end;
  }

  /** Resolves with the match once the output has one. @throws if the program ends before. */
  async outputMatching(pattern: RegExp): Promise<RegExpExecArray> {
    return await new Promise((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(this.#output);
        if (match === null && !this.#hasEnded) return;
        this.#listeners.delete(look);
        if (match === null) reject(new Error(`ended before it printed ${pattern}:\n${this.#output}`));
        else resolve(match);
      };
      this.#listeners.add(look);
      look();
    });
  }

  /** Sends a signal to the program alone. */
  signal(name: NodeJS.Signals): void {
    this.#process.kill(name);
  }

  /** Ends the program and everything it started that stayed in its group. */
  async killGroup(): Promise<void> {
    if (!this.#hasEnded) killProcess(-this.pid);
    await this.#end.catch(() => undefined);
  }
}

/** Runs a program to its end. */
export async function runChild(program: string, args: readonly string[], options: ChildOptions): Promise<ChildEnd> {
  return await new Child(program, args, options).end();
}

/** SIGKILL for a process, or for a group if `pid` is negative; one that is gone already is fine. */
export function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'ESRCH')) throw cause;
  }
}

/** Processes of this machine whose command line contains `marker`. */
export function processesWith(marker: string): readonly number[] {
  return allProcesses().filter((pid) => commandLineOf(pid).includes(marker));
}

/** The processes that `parent` started itself. */
export function childrenOf(parent: number): readonly number[] {
  return allProcesses().filter((pid) => parentOf(pid) === parent);
}

/** The arguments of a process, separated by blanks; empty if it is gone. */
export function commandLineOf(pid: number): string {
  return readProc(pid, 'cmdline').replaceAll('\0', ' ');
}

function parentOf(pid: number): number | undefined {
  // `PID (NAME) STATE PPID …`: the name may hold anything, also blanks and brackets.
  const stat = readProc(pid, 'stat');
  const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return parent === undefined ? undefined : Number(parent);
}

function allProcesses(): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    // The process ended between listing and reading.
    return '';
  }
}
