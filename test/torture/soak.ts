import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** What `npm run soak` runs, one after the other. */
const PARTS: readonly (readonly string[])[] = [
  ['test/simulation/run.ts', '--seeds', '20000'],
  ['test/simulation/bucket/run.ts', '--seeds', '5000'],
  ['test/chaos/run.ts', '--rounds', '60'],
  ['test/torture/kill.ts', '--rounds', '1000'],
  ['test/torture/model.ts', '--runs', '2000'],
  ['test/s3/soak.ts', '--rounds', '300', '--server', 'minio'],
  ['test/s3/soak.ts', '--rounds', '100', '--server', 'versitygw'],
  ['bench/churn.ts', '--minutes', '10'],
];

const ROOT = join(import.meta.dirname, '../..');

/** Runs all parts, also after a failure, and ends with the last line of each. */
function main(): void {
  const summary: string[] = [];
  for (const [script = '', ...args] of PARTS) {
    const { status, stdout } = spawnSync(process.execPath, [script, ...args], {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
      maxBuffer: 64 * 1024 * 1024,
    });
    process.stdout.write(stdout);
    const last = stdout.trimEnd().split('\n').at(-1) ?? '';
    summary.push(`${status === 0 ? 'ok    ' : 'FAILED'} ${script}: ${last}`);
    if (status !== 0) process.exitCode = 1;
  }
  console.log(`\n${summary.join('\n')}`);
}

main();
