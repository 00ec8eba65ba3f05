import { type Digest, digestFromWire, digestKey, digestToWire, isEmptyBlob, sameDigest } from '../digest/digest.ts';
import { type DigestFunction, digestFunctionToWire } from '../digest/digest-function.ts';
import { createHasher, digestOf } from '../digest/hasher.ts';
import type { InstanceName } from '../digest/instance-name.ts';
import { formatBlobName, formatUploadName } from '../digest/resource-name.ts';
import { type ErrorKind, isKind, ReapiError } from '../errors.ts';
import {
  type BatchReadBlobsResponse_Response,
  Compressor_Value,
  ContentAddressableStorageDefinition,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  ByteStreamDefinition,
  type ReadRequest,
  type WriteRequest,
  type WriteResponse,
} from '../gen/google/bytestream/bytestream.ts';
import { Code } from '../gen/google/rpc/code.ts';
import type { ClientMethod, RpcClient } from '../rpc/client.ts';
import { fromWireStatus } from '../rpc/status.ts';
import { type ByteStream, collect } from '../system/byte-stream.ts';
import type { Random } from '../system/random.ts';
import { batchesOf } from './batches.ts';
import type { SmallBlob, WorkerStore } from './worker-store.ts';

const CAS = ContentAddressableStorageDefinition;

const PLAIN = Compressor_Value.IDENTITY;

/**
 * Digests in one call. About 75 bytes each, they are what flows against the blobs on a connection, and that has to fit
 * into the buffers of its socket for all calls in flight together (see bounded-client.ts).
 */
const MAX_DIGESTS_PER_CALL = 100;

/** What a batched blob costs beside its bytes: digest, status, framing; generous. */
const BATCH_OVERHEAD_BYTES = 150;

/** Bytes in one WriteRequest. */
const WRITE_CHUNK_BYTES = 64 * 1024;

/** Settings of a `RemoteStore`. */
export interface RemoteStoreOptions {
  readonly instance: InstanceName;
  readonly digestFunction: DigestFunction;
  /** Sum of the bytes in one batch call; below the peer's message limit of usually 4 MiB (T-08). */
  readonly maxBatchBytes: number;
  /** Blobs up to this size go into batches. */
  readonly maxSmallBytes: number;
  /** Longest time for a call without progress in sight; long transfers are bounded by the caller's signal. */
  readonly callTimeoutMs: number;
}

/** Connections to one storage: bulk data flows one way on each (see bounded-client.ts). */
export interface StorageClients {
  readonly reads: RpcClient;
  readonly writes: RpcClient;
}

/** The CAS of a REAPI server. */
export class RemoteStore implements WorkerStore {
  readonly #reads: RpcClient;
  readonly #writes: RpcClient;
  readonly #random: Random;
  readonly #options: RemoteStoreOptions;

  constructor(storage: StorageClients, random: Random, options: RemoteStoreOptions) {
    this.#reads = storage.reads;
    this.#writes = storage.writes;
    this.#random = random;
    this.#options = options;
  }

  get maxSmallBytes(): number {
    return this.#options.maxSmallBytes;
  }

  async findMissing(digests: readonly Digest[], signal: AbortSignal): Promise<readonly Digest[]> {
    const missing: Digest[] = [];
    for (let at = 0; at < digests.length; at += MAX_DIGESTS_PER_CALL) {
      const blobDigests = digests.slice(at, at + MAX_DIGESTS_PER_CALL).map(digestToWire);
      const request = { ...this.#address(), blobDigests };
      const response = await this.#call(this.#writes, CAS.methods.findMissingBlobs, request, signal);
      for (const wire of response.missingBlobDigests) missing.push(this.#fromWire(wire));
    }
    return missing;
  }

  async readAll(digests: readonly Digest[], signal: AbortSignal): Promise<ReadonlyMap<string, Uint8Array>> {
    const found = new Map<string, Uint8Array>();
    const small: Digest[] = [];
    for (const digest of digests) {
      if (isEmptyBlob(digest)) found.set(digestKey(digest), new Uint8Array(0));
      else if (digest.sizeBytes <= this.maxSmallBytes) small.push(digest);
      else await this.#readLarge(digest, found, signal);
    }
    const costOf = (digest: Digest): number => digest.sizeBytes + BATCH_OVERHEAD_BYTES;
    for (const batch of batchesOf(small, costOf, this.#options.maxBatchBytes, MAX_DIGESTS_PER_CALL)) {
      await this.#readBatch(batch, found, signal);
    }
    return found;
  }

  async *open(digest: Digest, signal: AbortSignal): ByteStream {
    const request = {
      resourceName: formatBlobName({ instance: this.#options.instance, digest }),
      readOffset: 0n,
      readLimit: 0n,
    };
    const hasher = createHasher(digest.function);
    let sizeBytes = 0;
    for await (const data of this.#read(request, signal)) {
      if (data.length === 0) continue;
      sizeBytes += data.length;
      if (sizeBytes > digest.sizeBytes) throw damaged(digest);
      hasher.update(data);
      yield data;
    }
    if (!sameDigest(hasher.finish(), digest)) throw damaged(digest);
  }

  async writeAll(blobs: readonly SmallBlob[], signal: AbortSignal): Promise<void> {
    const sizeOf = (blob: SmallBlob): number => blob.bytes.length + BATCH_OVERHEAD_BYTES;
    for (const batch of batchesOf(blobs, sizeOf, this.#options.maxBatchBytes, MAX_DIGESTS_PER_CALL)) {
      const requests = batch.map(({ digest, bytes }) => ({
        digest: digestToWire(digest),
        data: bytes,
        compressor: PLAIN,
      }));
      const request = { ...this.#address(), requests };
      const response = await this.#call(this.#writes, CAS.methods.batchUpdateBlobs, request, signal);
      if (response.responses.length !== batch.length) {
        throw new ReapiError('internal', 'the server answered for other blobs than were uploaded');
      }
      for (const { status } of response.responses) {
        if (status === undefined || status.code === Code.OK) continue;
        throw storageFailure(fromWireStatus(status.code, status.message), signal);
      }
    }
  }

  async write(digest: Digest, bytes: ByteStream, signal: AbortSignal): Promise<void> {
    const { instance } = this.#options;
    const resourceName = formatUploadName({ instance, digest, upload: this.#random.uuid() });
    const source: Source = { failure: undefined };
    const requests = noting(source, writeRequests(resourceName, digest, bytes));
    const method = ByteStreamDefinition.methods.write;
    let response: WriteResponse;
    try {
      response = await this.#writes.clientStream(ByteStreamDefinition, method, requests, { signal });
    } catch (error) {
      // A blob larger than the storage takes is refused for ever (R-CAS-13): an output that does not fit.
      const isOwn = error === source.failure || isKind(error, 'invalid-argument');
      throw isOwn ? error : storageFailure(error, signal);
    }
    if (response.committedSize !== BigInt(digest.sizeBytes)) {
      throw new ReapiError(
        'unavailable',
        `the server kept ${response.committedSize} of ${digest.sizeBytes} bytes of ${digestKey(digest)}`,
      );
    }
  }

  async *#read(request: ReadRequest, signal: AbortSignal): ByteStream {
    const method = ByteStreamDefinition.methods.read;
    try {
      const responses = this.#reads.serverStream(ByteStreamDefinition, method, request, { signal });
      for await (const { data } of responses) yield data;
    } catch (error) {
      throw isAbsent(error) ? error : storageFailure(error, signal);
    }
  }

  async #readLarge(digest: Digest, found: Map<string, Uint8Array>, signal: AbortSignal): Promise<void> {
    try {
      found.set(digestKey(digest), await collect(this.open(digest, signal), digest.sizeBytes));
    } catch (error) {
      if (!isAbsent(error)) throw error;
    }
  }

  async #readBatch(batch: readonly Digest[], found: Map<string, Uint8Array>, signal: AbortSignal): Promise<void> {
    const request = { ...this.#address(), digests: batch.map(digestToWire), acceptableCompressors: [] };
    const { responses } = await this.#call(this.#reads, CAS.methods.batchReadBlobs, request, signal);
    const asked = new Set(batch.map(digestKey));
    for (const response of responses) {
      const digest = this.#fromWire(response.digest);
      if (!asked.delete(digestKey(digest))) continue;
      const bytes = bytesOf(digest, response, signal);
      if (bytes !== undefined) found.set(digestKey(digest), bytes);
    }
    if (asked.size > 0) throw new ReapiError('internal', `the server left out ${asked.size} of the blobs asked for`);
  }

  #address(): { instanceName: string; digestFunction: ReturnType<typeof digestFunctionToWire> } {
    const { instance, digestFunction } = this.#options;
    return { instanceName: instance, digestFunction: digestFunctionToWire(digestFunction) };
  }

  #fromWire(wire: Parameters<typeof digestFromWire>[1]): Digest {
    try {
      return digestFromWire(this.#options.digestFunction, wire, 'digest');
    } catch (error) {
      throw new ReapiError('internal', 'the storage answered with a digest that is none', { cause: error });
    }
  }

  async #call<Req, Res>(
    client: RpcClient,
    method: ClientMethod<Req, Res>,
    request: Req,
    signal: AbortSignal,
  ): Promise<Res> {
    try {
      return await client.unary(CAS, method, request, { signal, timeoutMs: this.#options.callTimeoutMs });
    } catch (error) {
      throw storageFailure(error, signal);
    }
  }
}

/** What a peer answers that cannot or will not serve a call, or that finds it wrong. */
const REFUSALS: ReadonlySet<ErrorKind> = new Set([
  'invalid-argument',
  'not-found',
  'denied',
  'precondition',
  'out-of-range',
  'unimplemented',
  'data-loss',
  'unauthenticated',
]);

/**
 * A failure of the storage, such that nobody takes it for one of the action: a call that is late or was ended by a server
 * that stops is `unavailable` and worth another try; one that is refused is a fault of ours. DEADLINE_EXCEEDED would
 * say that the command took too long, CANCELLED that the client gave up, PERMISSION_DENIED that it may not.
 */
function storageFailure(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted || !(error instanceof ReapiError)) return error;
  const { kind, message } = error;
  if (REFUSALS.has(kind)) {
    return new ReapiError('internal', `the storage refused a call of the worker: ${message}`, { cause: error });
  }
  if (kind !== 'timed-out' && kind !== 'cancelled') return error;
  return new ReapiError('unavailable', `the storage did not finish a call of the worker: ${message}`, {
    cause: error,
  });
}

/** Whether a read failed because the blob is not there. */
function isAbsent(error: unknown): boolean {
  return isKind(error, 'blob-not-found') || isKind(error, 'not-found');
}

function bytesOf(
  digest: Digest,
  response: BatchReadBlobsResponse_Response,
  signal: AbortSignal,
): Uint8Array | undefined {
  const code = response.status?.code ?? Code.OK;
  if (code === Code.NOT_FOUND) return undefined;
  if (code !== Code.OK) throw storageFailure(fromWireStatus(code, response.status?.message ?? ''), signal);
  if (!sameDigest(digestOf(digest.function, response.data), digest)) throw damaged(digest);
  return response.data;
}

/** `internal`, not `data-loss`: it may have happened on the way, and another attempt elsewhere may do better. */
function damaged(digest: Digest): ReapiError {
  return new ReapiError('internal', `the bytes received for ${digestKey(digest)} do not match it`);
}

/** Where the bytes of an upload come from. */
interface Source {
  /** What went wrong there, rather than at the storage. */
  failure: unknown;
}

async function* noting<T>(source: Source, requests: AsyncIterable<T>): AsyncIterable<T> {
  try {
    yield* requests;
  } catch (error) {
    source.failure = error;
    throw error;
  }
}

/** The name goes with the first message only (R-BS-30); the end has a message of its own (R-BS-35). */
async function* writeRequests(name: string, digest: Digest, bytes: ByteStream): AsyncIterable<WriteRequest> {
  let offset = 0;
  const next = (data: Uint8Array, finishWrite: boolean): WriteRequest => ({
    resourceName: offset === 0 ? name : '',
    writeOffset: BigInt(offset),
    finishWrite,
    data,
  });
  for await (const chunk of bytes) {
    for (let at = 0; at < chunk.length; at += WRITE_CHUNK_BYTES) {
      const data = chunk.subarray(at, at + WRITE_CHUNK_BYTES);
      yield next(data, false);
      offset += data.length;
    }
    if (offset > digest.sizeBytes) throw new ReapiError('precondition', 'the file grew while it was uploaded');
  }
  yield next(new Uint8Array(0), true);
}
