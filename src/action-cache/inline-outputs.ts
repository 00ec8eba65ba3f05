import type { BlobStore } from '../cas/blob-store.ts';
import { digestFromWire } from '../digest/digest.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { isKind } from '../errors.ts';
import { OutputFile, type Digest as WireDigest } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { asBuffer, delimitedField, mapFields } from '../system/protobuf-wire.ts';
import { resultFromBytes, type StoredResult } from './action-store.ts';
import { isEmptyMessage } from './outputs.ts';

/** What the client wants inside the message (R-AC-04). */
export interface InlineHints {
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Paths exactly as in `OutputFile.path` (R-AC-05). */
  readonly files: readonly string[];
}

/** Where bytes come from, and how much of them goes into one message. */
export interface InlineSource {
  readonly store: BlobStore;
  readonly digestFunction: DigestFunction;
  /** Largest encoded result; what does not fit stays out (R-AC-04, R-XC-05). */
  readonly maxBytes: number;
}

/** Numbers of the fields that are inlined, in ActionResult and OutputFile. */
const OUTPUT_FILES = 2;
const STDOUT_RAW = 5;
const STDERR_RAW = 7;
const CONTENTS = 5;

/** A tag and a few nested lengths that grow with the content. */
const OVERHEAD_BYTES = 32;

/**
 * The result with the contents that were asked for, digests kept. A blob that is gone, or does not fit, is left out:
 * inlining is a favour.
 * @throws unavailable and the like from the store; cancelled.
 */
export async function inlineOutputs(
  result: StoredResult,
  hints: InlineHints,
  source: InlineSource,
  signal: AbortSignal,
): Promise<StoredResult> {
  const { message } = result;
  const budget = { leftBytes: source.maxBytes - result.bytes.length };
  const load = (wire: WireDigest | undefined): Promise<Uint8Array | undefined> =>
    contentOf(wire, source, budget, signal);

  const appended: Uint8Array[] = [];
  const stdout = hints.stdout && message.stdoutRaw.length === 0 ? await load(message.stdoutDigest) : undefined;
  if (stdout !== undefined) appended.push(delimitedField(STDOUT_RAW, stdout));
  const stderr = hints.stderr && message.stderrRaw.length === 0 ? await load(message.stderrDigest) : undefined;
  if (stderr !== undefined) appended.push(delimitedField(STDERR_RAW, stderr));

  const wanted = new Set(hints.files);
  const contents = new Map<string, Uint8Array>();
  for (const file of message.outputFiles) {
    if (!wanted.has(file.path) || file.contents.length > 0 || contents.has(file.path)) continue;
    const bytes = await load(file.digest);
    if (bytes !== undefined) contents.set(file.path, bytes);
  }
  if (appended.length === 0 && contents.size === 0) return result;
  const withFiles = contents.size === 0 ? result.bytes : withContents(result.bytes, contents);
  return resultFromBytes(Buffer.concat([withFiles, ...appended]));
}

function withContents(bytes: Uint8Array, contents: ReadonlyMap<string, Uint8Array>): Uint8Array {
  return mapFields(asBuffer(bytes), (field, value) => {
    if (field !== OUTPUT_FILES) return value;
    const content = contents.get(OutputFile.decode(value).path);
    return content === undefined ? value : Buffer.concat([value, delimitedField(CONTENTS, content)]);
  });
}

/** The bytes, if there are any and they fit into the budget, which they then use up. */
async function contentOf(
  wire: WireDigest | undefined,
  source: InlineSource,
  budget: { leftBytes: number },
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  if (isEmptyMessage(wire)) return undefined;
  const digest = digestFromWire(source.digestFunction, wire, 'digest');
  const sizeBytes = digest.sizeBytes + OVERHEAD_BYTES;
  if (digest.sizeBytes === 0 || sizeBytes > budget.leftBytes) return undefined;
  budget.leftBytes -= sizeBytes;
  try {
    return await source.store.getBytes(digest, signal);
  } catch (error) {
    if (isKind(error, 'blob-not-found') || isKind(error, 'data-loss')) return undefined;
    throw error;
  }
}
