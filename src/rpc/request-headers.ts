import type { Metadata } from '@grpc/grpc-js';
import { RequestMetadata } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';

/** Where clients put it; Pants still uses the name of the API's first version (clients, section 3.11). */
const REQUEST_METADATA_HEADERS = [
  'build.bazel.remote.execution.v2.requestmetadata-bin',
  'google.devtools.remoteexecution.v1test.requestmetadata-bin',
];

/** Kept with every unfinished operation. Real ones have hundreds of bytes, with long labels a few thousand. */
const MAX_REQUEST_METADATA_BYTES = 16 * 1024;

/** What the build tool says of itself; undefined if it says nothing, nothing that decodes, or far too much (R-XC-01). */
export function requestMetadataOf(headers: Metadata): RequestMetadata | undefined {
  for (const name of REQUEST_METADATA_HEADERS) {
    const [value] = headers.get(name);
    if (!Buffer.isBuffer(value) || value.length > MAX_REQUEST_METADATA_BYTES) continue;
    try {
      return RequestMetadata.decode(value);
    } catch {
      // Optional by the API, so garbage is the same as nothing.
      return undefined;
    }
  }
  return undefined;
}

/** The first value of a header as text. */
export function headerText(headers: Metadata, name: string): string | undefined {
  const [value] = headers.get(name);
  if (value === undefined) return undefined;
  return typeof value === 'string' ? value : value.toString('utf8');
}
