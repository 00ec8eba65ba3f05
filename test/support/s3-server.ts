import { createServer } from 'node:net';
import type { S3Options } from '../../src/cas/s3/s3-options.ts';

/** A program that speaks S3, started for tests, with one bucket. */
export interface S3Server {
  /** `http://127.0.0.1:port`. */
  readonly endpoint: string;
  /** How to reach the bucket, or a part of it. */
  options(changes?: Partial<S3Options>): S3Options;
  /** Ends it at once; its data stay, as far as they were on disk. */
  kill(): Promise<void>;
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
