import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Authorizer, demand, type Permission } from '../auth/authorizer.ts';
import { type Digest, isEmptyBlob, parseDigest, sameDigest } from '../digest/digest.ts';
import { type DigestFunction, resolveDigestFunction } from '../digest/digest-function.ts';
import type { InstanceNames } from '../digest/instance-name.ts';
import { invariant, ReapiError } from '../errors.ts';
import {
  Compressor_Value,
  ContentAddressableStorageDefinition,
  DigestFunction_Value,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { Status } from '../gen/google/rpc/status.ts';
import type { Call } from '../rpc/call.ts';
import { type Method, methodPath } from '../rpc/methods.ts';
import { toWireStatus } from '../rpc/status.ts';
import { forEachBounded } from '../system/for-each-bounded.ts';
import type { BlobStore } from './blob-store.ts';
import {
  type BatchOutcome,
  type DigestSpans,
  decodeBatchRead,
  decodeBatchUpdate,
  decodeFindMissing,
  encodeBatchRead,
  encodeBatchUpdated,
  type RawDigest,
  type UpdateEntry,
} from './cas-wire.ts';
import { TreeReader, type TreeReaderLimits } from './tree-service.ts';
import { verifyBytes } from './verified-stream.ts';

/** Who may do what, and where. */
export interface CasServiceDependencies {
  readonly authorizer: Authorizer;
  readonly instances: InstanceNames;
}

/** Limits of the service. What Capabilities announces has to be the same. */
export interface CasServiceLimits extends TreeReaderLimits {
  /** Most bytes of all blobs of one batch together (R-CAP-06, R-CAS-05). */
  readonly maxBatchTotalSizeBytes: number;
  /** Largest blob that is accepted; 0 means no limit (R-CAS-13). */
  readonly maxBlobSizeBytes: number;
  /** Most digests in one FindMissingBlobs, BatchUpdateBlobs or BatchReadBlobs; with 50,000 an answer stays under 4 MiB. */
  readonly maxDigestsPerRequest: number;
}

/** Digests looked up before other calls get their turn: some milliseconds of work. */
const FIND_MISSING_SLICE = 5000;

/** Blobs of one batch that are read or written at the same time, so that they share a commit of the store. */
const BATCH_WIDTH = 128;

const NO_BYTES = Buffer.alloc(0);

const { methods } = ContentAddressableStorageDefinition;

/** FindMissingBlobs, BatchUpdateBlobs, BatchReadBlobs and GetTree (R-CAS). */
export function casMethods(store: BlobStore, dependencies: CasServiceDependencies, limits: CasServiceLimits): Method[] {
  const service = new CasService(store, dependencies, limits);
  const trees = new TreeReader(store, dependencies, limits);
  const path = (method: { readonly name: string }): string => methodPath(ContentAddressableStorageDefinition, method);
  return [
    {
      kind: 'unary',
      path: path(methods.findMissingBlobs),
      handle: (request, call) => service.findMissing(request, call),
    },
    {
      kind: 'unary',
      path: path(methods.batchUpdateBlobs),
      handle: (request, call) => service.batchUpdate(request, call),
    },
    { kind: 'unary', path: path(methods.batchReadBlobs), handle: (request, call) => service.batchRead(request, call) },
    { kind: 'server-streaming', path: path(methods.getTree), handle: (request, call) => trees.getTree(request, call) },
  ];
}

class CasService {
  readonly #store: BlobStore;
  readonly #dependencies: CasServiceDependencies;
  readonly #limits: CasServiceLimits;

  constructor(store: BlobStore, dependencies: CasServiceDependencies, limits: CasServiceLimits) {
    this.#store = store;
    this.#dependencies = dependencies;
    this.#limits = limits;
  }

  async findMissing(request: Uint8Array, call: Call): Promise<Uint8Array> {
    const { instanceName, digestFunction, digests } = decodeFindMissing(request);
    await this.#admit(call, 'cas:read', instanceName);
    this.#checkCount(digests.count);
    const fn = resolveDigestFunction(digestFunction, digests.count > 0 ? digests.read(0).hash.length : undefined);
    const missing: number[] = [];
    for (let start = 0; start < digests.count; start += FIND_MISSING_SLICE) {
      if (start > 0) await nextTurn();
      const end = Math.min(start + FIND_MISSING_SLICE, digests.count);
      await this.#findSlice(fn, digests, { start, end }, { missing, signal: call.signal });
    }
    return digests.encodeMissing(missing);
  }

  /** Adds the indexes of the missing ones to `into.missing`. */
  async #findSlice(
    fn: DigestFunction,
    digests: DigestSpans,
    slice: { readonly start: number; readonly end: number },
    into: { readonly missing: number[]; readonly signal: AbortSignal },
  ): Promise<void> {
    const asked: Digest[] = [];
    for (let index = slice.start; index < slice.end; index++) asked.push(digests.parse(fn, index));
    const absent = await this.#store.findMissing(asked, into.signal);
    // The absent ones come in the order in which they were asked for, so one pass finds the bytes of each.
    let found = 0;
    for (let index = 0; index < asked.length && found < absent.length; index++) {
      const digest = asked[index];
      const next = absent[found];
      if (digest === undefined || next === undefined || !sameDigest(digest, next)) continue;
      into.missing.push(slice.start + index);
      found++;
    }
    invariant(found === absent.length, 'a store names missing digests in the order of the question');
  }

  async batchUpdate(request: Uint8Array, call: Call): Promise<Uint8Array> {
    const { instanceName, digestFunction, entries } = decodeBatchUpdate(request);
    await this.#admit(call, 'cas:write', instanceName);
    this.#checkCount(entries.length);
    this.#checkTotal(entries.reduce((total, entry) => total + entry.data.length, 0));
    const fn = functionOfBatch(
      digestFunction,
      entries.map((entry) => entry.digest),
    );
    return encodeBatchUpdated(
      await outcomesOf(entries, async (entry) => {
        const { rawDigest } = entry;
        try {
          await this.#update(fn, entry, call.signal);
          return { rawDigest, status: NO_BYTES, data: NO_BYTES };
        } catch (error) {
          return { rawDigest, status: statusOf(error), data: NO_BYTES };
        }
      }),
    );
  }

  async #update(fn: DigestFunction, entry: UpdateEntry, signal: AbortSignal): Promise<void> {
    const digest = parseDigest(fn, entry.digest.hash, entry.digest.sizeBytes);
    const { maxBlobSizeBytes } = this.#limits;
    if (maxBlobSizeBytes > 0 && digest.sizeBytes > maxBlobSizeBytes) {
      throw new ReapiError(
        'too-large',
        `a blob of ${digest.sizeBytes} bytes; at most ${maxBlobSizeBytes} are accepted`,
      );
    }
    if (entry.compressor !== Compressor_Value.IDENTITY) {
      throw new ReapiError('invalid-argument', `compressor ${entry.compressor} is not supported`, {
        field: 'compressor',
      });
    }
    if (isEmptyBlob(digest)) verifyBytes(digest, entry.data);
    else await this.#store.putBytes(digest, entry.data, signal);
  }

  async batchRead(request: Uint8Array, call: Call): Promise<Uint8Array> {
    const { instanceName, digestFunction, digests } = decodeBatchRead(request);
    await this.#admit(call, 'cas:read', instanceName);
    this.#checkCount(digests.count);
    const asked = Array.from({ length: digests.count }, (_, index) => digests.read(index));
    this.#checkTotal(asked.reduce((total, { sizeBytes }) => total + Math.max(0, sizeBytes), 0));
    const fn = functionOfBatch(digestFunction, asked);
    const answer = encodeBatchRead(
      await outcomesOf(asked, async (raw, index) => {
        const rawDigest = digests.raw(index);
        try {
          const digest = parseDigest(fn, raw.hash, raw.sizeBytes);
          const data = isEmptyBlob(digest) ? NO_BYTES : await this.#store.getBytes(digest, call.signal);
          return { rawDigest, status: NO_BYTES, data };
        } catch (error) {
          return { rawDigest, status: statusOf(error), data: NO_BYTES };
        }
      }),
    );
    if (answer.length > this.#limits.maxMessageBytes) {
      throw new ReapiError('too-large', `the answer has ${answer.length} bytes; ask for fewer blobs at once`);
    }
    return answer;
  }

  async #admit(call: Call, permission: Permission, instanceName: string): Promise<void> {
    const instance = this.#dependencies.instances.resolve(instanceName);
    await demand(this.#dependencies.authorizer, call.principal, permission, instance);
  }

  #checkCount(count: number): void {
    const { maxDigestsPerRequest } = this.#limits;
    if (count <= maxDigestsPerRequest) return;
    throw new ReapiError('too-large', `${count} digests in one request; at most ${maxDigestsPerRequest} are accepted`);
  }

  #checkTotal(totalBytes: number): void {
    const { maxBatchTotalSizeBytes } = this.#limits;
    if (totalBytes <= maxBatchTotalSizeBytes) return;
    const message = `the blobs of the batch have ${totalBytes} bytes; at most ${maxBatchTotalSizeBytes} are accepted`;
    throw new ReapiError('too-large', message);
  }
}

/** In a batch one malformed digest fails alone, so it must not decide what the others mean (R-CAS-06). */
function functionOfBatch(wire: number, digests: readonly RawDigest[]): DigestFunction {
  if (wire !== DigestFunction_Value.UNKNOWN) return resolveDigestFunction(wire, undefined);
  let failure: unknown;
  const tried = new Set<number>();
  for (const { hash } of digests) {
    if (tried.has(hash.length)) continue;
    tried.add(hash.length);
    try {
      return resolveDigestFunction(wire, hash.length);
    } catch (error) {
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
  return resolveDigestFunction(wire, undefined);
}

/** The outcome of each entry, in their order. */
async function outcomesOf<T>(
  entries: readonly T[],
  work: (entry: T, index: number) => Promise<BatchOutcome>,
): Promise<readonly BatchOutcome[]> {
  const outcomes = Array.from<BatchOutcome | undefined>({ length: entries.length });
  await forEachBounded(entries.length, BATCH_WIDTH, async (index) => {
    const entry = entries[index];
    if (entry !== undefined) outcomes[index] = await work(entry, index);
  });
  return outcomes.filter((outcome) => outcome !== undefined);
}

/** The encoded status of an entry that failed. @throws the error itself if it ends the whole call: cancellation, bugs. */
function statusOf(error: unknown): Uint8Array {
  if (!(error instanceof ReapiError) || error.kind === 'cancelled') throw error;
  return Status.encode(toWireStatus(error)).finish();
}
