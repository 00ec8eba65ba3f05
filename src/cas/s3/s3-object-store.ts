import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandInput,
  type ListObjectsV2CommandOutput,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { isKind } from '../../errors.ts';
import { abortable } from '../../system/abortable.ts';
import type { ByteStream } from '../../system/byte-stream.ts';
import { forEachBounded } from '../../system/for-each-bounded.ts';
import type { ObjectInfo, ObjectStore, UnfinishedUpload } from './object-store.ts';
import { type BodySize, readBody } from './s3-body.ts';
import { lacksBulkDelete, partialError } from './s3-errors.ts';
import { PART_BYTES, pieces } from './s3-multipart.ts';
import type { S3Options } from './s3-options.ts';
import { addressOf, sourceOf, storageOf } from './s3-parameters.ts';
import { S3Requests, type S3Surroundings } from './s3-requests.ts';
import { S3Uploads } from './s3-uploads.ts';

/** Of S3, for copying an object by one request. */
const MAX_COPY_BYTES = 5 * 2 ** 30;

/** Of S3, for deleting by one request. */
const MAX_DELETED_KEYS = 1_000;

/** Requests at once when each deletes one object. */
const DELETES_AT_ONCE = 8;

/** A bucket, or the part of it under a prefix, by the S3 protocol. Its laws are those of `ObjectStore`. */
export class S3ObjectStore implements ObjectStore {
  readonly #client: S3Client;
  readonly #options: S3Options;
  readonly #requests: S3Requests;
  readonly #uploads: S3Uploads;
  /** Until the server says that it cannot. */
  #canDeleteInBulk = true;

  /** @param client from `createS3Client` with the same options; whoever made it destroys it. */
  constructor(client: S3Client, options: S3Options, surroundings: S3Surroundings) {
    this.#client = client;
    this.#options = options;
    this.#requests = new S3Requests(options, surroundings);
    this.#uploads = new S3Uploads(client, options, this.#requests);
  }

  async put(key: string, chunks: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
    const [only] = chunks;
    // One piece, since it is hashed for the signature before it is sent, and may be sent again.
    const body = chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks);
    const command = { ...addressOf(this.#options, key), ...storageOf(this.#options), Body: body };
    await this.#requests.send(
      {
        operation: 'put',
        sentBytes: body.length,
        run: (attempt) => this.#client.send(new PutObjectCommand(command), attempt),
      },
      signal,
    );
  }

  async putStream(key: string, bytes: ByteStream, sizeBytes: number, signal: AbortSignal): Promise<void> {
    if (sizeBytes > PART_BYTES) return await this.#uploads.put(key, bytes, sizeBytes, signal);
    const whole: Uint8Array[] = [];
    for await (const piece of pieces(abortable(bytes, signal), sizeBytes, sizeBytes)) whole.push(piece);
    await this.put(key, whole, signal);
  }

  async get(key: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    try {
      return await this.#read({ ...addressOf(this.#options, key) }, { atMost: maxBytes }, signal);
    } catch (error) {
      if (isKind(error, 'not-found')) return undefined;
      throw error;
    }
  }

  async getRange(key: string, offset: number, lengthBytes: number, signal: AbortSignal): Promise<Uint8Array> {
    const Range = `bytes=${offset}-${offset + lengthBytes - 1}`;
    return await this.#read({ ...addressOf(this.#options, key), Range }, { exactly: lengthBytes }, signal);
  }

  async *list(prefix: string, after: string | undefined, signal: AbortSignal): AsyncIterable<readonly ObjectInfo[]> {
    const { bucket: Bucket, prefix: ours } = this.#options;
    const all = { Bucket, Prefix: `${ours}${prefix}` };
    let place: ListObjectsV2CommandInput | undefined =
      after === undefined ? all : { ...all, StartAfter: `${ours}${after}` };
    while (place !== undefined) {
      const command: ListObjectsV2Command = new ListObjectsV2Command(place);
      const page: ListObjectsV2CommandOutput = await this.#requests.send(
        { operation: 'list', run: (attempt) => this.#client.send(command, attempt) },
        signal,
      );
      const objects = (page.Contents ?? []).map((object) => ({
        key: (object.Key ?? '').slice(ours.length),
        sizeBytes: object.Size ?? 0,
        etag: object.ETag ?? '',
        modifiedMs: object.LastModified?.getTime() ?? 0,
      }));
      if (objects.length > 0) yield objects;
      const { IsTruncated, NextContinuationToken: ContinuationToken } = page;
      place = IsTruncated === true && ContinuationToken !== undefined ? { ...all, ContinuationToken } : undefined;
    }
  }

  async copy(from: string, to: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
    if (sizeBytes > MAX_COPY_BYTES) return await this.#uploads.copy(from, to, sizeBytes, signal);
    const command = new CopyObjectCommand({
      ...addressOf(this.#options, to),
      ...storageOf(this.#options),
      CopySource: sourceOf(this.#options, from),
    });
    await this.#requests.send({ operation: 'copy', run: (attempt) => this.#client.send(command, attempt) }, signal);
  }

  async delete(keys: readonly string[], signal: AbortSignal): Promise<void> {
    for (let at = 0; at < keys.length; at += MAX_DELETED_KEYS) {
      const some = keys.slice(at, at + MAX_DELETED_KEYS);
      if (this.#canDeleteInBulk) await this.#deleteInBulk(some, signal);
      // Asked again: the request before may have been the one that found out.
      if (!this.#canDeleteInBulk) await this.#deleteOneByOne(some, signal);
    }
  }

  unfinishedUploads(signal: AbortSignal): AsyncIterable<readonly UnfinishedUpload[]> {
    return this.#uploads.unfinished(signal);
  }

  dropUpload(upload: UnfinishedUpload, signal: AbortSignal): Promise<void> {
    return this.#uploads.drop(upload.key, upload.id, signal);
  }

  async #read(
    place: { Bucket: string; Key: string; Range?: string },
    size: BodySize,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    return await this.#requests.send(
      {
        operation: 'get',
        run: async (attempt) => readBody(await this.#client.send(new GetObjectCommand(place), attempt), size, attempt),
      },
      signal,
    );
  }

  async #deleteInBulk(keys: readonly string[], signal: AbortSignal): Promise<void> {
    const Objects = keys.map((key) => ({ Key: addressOf(this.#options, key).Key }));
    const command = new DeleteObjectsCommand({ Bucket: this.#options.bucket, Delete: { Objects, Quiet: true } });
    await this.#requests.send(
      {
        operation: 'delete',
        run: async (attempt) => {
          try {
            const { Errors = [] } = await this.#client.send(command, attempt);
            const failed = Errors.find(({ Code }) => Code !== 'NoSuchKey');
            if (failed !== undefined) throw partialError(failed.Code);
          } catch (error) {
            if (!lacksBulkDelete(error)) throw error;
            this.#canDeleteInBulk = false;
          }
        },
      },
      signal,
    );
  }

  async #deleteOneByOne(keys: readonly string[], signal: AbortSignal): Promise<void> {
    await forEachBounded(keys.length, DELETES_AT_ONCE, async (index) => {
      const command = new DeleteObjectCommand(addressOf(this.#options, keys[index] ?? ''));
      await this.#requests.send({ operation: 'delete', run: (attempt) => this.#client.send(command, attempt) }, signal);
    });
  }
}
