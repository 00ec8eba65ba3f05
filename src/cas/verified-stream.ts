import { type Digest, digestPath } from '../digest/digest.ts';
import { createHasher, digestOf } from '../digest/hasher.ts';
import { ReapiError } from '../errors.ts';
import type { ByteStream } from '../system/byte-stream.ts';

/**
 * Passes the chunks of an upload on and holds the last one back until size and hash match (R-CAS-09): whoever reads the
 * stream to its end has exactly the blob. A stream that is too long fails at the first byte too many.
 * @throws digest-mismatch; whatever `bytes` throws.
 */
export async function* verified(digest: Digest, bytes: ByteStream): ByteStream {
  const hasher = createHasher(digest.function);
  let sizeBytes = 0;
  let last: Uint8Array | undefined;
  for await (const chunk of bytes) {
    if (chunk.length === 0) continue;
    sizeBytes += chunk.length;
    if (sizeBytes > digest.sizeBytes) {
      throw new ReapiError('digest-mismatch', `more than the ${digest.sizeBytes} bytes of ${digestPath(digest)}`, {
        expected: digest,
      });
    }
    hasher.update(chunk);
    if (sizeBytes < digest.sizeBytes) yield chunk;
    else last = chunk;
  }
  const actual = hasher.finish();
  if (actual.hash !== digest.hash || actual.sizeBytes !== digest.sizeBytes) throw mismatch(digest, actual);
  if (last) yield last;
}

/** Checks bytes that are all there. @throws digest-mismatch. */
export function verifyBytes(digest: Digest, bytes: Uint8Array): void {
  const actual = digestOf(digest.function, bytes);
  if (actual.hash !== digest.hash || actual.sizeBytes !== digest.sizeBytes) throw mismatch(digest, actual);
}

function mismatch(expected: Digest, actual: Digest): ReapiError {
  const message = `the bytes are ${digestPath(actual)}, not ${digestPath(expected)}`;
  return new ReapiError('digest-mismatch', message, { expected, actual });
}
