import { z } from 'zod';
import { s3Credentials, s3Encryption, s3Endpoint, s3Proxy, s3StorageClass } from './s3-connection-schema.ts';
import { count, GIB, MIB, seconds, size } from './units.ts';

/** Longest prefix, in bytes: the keys of S3 have 1,024, ours at most 300 of them. */
const MAX_PREFIX_BYTES = 512;

/** Wider than the rule of AWS: other servers allow capitals, underscores and longer names. */
const bucket = z
  .string()
  .regex(/^(?:[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9])?$/, {
    message: 'must be the name of a bucket alone, without s3://, prefix or slashes',
  })
  .default('')
  .describe(
    'Bucket that keeps blobs and action results for good; it has to exist. Empty: there is only the local disk.',
  );

const prefix = z
  .string()
  .refine((text) => !text.startsWith('/'), { message: 'must not begin with a slash' })
  .refine((text) => isPlainPath(text), {
    message: 'must be visible characters with single slashes between them, and no part "." or ".."',
  })
  .refine((text) => Buffer.byteLength(text) <= MAX_PREFIX_BYTES, {
    message: `is longer than ${MAX_PREFIX_BYTES} bytes`,
  })
  .overwrite((text) => (text === '' || text.endsWith('/') ? text : `${text}/`))
  .default('')
  .describe(
    'Begins the keys of all objects, so that a bucket can hold other things too, or several independent stores. A slash is added at its end.',
  );

/** The store behind the local one: where it is, how to talk to it, and what it costs. */
export const s3 = z
  .strictObject({
    bucket,
    prefix,
    region: z
      .string()
      .regex(/^\$?[A-Za-z0-9_-]{1,64}$/, { message: 'must be the name of a region, like eu-central-1' })
      .default('$AWS_REGION')
      .describe(
        'Region of the bucket. `$AWS_REGION` is that variable, or `AWS_DEFAULT_REGION`, else us-east-1. Other servers than AWS take any, or want `auto`.',
      ),
    endpoint: s3Endpoint,
    pathStyle: z
      .enum(['automatic', 'always', 'never'])
      .default('automatic')
      .describe(
        'Whether the bucket stands in the path of the URL (`always`) or in the host name (`never`). `automatic`: in the path if `endpoint` is set, as most servers other than AWS need it.',
      ),
    credentials: s3Credentials,
    encryption: s3Encryption,
    storageClass: s3StorageClass,
    proxy: s3Proxy,
    certificateAuthoritiesFile: z
      .string()
      .default('')
      .describe(
        'PEM file with certificate authorities that are trusted besides the usual ones, for an `https` endpoint with a certificate of your own. Empty: none.',
      ),
    maxConcurrentRequests: count(
      { min: 1, max: 1024, by: 64 },
      'Most requests at the same time, and so most connections; the others wait for their turn.',
    ),
    requestTimeoutSeconds: seconds(
      { min: 1, max: 600, by: 30 },
      'A request whose answer does not begin within that, or whose body stands still for so long, is given up and tried again.',
    ),
    maxAttempts: count(
      { min: 1, max: 20, by: 4 },
      'How often one request is tried in all, with growing waits between.',
    ),
    durability: z
      .enum(['s3', 'local'])
      .default('s3')
      .describe(
        '`s3`: an upload is acknowledged when the bucket has it. `local`: when the local store has it, as `store.sync` says; it goes to the bucket soon after, also after a restart.',
      ),
    maxBacklogBytes: size(
      { min: 0, max: 1024 * GIB, by: 0 },
      'What may wait to be stored in the bucket: with `durability: local` on the local disk, with `s3` in memory. Beyond it uploads are refused with UNAVAILABLE until S3 takes it. At most a quarter of `store.maxSizeBytes`; 0: 2 GiB with `local` and 256 MiB with `s3`, or that quarter if it is less.',
    ),
    uploadWaitSeconds: seconds(
      { min: 1, max: 3600, by: 60 },
      'With `durability: s3`, how long an upload waits for the bucket before its client is told UNAVAILABLE, to try again.',
    ),
    refreshSeconds: seconds(
      { min: 1, max: 3600, by: 60 },
      'How often this server looks for what other servers on the bucket wrote or are about to delete, and tells them of itself. Costs a handful of requests each time.',
    ),
    retentionDays: count(
      { min: 0, max: 3650, by: 30 },
      'Days that a blob or action result stays in the bucket after its last use. 0: no limit of time.',
    ),
    maxSizeBytes: size(
      { min: 0, max: 1024 * 1024 * GIB, by: 0 },
      'What the bucket may hold under the prefix; beyond it the least recently used goes. Set the same on all servers of a bucket. 0: no limit of size.',
    ),
    packBytes: size(
      { min: MIB, max: 512 * MIB, by: 32 * MIB },
      'Size at which a pack, one object of many small blobs, is full and written. Larger: fewer requests, more memory.',
    ),
    maxSmallPacksPerSecond: z
      .number()
      .min(0.1)
      .max(1000)
      .default(4)
      .describe(
        'Most packs a second that are written before they are full. Each is a request that costs money; with `durability: s3` small uploads wait about 1 / this many seconds.',
      ),
  })
  .prefault({})
  .describe('S3 as the durable store behind the local one ([s3.md](s3.md)). It is used if `s3.bucket` is set.');

/** Path without anything that URLs, listings or people would read in two ways. Empty is one. */
function isPlainPath(text: string): boolean {
  if (text === '') return true;
  const parts = text.replace(/^\/|\/$/g, '').split('/');
  return parts.every((part) => part !== '' && part !== '.' && part !== '..') && !/[\p{C}\p{Z}\\]/u.test(text);
}
