import { type Blob, blobOf, EMPTY_BLOB } from '../conformance/blobs.ts';
import {
  Action,
  BatchUpdateBlobsRequest,
  ContentAddressableStorageDefinition as Cas,
  Command,
  ExecuteRequest,
  ExecuteResponse,
  ExecutionDefinition,
  FindMissingBlobsRequest,
} from '../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { connect, type RpcClient } from '../src/rpc/client.ts';
import { SystemClock } from '../src/system/clock.ts';
import { SystemRandom } from '../src/system/random.ts';

const NEVER = new AbortController().signal;

interface NoOp {
  readonly action: Blob;
  readonly command: Blob;
}

/** Asks a server for actions that run `/bin/true` and that nobody has asked for before, each as a build tool does. */
export class NoOpClient {
  readonly #rpc: RpcClient;
  readonly #clock = new SystemClock();
  /** Begins what makes actions differ, also from those of other runs. */
  readonly #run = new SystemRandom().token(8);
  #made = 0;

  constructor(address: string) {
    this.#rpc = connect(address);
  }

  /** @returns for each action how long Execute took, in ms. @throws if one does not end well, or came from the cache. */
  async run(actions: number, inFlight: number): Promise<number[]> {
    const took: number[] = [];
    let left = actions;
    const lane = async (): Promise<void> => {
      while (left-- > 0) {
        const { action, command } = this.#next();
        await this.#upload([action, command, EMPTY_BLOB]);
        const startMs = this.#clock.monotonicMs();
        await this.#execute(action);
        took.push(this.#clock.monotonicMs() - startMs);
      }
    };
    await Promise.all(Array.from({ length: inFlight }, lane));
    return took;
  }

  close(): void {
    this.#rpc.close();
  }

  #next(): NoOp {
    const name = `${this.#run}-${this.#made++}`;
    const command = blobOf(Command.encode(Command.fromPartial({ arguments: ['/bin/true', name] })).finish());
    const roots = { commandDigest: command.digest, inputRootDigest: EMPTY_BLOB.digest };
    return { action: blobOf(Action.encode(Action.fromPartial(roots)).finish()), command };
  }

  async #upload(blobs: readonly Blob[]): Promise<void> {
    const { findMissingBlobs, batchUpdateBlobs } = Cas.methods;
    const question = FindMissingBlobsRequest.fromPartial({ blobDigests: blobs.map(({ digest }) => digest) });
    const { missingBlobDigests } = await this.#rpc.unary(Cas, findMissingBlobs, question, { signal: NEVER });
    const missing = new Set(missingBlobDigests.map(({ hash }) => hash));
    const requests = blobs
      .filter(({ digest }) => missing.has(digest.hash))
      .map(({ digest, bytes }) => ({ digest, data: bytes }));
    const request = BatchUpdateBlobsRequest.fromPartial({ requests });
    const { responses } = await this.#rpc.unary(Cas, batchUpdateBlobs, request, { signal: NEVER });
    for (const { status } of responses) if (status?.code) throw new Error(`storing a blob: ${status.message}`);
  }

  async #execute({ digest }: Blob): Promise<void> {
    const request = ExecuteRequest.fromPartial({ actionDigest: digest });
    const { execute } = ExecutionDefinition.methods;
    let isDone = false;
    for await (const operation of this.#rpc.serverStream(ExecutionDefinition, execute, request, { signal: NEVER })) {
      if (!operation.done) continue;
      if (operation.result?.$case !== 'response') throw new Error('an operation ended without a response');
      const { status, result, cachedResult } = ExecuteResponse.decode(operation.result.value.value);
      if (status?.code || result?.exitCode !== 0) throw new Error(`an action failed: ${status?.message}`);
      if (cachedResult) throw new Error('an action was not executed');
      // Read on: leaving a stream before its end resets it, and HTTP/2 servers end connections with too many resets.
      isDone = true;
    }
    if (!isDone) throw new Error('Execute ended before its operation');
  }
}
