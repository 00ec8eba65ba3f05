import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { digestToWire } from '../../src/digest/digest.ts';
import { digestOf } from '../../src/digest/hasher.ts';
import {
  Action,
  BatchUpdateBlobsRequest,
  Command,
  ContentAddressableStorageDefinition,
  type Digest,
  Directory,
  ExecuteOperationMetadata,
  ExecuteRequest,
  ExecuteResponse,
  ExecutionDefinition,
  ExecutionStage_Value,
  RequestMetadata,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Operation } from '../../src/gen/google/longrunning/operations.ts';
import { type ClientMethod, connect, type RpcClient, type ServiceName } from '../../src/rpc/client.ts';

/** Longer than any action of these tests takes on a busy machine. */
const CALL_TIMEOUT_MS = 60_000;

/** Values by name; a name with several values is asked for with each. */
export type Properties = Readonly<Record<string, string | readonly string[]>>;

/** What an action asks for beside its script. */
export interface ActionOptions {
  readonly properties?: Properties;
  /** Lower runs sooner. */
  readonly priority?: number;
  /** The run of a build tool that it belongs to. */
  readonly invocation?: string;
}

/** A build tool of the test's own: its actions are shell scripts. */
export class RemoteActions {
  readonly #client: RpcClient;

  constructor(address: string) {
    this.#client = connect(address);
  }

  /** Stores an action unlike any before, and asks for it. */
  async start(script: string, options: ActionOptions = {}): Promise<Execution> {
    return this.execute(await this.store(script, options), options);
  }

  /** The worker that ran it: its node, without the number of the slot. */
  async workerOf(script: string, options: ActionOptions = {}): Promise<string> {
    return (await this.start(script, options)).worker();
  }

  /** Asks for an action that is stored. */
  execute(actionDigest: Digest, options: ActionOptions = {}): Execution {
    const { priority = 0, invocation = '' } = options;
    const request = ExecuteRequest.fromPartial({ actionDigest, executionPolicy: { priority }, inlineStdout: true });
    const metadata = RequestMetadata.fromPartial({ toolInvocationId: invocation });
    const header = 'build.bazel.remote.execution.v2.requestmetadata-bin';
    const stream = this.#client.serverStream(ExecutionDefinition, ExecutionDefinition.methods.execute, request, {
      ...limits(),
      metadata: { [header]: Buffer.from(RequestMetadata.encode(metadata).finish()) },
    });
    return new Execution(actionDigest, stream);
  }

  /** Stores an action with all that belongs to it. */
  async store(script: string, { properties = {} }: ActionOptions = {}): Promise<Digest> {
    const platform = { properties: propertyList(properties) };
    const command = blobOf(
      Command.encode(Command.fromPartial({ arguments: ['/bin/sh', '-c', script], platform })).finish(),
    );
    const root = blobOf(Directory.encode(Directory.fromPartial({})).finish());
    const digests = { commandDigest: command.digest, inputRootDigest: root.digest };
    const salt = Buffer.from(randomUUID());
    const action = blobOf(Action.encode(Action.fromPartial({ ...digests, platform, salt })).finish());
    const request = BatchUpdateBlobsRequest.fromPartial({ requests: [command, root, action] });
    const { methods } = ContentAddressableStorageDefinition;
    const { responses } = await this.call(ContentAddressableStorageDefinition, methods.batchUpdateBlobs, request);
    for (const { status } of responses) assert.equal(status?.code ?? 0, 0, status?.message);
    return action.digest;
  }

  /** Any other call. */
  async call<Req, Res>(service: ServiceName, method: ClientMethod<Req, Res>, request: Req): Promise<Res> {
    return await this.#client.unary(service, method, request, limits());
  }

  /** Any other stream. */
  stream<Req, Res>(service: ServiceName, method: ClientMethod<Req, Res>, request: Req): AsyncIterable<Res> {
    return this.#client.serverStream(service, method, request, limits());
  }

  close(): void {
    this.#client.close();
  }
}

/** One Execute call, followed from its beginning. */
export class Execution {
  readonly digest: Digest;
  readonly #seen: Operation[] = [];
  readonly #end: Promise<void>;
  #changed = Promise.withResolvers<void>();

  constructor(digest: Digest, stream: AsyncIterable<Operation>) {
    this.digest = digest;
    this.#end = this.#follow(stream);
    // Whoever waits for something sees the failure; nobody has to.
    this.#end.catch(() => undefined);
  }

  /** The action as commands for operators take it. */
  get action(): string {
    return `${this.digest.hash}/${this.digest.sizeBytes}`;
  }

  /** The operation's name. */
  async name(): Promise<string> {
    return (await this.#operation(() => true)).name;
  }

  /** Resolves when the action waits for a worker. */
  async queued(): Promise<this> {
    await this.#operation((operation) => stageOf(operation) === ExecutionStage_Value.QUEUED);
    return this;
  }

  /** Resolves when a worker has the action. */
  async executing(): Promise<this> {
    await this.#operation((operation) => stageOf(operation) === ExecutionStage_Value.EXECUTING);
    return this;
  }

  /** How it ended. @throws if the stream breaks off. */
  async response(): Promise<ExecuteResponse> {
    const { result } = await this.#operation(({ done }) => done);
    assert.equal(result?.$case, 'response', 'an operation ends with a response');
    return ExecuteResponse.decode(result.value.value);
  }

  /** The worker that ran it well: its node, without the number of the slot. */
  async worker(): Promise<string> {
    const { result, status } = await this.response();
    assert.equal(status?.code ?? 0, 0, status?.message);
    assert.equal(result?.exitCode, 0);
    return (result?.executionMetadata?.worker ?? '').replace(/\/\d+$/, '');
  }

  /** The first operation message that fits. */
  async #operation(fits: (operation: Operation) => boolean): Promise<Operation> {
    for (;;) {
      const found = this.#seen.find(fits);
      if (found !== undefined) return found;
      const changed = this.#changed.promise;
      const isOver = await Promise.race([changed, this.#end.then(() => true)]);
      const last = this.#seen.find(fits);
      if (last !== undefined) return last;
      if (isOver === true)
        throw new Error(`the stream ended before; the last operation was ${text(this.#seen.at(-1))}`);
    }
  }

  async #follow(stream: AsyncIterable<Operation>): Promise<void> {
    for await (const operation of stream) {
      this.#seen.push(operation);
      this.#changed.resolve();
      this.#changed = Promise.withResolvers<void>();
    }
  }
}

/** Properties as messages have them. */
export function propertyList(properties: Properties): { readonly name: string; readonly value: string }[] {
  return Object.entries(properties)
    .flatMap(([name, values]) => [values].flat().map((value) => ({ name, value })))
    .toSorted((a, b) => (`${a.name}=${a.value}` < `${b.name}=${b.value}` ? -1 : 1));
}

function limits(): { readonly signal: AbortSignal; readonly timeoutMs: number } {
  return { signal: new AbortController().signal, timeoutMs: CALL_TIMEOUT_MS };
}

function stageOf({ metadata }: Operation): ExecutionStage_Value {
  return ExecuteOperationMetadata.decode(metadata?.value ?? new Uint8Array()).stage;
}

function text(operation: Operation | undefined): string {
  return operation === undefined ? 'none' : `${operation.name}, stage ${stageOf(operation)}`;
}

function blobOf(data: Uint8Array): { readonly digest: Digest; readonly data: Uint8Array } {
  return { digest: digestToWire(digestOf('sha256', data)), data };
}
