import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { MemoryWorkerStore } from '../../test/support/memory-worker-store.ts';
import { isKind } from '../errors.ts';
import { SystemClock } from '../system/clock.ts';
import { DirectoryCache } from './inputs/directory-cache.ts';
import { FileCache } from './inputs/file-cache.ts';
import { FileFetcher } from './inputs/file-fetcher.ts';
import { InputRoots } from './inputs/input-root.ts';
import { LinuxProbe } from './machine-probe.ts';
import { Uploader } from './outputs/upload.ts';
import { ProcessSandbox } from './process-sandbox.ts';
import { SlotRunner } from './slot-runner.ts';
import { WORKER_DEFAULTS } from './start-worker.ts';

describe('SlotRunner', () => {
  let base: string;
  let folder: string;
  let clock: FakeClock;
  let runner: SlotRunner;

  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'slot-runner-'));
    folder = join(base, 'slot');
    mkdirSync(folder);
    clock = new FakeClock();
    const cache = new FileCache(join(base, 'cache'), { maxBytes: 1e6, maxEntries: 100 });
    const fetcher = new FileFetcher(cache, { maxTransfers: 1 });
    const directories = new DirectoryCache({ maxBytes: 1e6, maxEntries: 100 });
    const tools = {
      clock,
      sandbox: new ProcessSandbox(new SystemClock(), new LinuxProbe()),
      inputRoots: new InputRoots(directories, cache, fetcher, WORKER_DEFAULTS.inputs),
      uploader: new Uploader({ maxTransfers: 1 }),
      storeFor: () => new MemoryWorkerStore(),
      statusOf: () => ({ code: 2, message: '', details: [] }),
    };
    runner = new SlotRunner(folder, tools, { ...WORKER_DEFAULTS, worker: 'n/0' });
  });
  afterEach(() => rmSync(base, { recursive: true, force: true }));

  it('ends processes that outlived their lease, looking for them every ten seconds', async () => {
    const left = join(folder, '3/root');
    mkdirSync(left, { recursive: true });
    const stray = spawn('/bin/sleep', ['1000'], { cwd: left, stdio: 'ignore', detached: true });
    await once(stray, 'spawn');
    const end = once(stray, 'exit');
    // It still works there when there is no more.
    rmSync(left, { recursive: true });
    clock.advance(9999);
    await runner.cleanUp();
    assert.equal(stray.signalCode, null);
    clock.advance(1);
    await runner.cleanUp();
    assert.deepEqual(await end, [null, 'SIGKILL']);
  });

  it('spares processes elsewhere when an action put a symlink in the place of the folder', async () => {
    const elsewhere = join(base, 'elsewhere');
    mkdirSync(elsewhere);
    const bystander = spawn('/bin/sleep', ['1000'], { cwd: elsewhere, stdio: 'ignore' });
    await once(bystander, 'spawn');
    const end = once(bystander, 'exit');
    rmSync(folder, { recursive: true });
    symlinkSync(elsewhere, folder);
    clock.advance(10_000);
    await runner.cleanUp();
    bystander.kill('SIGTERM');
    assert.deepEqual(await end, [null, 'SIGTERM']);
  });

  it('says that a slot without its folder cannot work (R-BW-01)', async () => {
    rmSync(base, { recursive: true });
    await runner.cleanUp();
    rmSync(base, { recursive: true });
    mkdirSync(base);
    writeFileSync(folder, 'in the way');
    await assert.rejects(runner.cleanUp(), (error) => isKind(error, 'unavailable'));
  });
});
