import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { MemoryWorkerStore } from '../../test/support/memory-worker-store.ts';
import { QuickClock } from '../../test/support/quick-clock.ts';
import { type Digest, digestToWire, emptyDigest } from '../digest/digest.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { isKind, ReapiError } from '../errors.ts';
import { Action, Command, Directory } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { POSIXResourceUsage } from '../gen/pkg/proto/resourceusage/resourceusage.ts';
import { type Clock, SystemClock } from '../system/clock.ts';
import { diskFailure } from './exhaustion.ts';
import { DirectoryCache } from './inputs/directory-cache.ts';
import { FileCache } from './inputs/file-cache.ts';
import { FileFetcher } from './inputs/file-fetcher.ts';
import { InputRoots } from './inputs/input-root.ts';
import { LinuxProbe } from './machine-probe.ts';
import { Uploader } from './outputs/upload.ts';
import { ProcessSandbox } from './process-sandbox.ts';
import { type Lease, type LeaseOptions, type LeaseOutcome, type LeaseTools, runLease } from './run-lease.ts';
import type { Sandbox } from './sandbox.ts';
import { WORKER_DEFAULTS } from './start-worker.ts';
import { millisecondsOf } from './wire-time.ts';

describe('runLease', () => {
  let folder: string;
  let store: MemoryWorkerStore;
  let sandbox: ProcessSandbox;
  let failures: unknown[];
  const never = new AbortController().signal;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'run-lease-'));
    store = new MemoryWorkerStore();
    sandbox = new ProcessSandbox(new SystemClock(), new LinuxProbe());
    failures = [];
  });
  afterEach(async () => {
    await sandbox.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const options: LeaseOptions = { ...WORKER_DEFAULTS, worker: 'node/0' };

  function tools(clock: Clock = new SystemClock(), inner: Sandbox = sandbox): LeaseTools {
    const cache = new FileCache(join(folder, 'cache'), { maxBytes: 1e6, maxEntries: 100 });
    const fetcher = new FileFetcher(cache, { maxTransfers: 4 });
    const directories = new DirectoryCache({ maxBytes: 1e6, maxEntries: 100 });
    return {
      clock,
      sandbox: inner,
      inputRoots: new InputRoots(directories, cache, fetcher, WORKER_DEFAULTS.inputs),
      uploader: new Uploader({ maxTransfers: 4 }),
      storeFor: () => store,
      statusOf: (error) => {
        failures.push(error);
        return { code: 99, message: error instanceof Error ? error.message : '', details: [] };
      },
    };
  }

  function lease(command: Parameters<typeof Command.fromPartial>[0], root?: Digest, timeoutMs?: number): Lease {
    const commandDigest = store.seed(Command.encode(Command.fromPartial(command)).finish());
    const action = Action.fromPartial({
      commandDigest: digestToWire(commandDigest),
      inputRootDigest: digestToWire(root ?? emptyDigest('sha256')),
      ...(timeoutMs === undefined ? {} : { timeout: { seconds: 0n, nanos: timeoutMs * 1e6 } }),
    });
    const key = { instance: parseInstanceName(''), action: store.seed(Action.encode(action).finish()) };
    return {
      key,
      action,
      queued: { seconds: 5n, nanos: 0 },
      auxiliaryMetadata: [{ typeUrl: 'x/y', value: new Uint8Array(1) }],
    };
  }

  function run(what: Lease, with_ = tools(), signal = never): Promise<LeaseOutcome> {
    return runLease(what, with_, options, {
      folder: join(folder, 'lease'),
      makeReady: () => Promise.resolve(),
      onStage: () => undefined,
      signal,
    });
  }

  it('runs a command over its inputs and uploads what it made', async () => {
    const input = store.seed('hello');
    const root = store.seed(
      Directory.encode(Directory.fromPartial({ files: [{ name: 'in', digest: digestToWire(input) }] })).finish(),
    );
    const script = 'cat in > out/dir/copy; echo said; echo warned >&2; exit 3';
    const { response } = await run(
      lease(
        {
          arguments: ['/bin/sh', '-c', script],
          outputPaths: ['out/dir/copy'],
          environmentVariables: [{ name: 'PATH', value: '/bin:/usr/bin' }],
        },
        root,
      ),
    );
    assert.deepEqual(failures, []);
    const result = response.result;
    assert.ok(result);
    assert.equal(result.exitCode, 3, 'a non-zero exit is no error (R-EX-22)');
    assert.equal(response.status?.code, 0);
    assert.deepEqual(
      result.outputFiles.map((file) => [file.path, file.digest?.hash]),
      [['out/dir/copy', input.hash]],
    );
    const text = (hash: string | undefined, size: number): string =>
      store.text({ function: 'sha256', hash: hash ?? '', sizeBytes: size });
    assert.equal(text(result.stdoutDigest?.hash, 5), 'said\n');
    assert.equal(text(result.stderrDigest?.hash, 7), 'warned\n');
  });

  it('sets all timestamps in their order, the duration and the resource usage (R-EX-50, R-EX-52, R-EX-54)', async () => {
    const { response } = await run(lease({ arguments: ['/bin/true'] }));
    const metadata = response.result?.executionMetadata;
    assert.ok(metadata);
    assert.equal(metadata.worker, 'node/0');
    const times = [
      metadata.queuedTimestamp,
      metadata.workerStartTimestamp,
      metadata.inputFetchStartTimestamp,
      metadata.inputFetchCompletedTimestamp,
      metadata.executionStartTimestamp,
      metadata.executionCompletedTimestamp,
      metadata.outputUploadStartTimestamp,
      metadata.outputUploadCompletedTimestamp,
      metadata.workerCompletedTimestamp,
    ].map((time) => (time === undefined ? Number.NaN : millisecondsOf(time)));
    assert.equal(times[0], 5000);
    assert.deepEqual(
      times,
      times.toSorted((a, b) => a - b),
    );
    assert.ok(metadata.virtualExecutionDuration);
    assert.equal(metadata.auxiliaryMetadata[0]?.typeUrl, 'x/y', 'unknown messages are kept (R-EX-53)');
    assert.equal(
      metadata.auxiliaryMetadata[1]?.typeUrl,
      'type.googleapis.com/buildbarn.resourceusage.POSIXResourceUsage',
    );
    assert.ok(POSIXResourceUsage.decode(metadata.auxiliaryMetadata[1].value).userTime);
  });

  it('leaves the digests of empty stdout and stderr unset (R-BW-10, R-CM-32)', async () => {
    const { response } = await run(lease({ arguments: ['/bin/true'] }));
    assert.equal(response.result?.stdoutDigest, undefined);
    assert.equal(response.result?.stderrDigest, undefined);
  });

  it('returns what a timed-out command had written, with a failure beside it (R-EX-21, R-CM-33)', async () => {
    const script = 'echo partial; echo x > out; sleep 1000';
    const { response, isWorkerFault } = await run(
      lease({ arguments: ['/bin/sh', '-c', script], outputPaths: ['out'] }, undefined, 300),
    );
    assert.ok(isKind(failures[0], 'timed-out'));
    assert.equal(isWorkerFault, false);
    assert.equal(response.result?.outputFiles.length, 1);
    assert.equal(response.result.stdoutDigest?.sizeBytes, 8n);
  });

  it('reports a timeout as that, whatever the command left half-done (R-EX-21)', async () => {
    const script = 'echo partial; mkdir out; mkfifo out/pipe; sleep 1000';
    const environmentVariables = [{ name: 'PATH', value: '/bin:/usr/bin' }];
    const command = { arguments: ['/bin/sh', '-c', script], outputPaths: ['out'], environmentVariables };
    const { response, isWorkerFault } = await run(lease(command, undefined, 300));
    assert.ok(isKind(failures[0], 'timed-out'), String(failures[0]));
    assert.equal(isWorkerFault, false);
    assert.deepEqual(response.result?.outputDirectories, []);
    assert.equal(response.result.stdoutDigest?.sizeBytes, 8n);
  });

  it('names all missing blobs at once, and that is not the fault of the worker (R-EX-43)', async () => {
    const absent = ['a', 'b'].map((name) => ({ name, digest: { hash: name.repeat(64), sizeBytes: 3n } }));
    const root = store.seed(Directory.encode(Directory.fromPartial({ files: absent })).finish());
    const { isWorkerFault } = await run(lease({ arguments: ['/bin/true'] }, root));
    const [error] = failures;
    assert.ok(isKind(error, 'missing-inputs'));
    assert.deepEqual(error.facts.missing?.map((digest) => digest.hash[0]).sort(), ['a', 'b']);
    assert.equal(isWorkerFault, false);
  });

  it('names a missing Command the same way', async () => {
    const what = lease({ arguments: ['/bin/true'] });
    for (const key of store.blobs.keys()) store.blobs.delete(key);
    await run(what);
    assert.ok(isKind(failures[0], 'missing-inputs'));
  });

  for (const [title, command] of Object.entries({
    'no arguments (R-CM-13)': { arguments: [] },
    'an unknown program (R-CM-13)': { arguments: ['no-such-program'] },
    'a working directory that is not in the tree (R-CM-07)': { arguments: ['/bin/true'], workingDirectory: 'absent' },
    'a working directory that is a file (R-CM-07)': { arguments: ['/bin/true'], workingDirectory: 'file' },
    'a working directory above the root': { arguments: ['/bin/true'], workingDirectory: '../..' },
    'an output above the root (R-CM-03)': { arguments: ['/bin/true'], outputPaths: ['../x'] },
    'an unknown node property (R-CM-06)': { arguments: ['/bin/true'], outputNodeProperties: ['colour'] },
    'NUL in an argument': { arguments: ['/bin/true', 'a\0b'] },
  })) {
    it(`refuses ${title} with invalid-argument`, async () => {
      const files = [{ name: 'file', digest: digestToWire(store.seed('x')) }];
      const root = store.seed(Directory.encode(Directory.fromPartial({ files })).finish());
      const { response, isWorkerFault } = await run(lease(command, root));
      assert.ok(isKind(failures[0], 'invalid-argument'), String(failures[0]));
      assert.equal(isWorkerFault, false);
      assert.equal(response.result, undefined);
    });
  }

  it('reports a broken sandbox as its own fault, never as an exit code', async () => {
    const broken: Sandbox = {
      run: () => Promise.reject(new ReapiError('unavailable', 'broken')),
      close: () => Promise.resolve(),
    };
    const { response, isWorkerFault } = await run(lease({ arguments: ['/bin/true'] }), tools(undefined, broken));
    assert.equal(response.result, undefined);
    assert.equal(isWorkerFault, true);
  });

  for (const ended of ['out-of-memory', 'disk-full'] as const) {
    it(`reports ${ended} as RESOURCE_EXHAUSTED without a result: never as an exit code of the action`, async () => {
      const small: Sandbox = {
        run: async (job, signal) => ({ ...(await sandbox.run(job, signal)), ended, exitCode: 137 }),
        close: () => Promise.resolve(),
      };
      const { response, isWorkerFault, isExhausted } = await run(
        lease({ arguments: ['/bin/sh', '-c', 'echo made > out; exit 1'], outputPaths: ['out'] }),
        tools(undefined, small),
      );
      assert.deepEqual({ isWorkerFault, isExhausted }, { isWorkerFault: false, isExhausted: true });
      assert.equal(response.result, undefined);
      const [error] = failures;
      assert.ok(isKind(error, 'quota-exceeded'));
      assert.match(error.message, /exit code 137/);
      assert.equal(store.calls.includes('writeAll'), false, 'nothing is uploaded');
    });
  }

  it('reports a disk that is full while inputs are fetched as exhausted, other faults of it as its own', async () => {
    const outcomes: unknown[] = [];
    for (const code of ['ENOSPC', 'EIO']) {
      store.before = () => Promise.reject(diskFailure('no', Object.assign(new Error(code), { code })));
      const { isWorkerFault, isExhausted } = await run(lease({ arguments: ['/bin/true'] }));
      outcomes.push({ code, isWorkerFault, isExhausted });
    }
    assert.deepEqual(outcomes, [
      { code: 'ENOSPC', isWorkerFault: false, isExhausted: true },
      { code: 'EIO', isWorkerFault: true, isExhausted: false },
    ]);
  });

  it('takes a CAS that is full for no exhaustion of its machine', async () => {
    store.before = (call) =>
      call === 'findMissing' ? Promise.reject(new ReapiError('quota-exceeded', 'full')) : Promise.resolve();
    const { isWorkerFault, isExhausted } = await run(lease({ arguments: ['/bin/echo', 'x'] }));
    assert.deepEqual({ isWorkerFault, isExhausted }, { isWorkerFault: true, isExhausted: false });
  });

  it('gives up a fetch that hangs, as a fault of the worker (T-30)', async () => {
    const clock = new FakeClock();
    const fetching = Promise.withResolvers<void>();
    store.before = (_call, signal) => {
      fetching.resolve();
      return new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(new ReapiError('cancelled', 'stop'))),
      );
    };
    const pending = run(lease({ arguments: ['/bin/true'] }), tools(clock));
    await fetching.promise;
    clock.advance(options.fetchTimeoutMs);
    assert.equal((await pending).isWorkerFault, true);
    assert.ok(isKind(failures[0], 'unavailable'));
    assert.equal(clock.armed, 0);
  });

  /** Runs it while the server is away for so many attempts at that call, which come a second after another. */
  function runWhileAway(what: Lease, call: string, attempts: number): Promise<LeaseOutcome> {
    let away = attempts;
    store.before = (name) => {
      if (name !== call || away === 0) return Promise.resolve();
      away--;
      return Promise.reject(new ReapiError('unavailable', 'restarting'));
    };
    return run(what, tools(new QuickClock()));
  }

  for (const call of ['readAll', 'open']) {
    it(`waits for a server that is started again while ${call} fetches inputs, making nothing twice`, async () => {
      const sub = store.seed(
        Directory.encode(
          Directory.fromPartial({ files: [{ name: 'large', digest: digestToWire(store.seed('L'.repeat(3000))) }] }),
        ).finish(),
      );
      const root = store.seed(
        Directory.encode(
          Directory.fromPartial({
            files: [{ name: 'in', digest: digestToWire(store.seed('hello')) }],
            directories: [{ name: 'sub', digest: digestToWire(sub) }],
            symlinks: [{ name: 'link', target: 'in' }],
          }),
        ).finish(),
      );
      const command = { arguments: ['/bin/sh', '-c', '/bin/cat link sub/large >out'], outputPaths: ['out'] };
      const { response } = await runWhileAway(lease(command, root), call, 100);
      assert.deepEqual(failures, []);
      assert.equal(response.result?.exitCode, 0);
      assert.equal(response.result.outputFiles[0]?.digest?.sizeBytes, 3005n);
    });
  }

  for (const call of ['findMissing', 'writeAll']) {
    it(`keeps the outputs for two minutes and more while ${call} finds no server`, async () => {
      const command = { arguments: ['/bin/sh', '-c', 'echo made > out'], outputPaths: ['out'] };
      const { response } = await runWhileAway(lease(command), call, 130);
      assert.deepEqual(failures, []);
      assert.equal(store.text({ function: 'sha256', ...sizedOf(response) }), 'made\n');
    });
  }

  it('gives up in the end when the server stays away, as a fault of the worker', async () => {
    const { isWorkerFault, isExhausted } = await runWhileAway(
      lease({ arguments: ['/bin/echo', 'x'] }),
      'writeAll',
      999,
    );
    assert.deepEqual({ isWorkerFault, isExhausted }, { isWorkerFault: true, isExhausted: false });
    assert.ok(isKind(failures[0], 'unavailable'));
  });

  function sizedOf(response: LeaseOutcome['response']): { hash: string; sizeBytes: number } {
    const digest = response.result?.outputFiles[0]?.digest;
    return { hash: digest?.hash ?? '', sizeBytes: Number(digest?.sizeBytes) };
  }

  it('keeps the outputs of a command while the server is away for a moment', async () => {
    const clock = new FakeClock();
    let isAway = true;
    const asked = Promise.withResolvers<void>();
    store.before = (call) => {
      if (call !== 'findMissing' || !isAway) return Promise.resolve();
      asked.resolve();
      return Promise.reject(new ReapiError('unavailable', 'restarting'));
    };
    const pending = run(lease({ arguments: ['/bin/sh', '-c', 'echo made > out'], outputPaths: ['out'] }), tools(clock));
    await asked.promise;
    isAway = false;
    while (clock.armed < 2) await nextTurn();
    clock.advance(1000);
    const { response } = await pending;
    assert.deepEqual(failures, []);
    assert.equal(response.result?.outputFiles.length, 1);
    assert.equal(clock.armed, 0);
  });

  it('stops at once when it is cancelled, killing the command', async () => {
    const abort = new AbortController();
    const stages: string[] = [];
    const pending = runLease(lease({ arguments: ['/bin/sleep', '1000'] }), tools(), options, {
      folder: join(folder, 'lease'),
      makeReady: () => Promise.resolve(),
      onStage: (stage) => {
        stages.push(stage);
        if (stage === 'running') abort.abort();
      },
      signal: abort.signal,
    });
    await assert.rejects(pending, (error) => isKind(error, 'cancelled'));
    assert.deepEqual(stages, ['fetching', 'running']);
    assert.deepEqual(failures, []);
  });

  it('keeps its cached inputs from being changed for later actions (R-CM-12, T-21)', async () => {
    const input = store.seed('original');
    const root = store.seed(
      Directory.encode(Directory.fromPartial({ files: [{ name: 'in', digest: digestToWire(input) }] })).finish(),
    );
    const shared = tools();
    // As root the mode bits do not hold the write back; then the changed file must be dropped from the cache.
    await run(lease({ arguments: ['/bin/sh', '-c', 'echo changed > in; exit 0'] }, root), shared);
    rmSync(join(folder, 'lease'), { recursive: true });
    const { response } = await run(lease({ arguments: ['/bin/cat', 'in'] }, root), shared);
    assert.equal(response.result?.stdoutDigest?.hash, input.hash);
    assert.ok(existsSync(join(folder, 'lease', 'root', 'in')));
  });
});
