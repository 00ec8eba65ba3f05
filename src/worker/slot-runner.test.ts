import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { MemoryWorkerStore } from '../../test/support/memory-worker-store.ts';
import { digestToWire, emptyDigest } from '../digest/digest.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { isKind, throwIfAborted } from '../errors.ts';
import { Action, Command } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { DirectoryCache } from './inputs/directory-cache.ts';
import { FileCache } from './inputs/file-cache.ts';
import { FileFetcher } from './inputs/file-fetcher.ts';
import { InputRoots } from './inputs/input-root.ts';
import { Uploader } from './outputs/upload.ts';
import type { Lease } from './run-lease.ts';
import type { Sandbox, SandboxJob } from './sandbox.ts';
import { SlotRunner } from './slot-runner.ts';
import { WORKER_DEFAULTS } from './start-worker.ts';

describe('SlotRunner', () => {
  let base: string;
  let folder: string;
  let clock: FakeClock;
  let runner: SlotRunner;
  let store: MemoryWorkerStore;
  let sandbox: Sandbox;

  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'slot-runner-'));
    folder = join(base, 'slot');
    mkdirSync(folder);
    clock = new FakeClock();
    store = new MemoryWorkerStore();
    sandbox = { run: () => Promise.reject(new Error('no command')), close: () => Promise.resolve() };
    const cache = new FileCache(join(base, 'cache'), { maxBytes: 1e6, maxEntries: 100 });
    const fetcher = new FileFetcher(cache, { maxTransfers: 1 });
    const directories = new DirectoryCache({ maxBytes: 1e6, maxEntries: 100 });
    const tools = {
      clock,
      sandbox: {
        run: (job: SandboxJob, signal: AbortSignal) => sandbox.run(job, signal),
        close: () => Promise.resolve(),
      },
      inputRoots: new InputRoots(directories, cache, fetcher, WORKER_DEFAULTS.inputs),
      uploader: new Uploader({ maxTransfers: 1 }),
      storeFor: () => store,
      statusOf: () => ({ code: 2, message: '', details: [] }),
    };
    runner = new SlotRunner(folder, tools, { ...WORKER_DEFAULTS, worker: 'n/0' });
  });
  afterEach(() => rmSync(base, { recursive: true, force: true }));

  async function sleepIn(cwd: string): Promise<{ readonly process: ChildProcess; readonly end: Promise<unknown[]> }> {
    const process = spawn('/bin/sleep', ['1000'], { cwd, stdio: 'ignore', detached: true });
    await once(process, 'spawn');
    return { process, end: once(process, 'exit') };
  }

  /** A process of a lease that is over. */
  async function leaveStray(): ReturnType<typeof sleepIn> {
    const left = join(folder, '7/root');
    mkdirSync(left, { recursive: true });
    const stray = await sleepIn(left);
    // It still works there when there is no more.
    rmSync(join(folder, '7'), { recursive: true });
    return stray;
  }

  function someLease(): Lease {
    const command = store.seed(Command.encode(Command.fromPartial({ arguments: ['x'] })).finish());
    const action = Action.fromPartial({
      commandDigest: digestToWire(command),
      inputRootDigest: digestToWire(emptyDigest('sha256')),
    });
    const key = { instance: parseInstanceName(''), action: command };
    return { key, action, queued: undefined, auxiliaryMetadata: [] };
  }

  it('ends processes that outlived their lease, looking for them every ten seconds', async () => {
    const stray = await leaveStray();
    clock.advance(9999);
    await runner.cleanUp();
    assert.equal(stray.process.signalCode, null);
    clock.advance(1);
    await runner.cleanUp();
    assert.deepEqual(await stray.end, [null, 'SIGKILL']);
  });

  it('ends them while a lease of hours runs as well, but none of its own', async () => {
    const started = Promise.withResolvers<ChildProcess[]>();
    sandbox.run = async ({ root }, signal) => {
      const own = await Promise.all([sleepIn(root), sleepIn(dirname(root))]);
      started.resolve(own.map(({ process }) => process));
      await Promise.all(own.map(({ end }) => end));
      throwIfAborted(signal);
      throw new Error('ended too early');
    };
    const stray = await leaveStray();
    const abort = new AbortController();
    const lease = runner.start(someLease(), () => undefined, abort.signal);
    const own = await started.promise;
    clock.advance(10_000);
    assert.deepEqual(await stray.end, [null, 'SIGKILL']);
    abort.abort();
    for (const process of own) assert.equal(process.kill('SIGTERM'), true, 'it was still running');
    await assert.rejects(lease, (error) => isKind(error, 'cancelled'));
    assert.deepEqual(
      own.map((process) => process.signalCode),
      ['SIGTERM', 'SIGTERM'],
    );
    assert.equal(clock.armed, 0);
  });

  it('removes what the lease before left, before the next one begins', async () => {
    const seen: string[][] = [];
    sandbox.run = ({ root, stdoutPath, stderrPath }) => {
      seen.push(readdirSync(folder));
      for (const path of [join(root, 'left'), stdoutPath, stderrPath]) writeFileSync(path, '');
      return Promise.resolve({ ended: 'exited', exitCode: 0, wallMs: 0, userMs: 0, systemMs: 0 });
    };
    const never = new AbortController().signal;
    for (let count = 0; count < 2; count++) {
      const { response } = await runner.start(someLease(), () => undefined, never);
      assert.equal(response.result?.exitCode, 0);
    }
    assert.deepEqual(seen, [['0'], ['1']]);
  });

  it('reports a lease that it has no place for as its own fault', async () => {
    rmSync(folder, { recursive: true });
    writeFileSync(folder, 'in the way');
    const { response, isWorkerFault } = await runner.start(someLease(), () => undefined, new AbortController().signal);
    assert.equal(response.result, undefined);
    assert.equal(isWorkerFault, true);
  });

  it('leaves no process of its leases behind when it is closed', async () => {
    const stray = await leaveStray();
    await runner.close();
    assert.deepEqual(await stray.end, [null, 'SIGKILL']);
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
