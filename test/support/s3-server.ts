import { createServer } from 'node:net';
import type { S3Credentials, S3Options } from '../../src/cas/s3/s3-options.ts';

/** The bucket that is there when a server has started. */
export const S3_TEST_BUCKET = 'gantry-test';

/** A program that speaks S3, started for tests, with one bucket. */
export interface S3Server {
  /** `http://127.0.0.1:port`. */
  readonly endpoint: string;
  /** How to reach the bucket, or a part of it. */
  options(changes?: Partial<S3Options>): S3Options;
  /** Ends it at once; its data stay, as far as they were on disk. */
  kill(): Promise<void>;
}

/** How to reach a bucket of a server on this machine. */
export function localS3Options(
  endpoint: string,
  { accessKeyId, secretAccessKey }: S3Credentials,
  changes: Partial<S3Options>,
): S3Options {
  return {
    bucket: S3_TEST_BUCKET,
    prefix: '',
    region: 'us-east-1',
    endpoint,
    pathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
    encryption: { kind: 'bucket-default' },
    storageClass: undefined,
    proxy: undefined,
    certificateAuthorities: undefined,
    maxConcurrentRequests: 16,
    requestTimeoutMs: 20_000,
    maxAttempts: 4,
    ...changes,
  };
}

/** Free now, and chosen by the system at random: nobody else is given it for a while. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('a port was expected');
  return address.port;
}
