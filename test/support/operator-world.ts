import type { MissQuery } from '../../src/action-cache/misses/miss-report.ts';
import { adminMethods } from '../../src/admin/admin-service.ts';
import { OpenAuthorizer } from '../../src/auth/authorizer.ts';
import { runCli } from '../../src/bin/cli.ts';
import { BlobBytes } from '../../src/cas/blob-bytes.ts';
import { casMethods } from '../../src/cas/cas-service.ts';
import { MemoryBlobStore } from '../../src/cas/memory-blob-store.ts';
import { Uploads } from '../../src/cas/uploads.ts';
import type { OpenLocalStore } from '../../src/compose/operator/offline-store.ts';
import type { OpenBucket } from '../../src/compose/operator/open-bucket.ts';
import type { OpenS3Probe } from '../../src/compose/operator/s3-doctor-probe.ts';
import { actionKeyText } from '../../src/digest/action-key.ts';
import { type Digest, digestFromWire } from '../../src/digest/digest.ts';
import { digestOf } from '../../src/digest/hasher.ts';
import { InstanceNames, parseInstanceName } from '../../src/digest/instance-name.ts';
import { ReapiError } from '../../src/errors.ts';
import {
  ActionCacheDefinition,
  GetActionResultRequest,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { byteStreamMethods } from '../../src/rpc/byte-stream-service.ts';
import { type Method, methodPath } from '../../src/rpc/methods.ts';
import { noAbort } from './expectations.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeStoreControl } from './fake-store-control.ts';
import { startTestServer, type TestServer } from './test-server.ts';

/** What a run of the program came to. */
export interface CliRun {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** What a test changes about the process around the program. */
export interface CliProcess {
  readonly isTerminal?: { readonly out: boolean; readonly err: boolean };
  readonly openLocalStore?: OpenLocalStore;
  readonly openBucket?: OpenBucket;
  readonly openS3Probe?: OpenS3Probe;
  readonly environment?: Readonly<Record<string, string>>;
  /** Is told of what is written to standard error. */
  readonly onErr?: (text: string) => void;
  /** Takes the handler of signals. */
  readonly onStopSignal?: (handler: () => void) => void;
  /** Chunks of standard output after which its reader goes away. */
  readonly chunksRead?: number;
}

const MIB = 1024 * 1024;

/** A server with what operator commands talk to, and the program to run against it. */
export class OperatorWorld {
  readonly blobs = new MemoryBlobStore({ maxBytes: 64 * MIB });
  readonly control = new FakeStoreControl();
  /** Encoded results by `actionKeyText`. */
  readonly results = new Map<string, Uint8Array>();
  /** What was to be explained. */
  readonly explained: MissQuery[] = [];
  #server: TestServer | undefined;

  /** @param options.hasAdmin false: a REAPI server of others. */
  async start(options: { readonly hasAdmin?: boolean } = {}): Promise<void> {
    const standard = [...this.#storage(), this.#actionCache()];
    this.#server = await startTestServer(options.hasAdmin === false ? standard : [...standard, ...this.#admin()]);
  }

  async stop(): Promise<void> {
    await this.#server?.close();
  }

  /** Where the server listens. */
  get address(): string {
    return `127.0.0.1:${this.#server?.port}`;
  }

  /** Stores a blob. */
  async put(bytes: Uint8Array): Promise<Digest> {
    const digest = digestOf('sha256', bytes);
    await this.blobs.putBytes(digest, bytes, noAbort());
    return digest;
  }

  /** Runs the program against the server. */
  run(...args: readonly string[]): Promise<CliRun> {
    return runProgram([...args, '--server', this.address]);
  }

  #storage(): readonly Method[] {
    const access = { authorizer: new OpenAuthorizer(), instances: new InstanceNames() };
    const uploads = new Uploads(this.blobs, new FakeClock(), { suspendedTtlMs: 1_000, maxSuspended: 0 });
    const limits = { maxBatchTotalSizeBytes: 4 * MIB, maxDigestsPerRequest: 1_000, maxMessageBytes: 4 * MIB };
    const trees = { maxTreeDirectories: 1_000, maxTreeDepth: 100, maxDirectoriesPerPage: 100 };
    return [
      ...casMethods(this.blobs, access, { ...limits, ...trees, maxBlobSizeBytes: 0 }),
      ...byteStreamMethods([new BlobBytes(this.blobs, uploads, { ...access, maxBlobSizeBytes: 0 })]),
    ];
  }

  #actionCache(): Method {
    return {
      kind: 'unary',
      path: methodPath(ActionCacheDefinition, ActionCacheDefinition.methods.getActionResult),
      handle: async (encoded) => {
        const { instanceName, actionDigest } = GetActionResultRequest.decode(encoded);
        const action = digestFromWire('sha256', actionDigest, 'action_digest');
        const result = this.results.get(actionKeyText({ instance: parseInstanceName(instanceName), action }));
        if (result === undefined) throw new ReapiError('result-not-found', 'no result');
        return result;
      },
    };
  }

  #admin(): readonly Method[] {
    return adminMethods({
      control: this.control,
      actions: { remove: async (key) => this.results.delete(actionKeyText(key)) },
      misses: {
        explain: async (query) => {
          this.explained.push(query);
          const history = { sinceMs: 5, actions: 1, maxActions: 10 };
          return { action: query.digest, instance: query.instance ?? 'main', isCached: false, history };
        },
      },
      renderMiss: ({ instance }) => `missed under ${instance}:\n  it was \x1b[1mnever\x1b[0m seen\n`,
      authorizer: new OpenAuthorizer(),
      instances: new InstanceNames(),
      clock: new FakeClock(),
    });
  }
}

/** Runs the program with arguments, in a process that a test describes. */
export async function runProgram(args: readonly string[], around: CliProcess = {}): Promise<CliRun> {
  let out = '';
  let err = '';
  let chunks = 0;
  const code = await runCli(args, {
    roles: { serve: noRole, server: noRole, worker: noRole },
    checkHealth: () => Promise.resolve(true),
    openLocalStore: around.openLocalStore ?? (() => Promise.reject(new Error('no store was asked for'))),
    openBucket: around.openBucket ?? noBucket,
    openS3Probe: around.openS3Probe ?? noBucket,
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
      around.onErr?.(text);
    },
    writeOut: async (bytes) => {
      out += Buffer.from(bytes).toString('latin1');
      chunks++;
      return chunks < (around.chunksRead ?? Number.POSITIVE_INFINITY);
    },
    isTerminal: around.isTerminal ?? { out: false, err: false },
    onStopSignal: (handler) => {
      around.onStopSignal?.(handler);
      return () => undefined;
    },
    notify: () => Promise.resolve(undefined),
    environment: around.environment ?? {},
  });
  return { code, out, err };
}

function noBucket(): never {
  throw new Error('no bucket was asked for');
}

function noRole(): Promise<never> {
  return Promise.reject(new Error('no role was asked for'));
}
