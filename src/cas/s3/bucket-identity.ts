import { isKind, ReapiError } from '../../errors.ts';
import type { Random } from '../../system/random.ts';
import { FORMAT_KEY } from './object-names.ts';
import type { ObjectStore } from './object-store.ts';

/** What the object `format` says. */
const FORMAT = 'gantry-bucket';
const VERSION = 1;
const MAX_FORMAT_BYTES = 4096;

/**
 * The name a bucket was given when it was first used, so that a new bucket of the same address is not taken for the old one.
 * @throws precondition: it holds something else, or a newer version wrote it; unavailable.
 */
export async function identifyBucket(objects: ObjectStore, random: Random, signal: AbortSignal): Promise<string> {
  const found = await readIdentity(objects, signal);
  if (found !== undefined) return found.bucket;
  const bucket = random.token(16);
  await objects.put(FORMAT_KEY, [Buffer.from(JSON.stringify({ format: FORMAT, version: VERSION, bucket }))], signal);
  // Another server may have been here at the same moment; what is there now is what counts.
  return (await readIdentity(objects, signal))?.bucket ?? bucket;
}

/** What a bucket says of itself. */
export interface BucketIdentity {
  /** Of the layout of names and states. */
  readonly version: number;
  /** The name it was given when it was first used. */
  readonly bucket: string;
}

/** What the bucket says of itself, or undefined if nothing of Gantry is in it. @throws as `identifyBucket`. */
export async function readIdentity(objects: ObjectStore, signal: AbortSignal): Promise<BucketIdentity | undefined> {
  const bytes = await readFormat(objects, signal);
  if (bytes === undefined) return undefined;
  const found = parse(bytes);
  if (found === undefined) throw notOurs();
  if (found.version > VERSION) {
    const message = `the bucket was written by a newer program (version ${found.version}); this one knows up to ${VERSION}`;
    throw new ReapiError('precondition', message);
  }
  return found;
}

async function readFormat(objects: ObjectStore, signal: AbortSignal): Promise<Uint8Array | undefined> {
  try {
    return await objects.get(FORMAT_KEY, MAX_FORMAT_BYTES, signal);
  } catch (error) {
    if (isKind(error, 'too-large')) throw notOurs({ cause: error });
    throw error;
  }
}

function notOurs(facts: { readonly cause?: unknown } = {}): ReapiError {
  const message = `the bucket holds an object "${FORMAT_KEY}" that is not Gantry's: set s3.prefix`;
  return new ReapiError('precondition', message, facts);
}

function parse(bytes: Uint8Array): BucketIdentity | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString());
    if (typeof value !== 'object' || value === null) return undefined;
    if (!('format' in value && 'version' in value && 'bucket' in value) || value.format !== FORMAT) return undefined;
    const { version, bucket } = value;
    return typeof version === 'number' && typeof bucket === 'string' ? { version, bucket } : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
