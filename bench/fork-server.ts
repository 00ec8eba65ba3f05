import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemClock } from '../src/system/clock.ts';
import { LinuxProbe } from '../src/worker/machine-probe.ts';
import { ProcessSandbox } from '../src/worker/process-sandbox.ts';

// How many no-op commands a slot starts, and what one costs this process: `node bench/fork-server.ts [commands] [slots]`.

const commands = Number(process.argv[2] ?? 2000);
const slots = Number(process.argv[3] ?? 1);
const clock = new SystemClock();
const folder = mkdtempSync(join(tmpdir(), 'fork-server-'));

async function slot(name: string): Promise<void> {
  const sandbox = new ProcessSandbox(clock, new LinuxProbe());
  const job = {
    arguments: ['/bin/true'],
    environment: new Map([['PATH', '/usr/bin:/bin']]),
    root: folder,
    workingDirectory: '',
    stdoutPath: join(folder, `stdout${name}`),
    stderrPath: join(folder, `stderr${name}`),
    timeoutMs: 60_000,
    maxLogBytes: 1e6,
  };
  const signal = new AbortController().signal;
  for (let done = 0; done < commands / slots; done++) await sandbox.run(job, signal);
  await sandbox.close();
}

const startedMs = clock.monotonicMs();
const cpu = process.cpuUsage();
await Promise.all(Array.from({ length: slots }, (_, at) => slot(String(at))));
const { user, system } = process.cpuUsage(cpu);
const seconds = (clock.monotonicMs() - startedMs) / 1000;
process.stdout.write(
  `${commands} commands on ${slots} slots: ${Math.round(commands / seconds)} a second, ` +
    `${((user + system) / 1000 / commands).toFixed(3)} ms of processor time each in this process\n`,
);
rmSync(folder, { recursive: true });
