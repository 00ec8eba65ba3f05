import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Blob } from '../../conformance/blobs.ts';
import { type ErrorKind, isKind } from '../../src/errors.ts';
import {
  BatchUpdateBlobsRequest,
  ContentAddressableStorageDefinition as Cas,
  type Digest,
  ExecuteRequest,
  ExecuteResponse,
  ExecutionDefinition,
  FindMissingBlobsRequest,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Operation } from '../../src/gen/google/longrunning/operations.ts';
import { CONNECT_DEFAULTS, connect, type RpcClient } from '../../src/rpc/client.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import type { ChaosAction } from './chaos-action.ts';

/** How an execution ended for its client. */
export interface Ended {
  /** Of the operation that told the end. */
  readonly operation: string;
  readonly response: ExecuteResponse;
  /** Calls of Execute, and of WaitExecution, that it took. */
  readonly executes: number;
  readonly waits: number;
}

/** What a build tool takes for trouble on the way, and tries again. */
export const TRANSIENT: readonly ErrorKind[] = ['unavailable', 'cancelled', 'internal'];

/** Connections that come back soon. */
export const IMPATIENT = { ...CONNECT_DEFAULTS, maxReconnectBackoffMs: 300 };

/** Longest pause before trying again. */
const MAX_PAUSE_MS = 400;

/** Longest that an execution may take: beyond it something hangs. */
const PATIENCE_MS = 80_000;

/** Asks for actions as Bazel does: Execute, WaitExecution if the stream breaks, Execute again if the operation is gone. */
export class BuildClient {
  readonly #rpc: RpcClient;
  readonly #random: SeededRandom;

  constructor(address: string, seed: number) {
    this.#rpc = connect(address, IMPATIENT);
    this.#random = new SeededRandom(seed);
  }

  close(): void {
    this.#rpc.close();
  }

  /** Uploads what the action needs and executes it. @throws AssertionError if that takes for ever; what is no transient failure. */
  async build(action: ChaosAction): Promise<Ended> {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    await this.#patiently(action.plan.name, signal, () => this.#upload(action.blobs, signal));
    return await this.execute(action, signal);
  }

  /** Executes what is stored already. */
  async execute(action: ChaosAction, signal = AbortSignal.timeout(PATIENCE_MS)): Promise<Ended> {
    const calls = { executes: 0, waits: 0 };
    let name: string | undefined;
    const attempt = async (): Promise<Ended | undefined> => {
      if (name === undefined) calls.executes++;
      else calls.waits++;
      const stream = name === undefined ? this.#execute(action.digest, signal) : this.#wait(name, signal);
      try {
        for await (const operation of stream) {
          name = operation.name;
          if (operation.done) return { operation: name, response: responseOf(operation), ...calls };
        }
      } catch (error) {
        if (name === undefined || !isKind(error, 'not-found')) throw error;
        name = undefined;
      }
      return undefined;
    };
    for (;;) {
      const ended = await this.#patiently(action.plan.name, signal, attempt);
      if (ended !== undefined) return ended;
      await this.#pause();
    }
  }

  /** The response of a finished operation; undefined if the server does not know it. */
  async finished(operation: string): Promise<ExecuteResponse | undefined> {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    return await this.#patiently(operation, signal, async () => {
      try {
        for await (const answer of this.#wait(operation, signal)) return responseOf(answer);
      } catch (error) {
        if (isKind(error, 'not-found')) return undefined;
        throw error;
      }
      return assert.fail(`WaitExecution of ${operation} ended without an answer`);
    });
  }

  /** Of these, what the server lacks. */
  async missing(digests: readonly Digest[]): Promise<readonly Digest[]> {
    const request = FindMissingBlobsRequest.fromPartial({ blobDigests: [...digests] });
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const { findMissingBlobs } = Cas.methods;
    return await this.#patiently('FindMissingBlobs', signal, async () => {
      return (await this.#rpc.unary(Cas, findMissingBlobs, request, { signal })).missingBlobDigests;
    });
  }

  #execute(actionDigest: Digest, signal: AbortSignal): AsyncIterable<Operation> {
    const request = ExecuteRequest.fromPartial({ actionDigest, inlineStdout: true, inlineStderr: true });
    return this.#rpc.serverStream(ExecutionDefinition, ExecutionDefinition.methods.execute, request, { signal });
  }

  #wait(name: string, signal: AbortSignal): AsyncIterable<Operation> {
    return this.#rpc.serverStream(ExecutionDefinition, ExecutionDefinition.methods.waitExecution, { name }, { signal });
  }

  async #upload(blobs: readonly Blob[], signal: AbortSignal): Promise<void> {
    const requests = blobs.map(({ bytes, digest }) => ({ digest, data: bytes }));
    const { responses } = await this.#rpc.unary(
      Cas,
      Cas.methods.batchUpdateBlobs,
      BatchUpdateBlobsRequest.fromPartial({ requests }),
      { signal },
    );
    for (const { status } of responses) assert.equal(status?.code ?? 0, 0, `storing a blob: ${status?.message}`);
  }

  /** Repeats what fails for a passing reason. */
  async #patiently<T>(what: string, signal: AbortSignal, attempt: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        assert.ok(!signal.aborted, `${what} did not end within ${PATIENCE_MS} ms: ${String(error)}`);
        if (!isTransient(error)) throw error;
      }
      await this.#pause();
    }
  }

  async #pause(): Promise<void> {
    await delay(this.#random.between(10, MAX_PAUSE_MS));
  }
}

function isTransient(error: unknown): boolean {
  return TRANSIENT.some((kind) => isKind(error, kind));
}

function responseOf(operation: Operation): ExecuteResponse {
  assert.equal(operation.result?.$case, 'response', 'Operation.error must never be set');
  return ExecuteResponse.decode(operation.result.value.value);
}
