import type { ObjectStore } from '../../cas/s3/object-store.ts';
import { RequestCounts } from '../../cas/s3/request-counts.ts';
import { createS3Client } from '../../cas/s3/s3-client.ts';
import { S3ObjectStore } from '../../cas/s3/s3-object-store.ts';
import type { S3Options } from '../../cas/s3/s3-options.ts';
import { SystemClock } from '../../system/clock.ts';
import { SystemRandom } from '../../system/random.ts';

/** A bucket that a command works on. */
export interface OpenedBucket {
  readonly objects: ObjectStore;
  close(): void;
}

/** Opens a bucket; nothing is sent yet. */
export type OpenBucket = (options: S3Options) => OpenedBucket;

/** Opens it through the SDK, as a server does. */
export function openBucket(options: S3Options): OpenedBucket {
  const client = createS3Client(options);
  const surroundings = { clock: new SystemClock(), random: new SystemRandom(), counts: new RequestCounts() };
  return { objects: new S3ObjectStore(client, options, surroundings), close: () => client.destroy() };
}
