import { type ChildProcess, spawn } from 'node:child_process';
import { ReapiError } from '../../errors.ts';

// A shell that starts commands. Starting a process from Node copies Node's page tables, which takes tens of
// milliseconds once Node is large, while a shell of one megabyte forks in a fraction of one.
//
//   node → shell, stdin     one line of script a job: a subshell that becomes the command, then two reports
//   shell → node, stdout    `s <pid>` from the subshell, which `setsid` then makes the leader of group <pid>;
//                           the two lines of `times`; `e <exit code>`
//   node → watchdog, fd 3   nothing; it ends when the worker does, however the worker dies
//
// The shell waits for the command in the foreground (a background command would start with SIGINT ignored), so it
// cannot notice by itself that the worker is gone. The watchdog, a subshell that only reads fd 3, does: it stops the
// shell, kills the shell's children with their groups, and then the shell.

const KIDS = '</proc/$$/task/$$/children';

/**
 * When memory is short the kernel should end a command rather than the worker, and with it all slots: so much more
 * likely, of 1000. Raising it is always allowed; it is added to what the worker itself was given.
 */
const MEMORY_SACRIFICE = 300;

const PREAMBLE = [
  'umask 022',
  `read -r adj </proc/self/oom_score_adj&&adj=$((adj+${MEMORY_SACRIFICE}));[ "\${adj:-0}" -le 1000 ]||adj=1000`,
  'ulimit -c 0',
  'unset PWD OLDPWD',
  `(read -r _ <&3;kill -STOP $$;read -r self _ </proc/self/stat;read -r kids ${KIDS}
for k in $kids;do [ "$k" = "$self" ]||{ kill -9 -$k;kill -9 $k;};done;kill -9 $$) </dev/null >/dev/null 2>&1 &`,
  '',
].join('\n');

/** What a subshell does so before it becomes the command. */
const SACRIFICE = '[ -z "$adj" ]||echo "$adj" >/proc/self/oom_score_adj';

/** Longest line of the shell's answers; only a broken shell sends more. */
const MAX_LINE_CHARS = 4096;

/** How a started command ended. */
export interface ForkOutcome {
  readonly exitCode: number;
  readonly userMs: number;
  readonly systemMs: number;
}

/** A command under way. */
export interface ForkedCommand {
  /** Its process id, which is its group's as well. Rejects like `ended`. */
  readonly started: Promise<number>;
  /** @throws unavailable if the shell died. */
  readonly ended: Promise<ForkOutcome>;
}

interface Pending {
  readonly started: PromiseWithResolvers<number>;
  readonly ended: PromiseWithResolvers<ForkOutcome>;
  pid: number | undefined;
}

/** Starts commands one after the other from a small shell of its own; a shell that died is replaced at the next command. */
export class ForkServer {
  readonly #shell: string;
  #process: ChildProcess | undefined;
  #pending: Pending | undefined;
  #buffer = '';
  /** Processor time of all commands so far, as `times` last said. */
  #times: readonly [number, number] = [0, 0];
  #timesLines: string[] = [];

  /** @param shell absolute path of a POSIX shell. */
  constructor(shell: string) {
    this.#shell = shell;
  }

  /** Process id of the shell, if one runs. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** @param text what the subshell does, from `shellText`. Only one command at a time. */
  start(text: string): ForkedCommand {
    if (this.#pending) throw new ReapiError('internal', 'the fork server runs a command already');
    const pending: Pending = { started: Promise.withResolvers(), ended: Promise.withResolvers(), pid: undefined };
    this.#pending = pending;
    // Whoever does not wait for the start learns of a failure from the end.
    pending.started.promise.catch(() => undefined);
    const announce = `read -r k ${KIDS};[ "$k" ]||read -r k _ </proc/self/stat;echo "s \${k##* }"`;
    this.#running().stdin?.write(`(${announce};${SACRIFICE};${text})\nc=$?;times;echo "e $c"\n`);
    return { started: pending.started.promise, ended: pending.ended.promise };
  }

  /** Kills the command's whole group, if one runs. */
  kill(): void {
    const pid = this.#pending?.pid;
    if (pid !== undefined) killGroup(pid);
  }

  /** Ends the shell, and with it a running command. */
  async close(): Promise<void> {
    const child = this.#process;
    if (!child) return;
    const isGone = new Promise<void>((resolve) => child.once('close', () => resolve()));
    this.kill();
    child.stdin?.end();
    child.kill('SIGKILL');
    await isGone;
  }

  #running(): ChildProcess {
    if (this.#process) return this.#process;
    // A session of its own: a Ctrl-C in the operator's terminal is the worker's business, not the actions'.
    const child = spawn(this.#shell, [], {
      env: {},
      cwd: '/',
      detached: true,
      stdio: ['pipe', 'pipe', 'ignore', 'pipe'],
    });
    this.#process = child;
    this.#buffer = '';
    this.#times = [0, 0];
    this.#timesLines = [];
    child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    const onGone = (cause?: unknown): void => this.#lost(child, cause);
    child.once('error', onGone);
    child.once('exit', () => onGone());
    for (const stream of child.stdio) stream?.on('error', onGone);
    child.stdin?.write(PREAMBLE);
    return child;
  }

  #read(text: string): void {
    const lines = (this.#buffer + text).split('\n');
    this.#buffer = lines.pop() ?? '';
    for (const line of lines) this.#line(line);
    if (this.#buffer.length > MAX_LINE_CHARS) this.#process?.kill('SIGKILL');
  }

  #line(line: string): void {
    const pending = this.#pending;
    if (!pending) return;
    if (line.startsWith('s ')) {
      const pid = Number(line.slice(2));
      // A kill of "process 0" would be one of our own group.
      if (!Number.isSafeInteger(pid) || pid <= 1) this.#process?.kill('SIGKILL');
      else {
        pending.pid = pid;
        pending.started.resolve(pid);
      }
    } else if (line.startsWith('e ')) {
      this.#pending = undefined;
      if (pending.pid !== undefined) killGroup(pending.pid);
      pending.ended.resolve({ exitCode: Number(line.slice(2)), ...this.#spent() });
    } else this.#timesLines.push(line);
  }

  /** `times` counts all children since the shell started. */
  #spent(): { userMs: number; systemMs: number } {
    const [user = 0, system = 0] = (this.#timesLines.at(-1) ?? '').split(' ').map(shellTimeMs);
    this.#timesLines = [];
    const [userBefore, systemBefore] = this.#times;
    this.#times = [user, system];
    return { userMs: Math.max(0, user - userBefore), systemMs: Math.max(0, system - systemBefore) };
  }

  #lost(child: ChildProcess, cause: unknown): void {
    if (this.#process !== child) return;
    this.#process = undefined;
    for (const stream of child.stdio) stream?.destroy();
    child.kill('SIGKILL');
    const pending = this.#pending;
    this.#pending = undefined;
    if (!pending) return;
    if (pending.pid !== undefined) killGroup(pending.pid);
    const error = new ReapiError('unavailable', 'the process that starts commands died', { cause });
    pending.started.reject(error);
    pending.ended.reject(error);
  }
}

/** Kills a group, and its leader in case it is none yet. */
function killGroup(pid: number): void {
  for (const target of [-pid, pid]) {
    try {
      process.kill(target, 'SIGKILL');
      return;
    } catch {
      // Nothing of it is left, which is what was wanted.
    }
  }
}

/** `1m2.345678s` in milliseconds; 0 if it is something else. */
function shellTimeMs(text: string): number {
  const match = /^(\d+)m(\d+(?:\.\d+)?)s$/.exec(text);
  return match === null ? 0 : Number(match[1]) * 60_000 + Number(match[2]) * 1000;
}
