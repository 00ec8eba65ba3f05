import { ReapiError } from '../../errors.ts';
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
  if (found !== undefined) return found;
  const bucket = random.token(16);
  await objects.put(FORMAT_KEY, [Buffer.from(JSON.stringify({ format: FORMAT, version: VERSION, bucket }))], signal);
  // Another server may have been here at the same moment; what is there now is what counts.
  return (await readIdentity(objects, signal)) ?? bucket;
}

async function readIdentity(objects: ObjectStore, signal: AbortSignal): Promise<string | undefined> {
  const bytes = await objects.get(FORMAT_KEY, MAX_FORMAT_BYTES, signal);
  if (bytes === undefined) return undefined;
  const found = parse(bytes);
  if (found === undefined) {
    throw new ReapiError(
      'precondition',
      `the bucket holds an object "${FORMAT_KEY}" that is not Gantry's: set s3.prefix`,
    );
  }
  if (found.version > VERSION) {
    const message = `the bucket was written by a newer program (version ${found.version}); this one knows up to ${VERSION}`;
    throw new ReapiError('precondition', message);
  }
  return found.bucket;
}

function parse(bytes: Uint8Array): { readonly version: number; readonly bucket: string } | undefined {
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
