import { CreateMultipartUploadCommand, type S3Client } from '@aws-sdk/client-s3';
import type { ObjectStore, UnfinishedUpload } from '../../cas/s3/object-store.ts';
import { RequestCounts } from '../../cas/s3/request-counts.ts';
import { createS3Client } from '../../cas/s3/s3-client.ts';
import { failureOf } from '../../cas/s3/s3-errors.ts';
import { S3ObjectStore } from '../../cas/s3/s3-object-store.ts';
import type { S3Options } from '../../cas/s3/s3-options.ts';
import type { Clock } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import type { S3Place } from './s3-doctor-report.ts';

/** What the time of the server was when it answered, and ours. Milliseconds since 1970. */
export interface S3Time {
  readonly serverMs: number;
  readonly localMs: number;
}

/** A bucket to be looked at: its objects, and what a store has no need of. */
export interface S3Probe {
  readonly place: S3Place;
  readonly store: ObjectStore;
  /** Of the last answer that told it, also of a refusal. */
  serverTime(): S3Time | undefined;
  /** Begins an upload in parts that stays unfinished. */
  beginUpload(key: string, signal: AbortSignal): Promise<UnfinishedUpload>;
  close(): void;
}

/** Opens a bucket to look at it; nothing is sent yet. */
export type OpenS3Probe = (options: S3Options, process: { readonly clock: Clock; readonly random: Random }) => S3Probe;

/** Somebody waits for the result: what does not answer is given up earlier than a server would. */
const MAX_TIMEOUT_MS = 10_000;

/** A single hiccup is no finding. */
const ATTEMPTS = 2;

/** Opens the bucket through the SDK, as a server does. */
export function openS3Probe(configured: S3Options, { clock, random }: { clock: Clock; random: Random }): S3Probe {
  const requestTimeoutMs = Math.min(configured.requestTimeoutMs, MAX_TIMEOUT_MS);
  const options = { ...configured, requestTimeoutMs, maxAttempts: ATTEMPTS };
  const client = createS3Client(options);
  const time = watchTime(client, clock);
  const { bucket, prefix, region, endpoint } = options;
  return {
    place: { bucket, prefix, region, endpoint },
    store: new S3ObjectStore(client, options, { clock, random, counts: new RequestCounts() }),
    serverTime: time,
    beginUpload: async (key, signal) => {
      try {
        const command = new CreateMultipartUploadCommand({ Bucket: bucket, Key: `${prefix}${key}` });
        const { UploadId: id = '' } = await client.send(command, { abortSignal: signal });
        return { key, id, startedMs: clock.nowMs() };
      } catch (error) {
        throw failureOf(error, { bucket, doing: 'beginning an upload in parts' }).error;
      }
    },
    close: () => client.destroy(),
  };
}

/** Reads the `Date` of every answer, before anything makes an error of it. */
function watchTime(client: S3Client, clock: Clock): () => S3Time | undefined {
  let time: S3Time | undefined;
  client.middlewareStack.add(
    (next) => async (given) => {
      const output = await next(given);
      const serverMs = dateOf(output.response);
      if (serverMs !== undefined) time = { serverMs, localMs: clock.nowMs() };
      return output;
    },
    { step: 'deserialize', priority: 'low', name: 'watchTime' },
  );
  return () => time;
}

function dateOf(response: unknown): number | undefined {
  if (!(response instanceof Object)) return undefined;
  const headers: unknown = Reflect.get(response, 'headers');
  const date: unknown = headers instanceof Object ? Reflect.get(headers, 'date') : undefined;
  const ms = typeof date === 'string' ? Date.parse(date) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}
