import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { isKind } from '../errors.ts';
import { type Clock, SystemClock } from '../system/clock.ts';
import { LinuxProbe, type MachineProbe } from './machine-probe.ts';
import { ProcessSandbox } from './process-sandbox.ts';
import type { SandboxJob, SandboxOutcome } from './sandbox.ts';

describe('ProcessSandbox', () => {
  let folder: string;
  let sandbox: ProcessSandbox;
  const never = new AbortController().signal;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sandbox-'));
    mkdirSync(join(folder, 'root/sub'), { recursive: true });
    use(new SystemClock());
  });
  afterEach(async () => {
    await sandbox.close();
    rmSync(folder, { recursive: true, force: true });
  });

  function use(clock: Clock, machine: MachineProbe = new LinuxProbe()): void {
    sandbox = new ProcessSandbox(clock, machine);
  }

  function job(words: readonly string[], more: Partial<SandboxJob> = {}): SandboxJob {
    return {
      arguments: words,
      environment: new Map(),
      root: join(folder, 'root'),
      workingDirectory: '',
      stdoutPath: join(folder, 'stdout'),
      stderrPath: join(folder, 'stderr'),
      timeoutMs: 600_000,
      maxLogBytes: 1e6,
      ...more,
    };
  }

  const stdout = (): string => readFileSync(join(folder, 'stdout'), 'utf8');
  const stderr = (): string => readFileSync(join(folder, 'stderr'), 'utf8');
  const sh = (script: string): readonly string[] => ['/bin/sh', '-c', script];

  async function run(words: readonly string[], more: Partial<SandboxJob> = {}): Promise<SandboxOutcome> {
    return sandbox.run(job(words, more), never);
  }

  it('runs a command and keeps both streams apart', async () => {
    const outcome = await run(sh('echo out; echo err >&2; exit 7'));
    assert.equal(outcome.ended, 'exited');
    assert.equal(outcome.exitCode, 7);
    assert.deepEqual([stdout(), stderr()], ['out\n', 'err\n']);
  });

  it('gives the command no variable that it does not name (R-CM-14)', async () => {
    await run(['/usr/bin/env']);
    assert.equal(stdout(), '');
  });

  it('gives the command exactly its variables', async () => {
    const variables = { PATH: '/usr/bin:/bin', QUOTED: `a'b"c$d\\e\nf`, EMPTY: '' };
    await run(['/usr/bin/env', '-0'], { environment: new Map(Object.entries(variables)) });
    assert.deepEqual(
      stdout().split('\0').sort(),
      ['', ...Object.entries(variables).map((pair) => pair.join('='))].sort(),
    );
  });

  it('passes variables on whose names mean something to a shell, or are no identifiers', async () => {
    const variables = {
      IFS: 'x',
      'a-b': '1',
      PWD: '/nowhere',
      OPTIND: 'q',
      PS4: '$(touch pwned)',
      _: '2',
      'sp ace': '',
      '-u': 'PWD',
      '-S': 'a b',
    };
    await run(['/usr/bin/env', '-0'], { environment: new Map(Object.entries(variables)) });
    assert.deepEqual(
      stdout().split('\0').sort(),
      ['', ...Object.entries(variables).map((pair) => pair.join('='))].sort(),
    );
    assert.equal(existsSync(join(folder, 'root/pwned')), false);
  });

  it('law: arguments and variables reach the command as they are', async () => {
    const text = fc.string({ unit: 'binary', maxLength: 30 }).map((value) => value.replaceAll('\0', ''));
    const name = fc.stringMatching(/^[A-Z][A-Z0-9]{5,9}$/);
    await fc.assert(
      fc.asyncProperty(
        fc.array(text, { maxLength: 5 }),
        fc.dictionary(name, text, { maxKeys: 4 }),
        async (words, variables) => {
          const expected = words.map((word) => Buffer.from(word).toString());
          await run(['/usr/bin/printf', '%s\\0', 'first', ...expected]);
          assert.deepEqual(stdout().split('\0'), ['first', ...expected, '']);
          await run(['/usr/bin/env', '-0'], { environment: new Map(Object.entries(variables)) });
          const lines = Object.entries(variables).map(([key, value]) => `${key}=${Buffer.from(value).toString()}`);
          assert.deepEqual(stdout().split('\0').sort(), [...lines, ''].sort());
        },
      ),
      { numRuns: 50 },
    );
  });

  it('closes stdin and every other file', async () => {
    await run(sh('cat; ls /proc/self/fd | grep -c "^3$"; readlink /proc/$$/fd/3; umask; ulimit -c'));
    const lines = stdout().trim().split('\n');
    assert.equal(lines.at(-2), '0022');
    assert.equal(lines.at(-1), '0');
    assert.equal(lines.length, 3, 'fd 3 of the command itself is closed');
  });

  it('looks a program up as execvp does (R-CM-13)', async () => {
    writeFileSync(join(folder, 'root/sub/tool'), '#!/bin/sh\necho "$0"\n', { mode: 0o755 });
    const inSub = { workingDirectory: 'sub' };
    assert.equal((await run(['./tool'], inSub)).exitCode, 0, 'relative to the working directory');
    assert.equal((await run(['sub/tool'])).exitCode, 0);
    const withPath = { environment: new Map([['PATH', join(folder, 'root/sub')]]) };
    assert.equal((await run(['tool'], withPath)).exitCode, 0, "the command's own PATH");
    for (const words of [['tool'], ['sub'], ['./absent'], ['']]) {
      await assert.rejects(run(words), (error) => isKind(error, 'invalid-argument'), words[0]);
    }
  });

  it('keeps the first argument as it was given', async () => {
    symlinkSync('/bin/sh', join(folder, 'root/=odd'));
    await run(['./=odd', '-c', 'tr "\\0" " " < /proc/$$/cmdline'], {
      environment: new Map([
        ['PATH', '/usr/bin:/bin'],
        ['a-b', ''],
      ]),
    });
    assert.equal(stdout().split(' ')[0], './=odd');
  });

  it('reports 128 + n for a command that a signal ended, and goes on (R-EX-23)', async () => {
    for (const [signal, code] of [
      ['INT', 130],
      ['KILL', 137],
      ['TERM', 143],
      ['HUP', 129],
    ] as const) {
      assert.equal((await run(sh(`kill -${signal} $$; sleep 1000`))).exitCode, code, signal);
    }
    assert.equal((await run(['/bin/true'])).exitCode, 0);
  });

  it('kills what a command leaves running', async () => {
    await run(sh('sleep 1000 & echo $!'));
    await ended(Number(stdout()));
  });

  it('kills everything at the timeout (R-EX-20, R-CM-33)', async () => {
    const clock = new FakeClock();
    use(clock);
    const pending = run(sh('sleep 1000 & echo $!; wait'), { timeoutMs: 5000 });
    await until(() => clock.armed === 2 && stdout() !== '');
    clock.advance(4999);
    clock.advance(1);
    const outcome = await pending;
    assert.equal(outcome.ended, 'timed-out');
    assert.equal(outcome.wallMs, 5000);
    await ended(Number(stdout()));
    assert.equal(clock.armed, 0);
  });

  it('kills everything when it is cancelled, also before the command has started', async () => {
    for (const late of [false, true]) {
      const abort = new AbortController();
      const pending = sandbox.run(job(sh('echo on; sleep 1000')), abort.signal);
      if (late) await until(() => existsSync(join(folder, 'stdout')) && stdout() !== '');
      abort.abort();
      await assert.rejects(pending, (error) => isKind(error, 'cancelled'));
      rmSync(join(folder, 'stdout'), { force: true });
    }
  });

  it('stops a command that writes more than anyone can read', async () => {
    const clock = new FakeClock();
    use(clock);
    const pending = run(sh('while :; do echo 0123456789; done'), { maxLogBytes: 1000 });
    await until(() => clock.armed === 2 && stdout().length > 1000);
    clock.advance(1000);
    assert.equal((await pending).ended, 'log-overflow');
    assert.equal(
      (
        await run(sh('head -c 2000 /dev/zero'), {
          maxLogBytes: 1000,
          environment: new Map([['PATH', '/usr/bin:/bin']]),
        })
      ).ended,
      'log-overflow',
    );
  });

  it('bears whatever a command does to its own streams, and still counts what it writes', async () => {
    const clock = new FakeClock();
    use(clock);
    const started = join(folder, 'root/started');
    const script = 'ln -sf stdout ../stdout; rm ../stderr; echo > started; while :; do echo 0123456789; done';
    const pending = run(sh(script), { maxLogBytes: 1000, environment: new Map([['PATH', '/usr/bin:/bin']]) });
    await until(() => clock.armed === 2 && existsSync(started));
    const ended = pending.then(({ ended }) => ended);
    let isOver = false;
    const over = ended.finally(() => {
      isOver = true;
    });
    while (!isOver) {
      clock.advance(1000);
      await nextTurn();
    }
    await over;
    assert.equal(await ended, 'log-overflow');
  });

  it('refuses what the system would refuse as too long, before it could look like an exit code', async () => {
    const word = 'x'.repeat(131_071);
    assert.equal((await run(['/bin/true', word])).exitCode, 0);
    const tooMuch: [string[], Map<string, string>][] = [
      [['/bin/true', `${word}x`], new Map()],
      [['/bin/true'], new Map([['V', word]])],
      [['/bin/true', ...Array(60).fill(word)], new Map()],
      [['/bin/true', ...Array(1_000_000).fill('')], new Map()],
    ];
    for (const [words, environment] of tooMuch) {
      await assert.rejects(run(words, { environment }), (error) => isKind(error, 'invalid-argument'));
    }
  });

  it('counts the processor time of each command by itself', async () => {
    const loop = 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done';
    const busy = await run(sh(loop));
    const idle = await run(['/bin/true']);
    assert.ok(busy.userMs + busy.systemMs > 0);
    assert.ok(idle.userMs + idle.systemMs < busy.userMs + busy.systemMs);
  });

  it('replaces a shell that died, and says that it was not the command', async () => {
    const pending = run(sh('echo $PPID; sleep 1000'));
    await until(() => existsSync(join(folder, 'stdout')) && stdout() !== '');
    process.kill(Number(stdout()), 'SIGKILL');
    await assert.rejects(pending, (error) => isKind(error, 'unavailable'));
    assert.equal((await run(['/bin/true'])).exitCode, 0);
  });

  /** A machine on which the kernel kills something while every command runs. */
  function probe(more: Partial<MachineProbe> = {}): MachineProbe {
    let kills = 0;
    return { memoryKills: () => kills++, countsOwnOnly: false, isDiskFull: () => false, ...more };
  }

  for (const { title, script, machine, ended } of [
    { title: 'SIGKILL while the kernel killed something', script: 'kill -9 $$', machine: {}, ended: 'out-of-memory' },
    { title: 'another signal', script: 'kill -15 $$', machine: {}, ended: 'exited' },
    { title: 'an exit code, something on the machine killed', script: 'exit 1', machine: {}, ended: 'exited' },
    {
      title: 'an exit code, something of this worker killed: a driver whose compiler died',
      script: 'exit 1',
      machine: { countsOwnOnly: true },
      ended: 'out-of-memory',
    },
    { title: 'success all the same', script: 'exit 0', machine: { countsOwnOnly: true }, ended: 'exited' },
    {
      title: 'SIGKILL of its own',
      script: 'kill -9 $$',
      machine: { memoryKills: () => 7, countsOwnOnly: true },
      ended: 'exited',
    },
    {
      title: 'an exit code, the disk full',
      script: 'exit 1',
      machine: { memoryKills: () => 7, isDiskFull: () => true },
      ended: 'disk-full',
    },
    { title: 'success on a full disk', script: 'exit 0', machine: { isDiskFull: () => true }, ended: 'exited' },
  ] as const) {
    it(`takes ${title} for ${ended}`, async () => {
      use(new SystemClock(), probe(machine));
      assert.equal((await run(sh(script))).ended, ended);
    });
  }

  it('takes a timeout for a timeout, whatever the kernel killed meanwhile', async () => {
    use(new SystemClock(), probe({ countsOwnOnly: true }));
    assert.equal((await run(['/bin/sleep', '1000'], { timeoutMs: 50 })).ended, 'timed-out');
  });

  it('has the kernel end a command rather than the worker when memory is short', async () => {
    await run(['/bin/cat', '/proc/self/oom_score_adj']);
    const own = Number(readFileSync('/proc/self/oom_score_adj', 'utf8'));
    assert.equal(Number(stdout()), Math.min(1000, own + 300));
  });

  it('leaves nothing running when the worker itself is killed', async () => {
    const script = `
      import { ProcessSandbox } from ${JSON.stringify(join(import.meta.dirname, 'process-sandbox.ts'))};
      import { SystemClock } from ${JSON.stringify(join(import.meta.dirname, '../system/clock.ts'))};
      const probe = { memoryKills: () => 0, countsOwnOnly: false, isDiskFull: () => false };
      const sandbox = new ProcessSandbox(new SystemClock(), probe);
      const job = ${JSON.stringify({ ...job(sh('sleep 1000 & echo $$ $! $PPID; wait')), environment: undefined })};
      await sandbox.run({ ...job, environment: new Map() }, new AbortController().signal);`;
    const worker = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' });
    await until(() => existsSync(join(folder, 'stdout')) && stdout() !== '');
    worker.kill('SIGKILL');
    for (const pid of stdout().trim().split(' ')) await ended(Number(pid));
  });

  /** Resolves when the process is gone, or a zombie that only waits for its parent. */
  async function ended(pid: number): Promise<void> {
    assert.ok(pid > 1);
    await until(() => {
      if (!existsSync(`/proc/${pid}`)) return true;
      try {
        return /^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
      } catch {
        return true;
      }
    });
  }

  /** Real processes have no clock of ours: look again at every turn of the event loop. */
  async function until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await nextTurn();
  }
});
