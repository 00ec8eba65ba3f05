import type { BlobStore } from '../cas/blob-store.ts';
import type { ActionKey } from '../digest/action-key.ts';
import { digestToWire } from '../digest/digest.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { digestOf } from '../digest/hasher.ts';
import { ReapiError } from '../errors.ts';
import { Digest, ExecutedActionMetadata, OutputFile } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { asBuffer, delimitedField, mapFields } from '../system/protobuf-wire.ts';
import { type ActionStore, resultFromBytes, type StoredResult } from './action-store.ts';
import { isEmptyMessage } from './outputs.ts';
import { validateResult } from './validate.ts';

/** Where results go. */
export interface ResultStores {
  readonly actions: ActionStore;
  readonly blobs: BlobStore;
}

/** How a result is stored. */
export interface StoreResultOptions {
  /** Largest stored result, so that it can be served in one message (R-AC-06). */
  readonly maxResultBytes: number;
  /** For `execution_metadata.worker` where the maker of the result left it empty (R-AC-14). */
  readonly worker: string;
}

/** Field numbers of ActionResult and OutputFile. */
const FIELD = { outputFiles: 2, stdoutRaw: 5, stdoutDigest: 6, stderrRaw: 7, stderrDigest: 8, metadata: 9 } as const;
const FILE_FIELD = { digest: 2, contents: 5 } as const;
const METADATA_WORKER = 1;

/**
 * Checks a result, moves inlined bytes to the CAS (R-AC-11), names a worker (R-AC-14) and files it. Fields that our schema
 * does not know survive.
 * @returns what was stored.
 * @throws invalid-argument (R-AC-17); too-large (R-AC-06); digest-mismatch for contents that are not what their digest
 * says; quota-exceeded; unavailable.
 */
export async function storeResult(
  stores: ResultStores,
  key: ActionKey,
  result: StoredResult,
  options: StoreResultOptions & { readonly signal: AbortSignal },
): Promise<StoredResult> {
  const fn = key.action.function;
  validateResult(fn, result.message);
  const { bytes, contents } = withoutContents(fn, result);
  const stored = resultFromBytes(withWorker(bytes, result, options.worker));
  if (stored.bytes.length > options.maxResultBytes) {
    const message = `the action result has ${stored.bytes.length} bytes; at most ${options.maxResultBytes} can be stored`;
    throw new ReapiError('too-large', message, { field: 'action_result' });
  }
  // Contents first: a result must never be visible before what it refers to.
  for (const content of contents) await stores.blobs.putBytes(digestOf(fn, content), content, options.signal);
  await stores.actions.put(key, stored, options.signal);
  return stored;
}

interface Deinlined {
  readonly bytes: Uint8Array;
  /** What was inlined and now has to be in the CAS. */
  readonly contents: readonly Uint8Array[];
}

function withoutContents(fn: DigestFunction, result: StoredResult): Deinlined {
  const { message } = result;
  const isInlined =
    message.stdoutRaw.length > 0 ||
    message.stderrRaw.length > 0 ||
    message.outputFiles.some((f) => f.contents.length > 0);
  if (!isInlined) return { bytes: result.bytes, contents: [] };
  const contents: Uint8Array[] = [];
  const moved = (content: Uint8Array, expected: Digest | undefined, field: string): Uint8Array => {
    contents.push(content);
    return encodedDigest(fn, content, expected, field);
  };
  const bytes = mapFields(asBuffer(result.bytes), (field, value) => {
    const isStdout = field === FIELD.stdoutRaw || field === FIELD.stdoutDigest;
    const isStderr = field === FIELD.stderrRaw || field === FIELD.stderrDigest;
    if (isStdout && message.stdoutRaw.length > 0) return undefined;
    if (isStderr && message.stderrRaw.length > 0) return undefined;
    return field === FIELD.outputFiles ? fileWithoutContents(value, moved) : value;
  });
  const parts: Uint8Array[] = [bytes];
  if (message.stdoutRaw.length > 0) {
    const digest = moved(message.stdoutRaw, message.stdoutDigest, 'stdout_raw');
    parts.push(delimitedField(FIELD.stdoutDigest, digest));
  }
  if (message.stderrRaw.length > 0) {
    const digest = moved(message.stderrRaw, message.stderrDigest, 'stderr_raw');
    parts.push(delimitedField(FIELD.stderrDigest, digest));
  }
  return { bytes: Buffer.concat(parts), contents };
}

function fileWithoutContents(
  value: Buffer,
  moved: (content: Uint8Array, expected: Digest | undefined, field: string) => Uint8Array,
): Buffer {
  const file = OutputFile.decode(value);
  if (file.contents.length === 0) return value;
  const digest = moved(file.contents, file.digest, 'output_files.contents');
  const rest = mapFields(value, (field, inner) =>
    field === FILE_FIELD.contents || field === FILE_FIELD.digest ? undefined : inner,
  );
  return Buffer.concat([rest, delimitedField(FILE_FIELD.digest, digest)]);
}

/** The digest of inlined bytes, encoded. A digest the client sent with them has to be the same. */
function encodedDigest(
  fn: DigestFunction,
  content: Uint8Array,
  expected: Digest | undefined,
  field: string,
): Uint8Array {
  const actual = digestToWire(digestOf(fn, content));
  const isSame = expected?.hash === actual.hash && expected.sizeBytes === actual.sizeBytes;
  if (!isSame && !isEmptyMessage(expected)) {
    throw new ReapiError('digest-mismatch', `${field} is not what its digest says`, { field });
  }
  return Digest.encode(actual).finish();
}

/** Clients fail on a result without `execution_metadata` (T-35). */
function withWorker(bytes: Uint8Array, result: StoredResult, worker: string): Uint8Array {
  const { executionMetadata } = result.message;
  if (executionMetadata !== undefined && executionMetadata.worker !== '') return bytes;
  const named = ExecutedActionMetadata.encode(ExecutedActionMetadata.fromPartial({ worker })).finish();
  if (executionMetadata === undefined) return Buffer.concat([bytes, delimitedField(FIELD.metadata, named)]);
  return mapFields(asBuffer(bytes), (field, value) => {
    if (field !== FIELD.metadata) return value;
    const rest = mapFields(value, (inner, innerValue) => (inner === METADATA_WORKER ? undefined : innerValue));
    return Buffer.concat([named, rest]);
  });
}
