import type { Metadata } from '@grpc/grpc-js';
import { RequestMetadata } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';

/** Where clients put it; Pants still uses the name of the API's first version (clients, section 3.11). */
const REQUEST_METADATA_HEADERS = [
  'build.bazel.remote.execution.v2.requestmetadata-bin',
  'google.devtools.remoteexecution.v1test.requestmetadata-bin',
];

/** What the build tool says of itself; undefined if it says nothing, or nothing that decodes (R-XC-01). */
export function requestMetadataOf(headers: Metadata): RequestMetadata | undefined {
  for (const name of REQUEST_METADATA_HEADERS) {
    const [value] = headers.get(name);
    if (!Buffer.isBuffer(value)) continue;
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
