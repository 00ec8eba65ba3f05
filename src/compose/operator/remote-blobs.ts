import { type Digest, digestPath } from '../../digest/digest.ts';
import { isKind, ReapiError } from '../../errors.ts';
import type { RpcClient } from '../../rpc/client.ts';
import { type ByteStream, collect } from '../../system/byte-stream.ts';
import { SystemRandom } from '../../system/random.ts';
import { RemoteStore } from '../../worker/remote-store.ts';
import type { NamedDigest } from './digest-argument.ts';
import { readableSize } from './readable.ts';
import { CALL_TIMEOUT_MS } from './server-connection.ts';

/** Largest message that is decoded for people: the decoded form takes up to fifty times as much memory. */
export const MAX_DECODED_BYTES = 4 * 1024 * 1024;

/** Sum of the bytes in one batch call, below the limit of 4 MiB that most servers have. */
const MAX_BATCH_BYTES = 3 * 1024 * 1024;

/** Larger blobs are read as a stream. */
const MAX_SMALL_BYTES = 1024 * 1024;

/** The CAS of any REAPI server, for reading: every byte is checked against its digest. */
export function remoteBlobs(client: RpcClient, { instance, digest }: NamedDigest): RemoteStore {
  return new RemoteStore({ reads: client, writes: client }, new SystemRandom(), {
    instance,
    digestFunction: digest.function,
    maxBatchBytes: MAX_BATCH_BYTES,
    maxSmallBytes: MAX_SMALL_BYTES,
    callTimeoutMs: CALL_TIMEOUT_MS,
  });
}

/** The bytes of a blob as they come. @throws blob-not-found, by a message that names it. */
export async function* openBlob(store: RemoteStore, digest: Digest, signal: AbortSignal): ByteStream {
  try {
    yield* store.open(digest, signal);
  } catch (error) {
    if (!isKind(error, 'not-found')) throw error;
    throw new ReapiError('blob-not-found', `the server has no blob ${digestPath(digest)}`, { cause: error });
  }
}

/** The whole of a blob that holds a message. @throws too-large; blob-not-found. */
export async function readMessage(store: RemoteStore, digest: Digest, signal: AbortSignal): Promise<Uint8Array> {
  if (digest.sizeBytes > MAX_DECODED_BYTES) {
    const sizes = `${readableSize(digest.sizeBytes)}; at most ${readableSize(MAX_DECODED_BYTES)} are decoded`;
    throw new ReapiError('too-large', `the blob has ${sizes} (gantry cat --as raw prints any size)`);
  }
  return collect(openBlob(store, digest, signal), digest.sizeBytes);
}
