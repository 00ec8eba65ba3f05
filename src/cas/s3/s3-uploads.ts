import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandInput,
  type ListMultipartUploadsCommandOutput,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import type { ByteStream } from '../../system/byte-stream.ts';
import { forEachBounded } from '../../system/for-each-bounded.ts';
import type { UnfinishedUpload } from './object-store.ts';
import { MAX_PARTS, sendParts } from './s3-multipart.ts';
import type { S3Options } from './s3-options.ts';
import { addressOf, sourceOf, storageOf } from './s3-parameters.ts';
import type { S3Requests } from './s3-requests.ts';

/** Pieces in which objects are copied; they do not pass through here, so they may be long. */
const COPY_PART_BYTES = 2 ** 30;

/** Parts of one object that are copied at once. */
const COPIES_AT_ONCE = 4;

/**
 * Objects made of parts. `Upload` of the SDK's lib-storage is not used: it passes no signal to its requests, returns from an abort before its
 * parts are dropped, and reports a failed drop instead of what failed first.
 */
export class S3Uploads {
  readonly #client: S3Client;
  readonly #options: S3Options;
  readonly #requests: S3Requests;

  constructor(client: S3Client, options: S3Options, requests: S3Requests) {
    this.#client = client;
    this.#options = options;
    this.#requests = requests;
  }

  /** Stores a stream. @throws as `ObjectStore.putStream`. */
  async put(key: string, bytes: ByteStream, sizeBytes: number, signal: AbortSignal): Promise<void> {
    await this.#make(key, signal, (id) => {
      const send = (number: number, body: Uint8Array, stop: AbortSignal) =>
        this.#putPart({ key, id, number, body }, stop);
      return sendParts(bytes, sizeBytes, send, signal);
    });
  }

  /** Copies an object of any size. @throws as `ObjectStore.copy`. */
  async copy(from: string, to: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
    const partBytes = Math.max(COPY_PART_BYTES, Math.ceil(sizeBytes / MAX_PARTS));
    await this.#make(to, signal, async (id) => {
      const parts: CompletedPart[] = [];
      await forEachBounded(Math.ceil(sizeBytes / partBytes), COPIES_AT_ONCE, async (index) => {
        const last = Math.min(sizeBytes, (index + 1) * partBytes) - 1;
        const range = `bytes=${index * partBytes}-${last}`;
        parts[index] = await this.#copyPart({ from, to, id, number: index + 1, range }, signal);
      });
      return parts;
    });
  }

  /** Uploads that were begun and not ended, page by page. */
  async *unfinished(signal: AbortSignal): AsyncIterable<readonly UnfinishedUpload[]> {
    const { bucket, prefix } = this.#options;
    // Of the whole bucket, sorted out here: MinIO takes `Prefix` for the name of one object.
    let place: ListMultipartUploadsCommandInput | undefined = { Bucket: bucket };
    while (place !== undefined) {
      const command: ListMultipartUploadsCommand = new ListMultipartUploadsCommand(place);
      const page: ListMultipartUploadsCommandOutput = await this.#requests.send(
        { operation: 'list-uploads', run: (attempt) => this.#client.send(command, attempt) },
        signal,
      );
      const uploads = (page.Uploads ?? []).flatMap(({ Key, UploadId: id, Initiated }) => {
        if (Key === undefined || id === undefined || !Key.startsWith(prefix)) return [];
        return [{ key: Key.slice(prefix.length), id, startedMs: Initiated?.getTime() ?? 0 }];
      });
      if (uploads.length > 0) yield uploads;
      const { IsTruncated, NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page;
      place =
        IsTruncated === true && KeyMarker !== undefined ? { Bucket: bucket, KeyMarker, UploadIdMarker } : undefined;
    }
  }

  /** Drops the parts of an upload. @param maxAttempts if not those of the options. @throws as `ObjectStore.dropUpload`. */
  async drop(key: string, id: string, signal: AbortSignal, maxAttempts?: number): Promise<void> {
    const command = new AbortMultipartUploadCommand({ ...addressOf(this.#options, key), UploadId: id });
    await this.#requests.send(
      {
        operation: 'drop-upload',
        ...(maxAttempts === undefined ? {} : { maxAttempts }),
        run: async (attempt) => {
          try {
            await this.#client.send(command, attempt);
          } catch (error) {
            // Completed, or dropped by somebody else.
            if (!(error instanceof Error && error.name === 'NoSuchUpload')) throw error;
          }
        },
      },
      signal,
    );
  }

  async #make(
    key: string,
    signal: AbortSignal,
    fill: (id: string) => Promise<readonly CompletedPart[]>,
  ): Promise<void> {
    const id = await this.#begin(key, signal);
    try {
      await this.#complete(key, id, await fill(id), signal);
    } catch (error) {
      // With a signal of its own, since the caller's may be the reason; once, since the caller waits. What fails here costs storage until
      // someone looks for unfinished uploads, and the first error says more.
      await this.drop(key, id, new AbortController().signal, 1).catch(() => undefined);
      throw error;
    }
  }

  async #begin(key: string, signal: AbortSignal): Promise<string> {
    const command = new CreateMultipartUploadCommand({ ...addressOf(this.#options, key), ...storageOf(this.#options) });
    return await this.#requests.send(
      {
        operation: 'begin-upload',
        run: async (attempt) => {
          const { UploadId } = await this.#client.send(command, attempt);
          if (UploadId === undefined) throw new Error('an upload without an id');
          return UploadId;
        },
      },
      signal,
    );
  }

  async #putPart(
    { key, id, number, body }: { key: string; id: string; number: number; body: Uint8Array },
    signal: AbortSignal,
  ): Promise<CompletedPart> {
    const place = { ...addressOf(this.#options, key), UploadId: id, PartNumber: number };
    return await this.#requests.send(
      {
        operation: 'put-part',
        sentBytes: body.length,
        run: async (attempt) => {
          const { ETag } = await this.#client.send(new UploadPartCommand({ ...place, Body: body }), attempt);
          return partOf(number, ETag);
        },
      },
      signal,
    );
  }

  async #copyPart(
    { from, to, id, number, range }: { from: string; to: string; id: string; number: number; range: string },
    signal: AbortSignal,
  ): Promise<CompletedPart> {
    const command = new UploadPartCopyCommand({
      ...addressOf(this.#options, to),
      UploadId: id,
      PartNumber: number,
      CopySource: sourceOf(this.#options, from),
      CopySourceRange: range,
    });
    return await this.#requests.send(
      {
        operation: 'copy-part',
        run: async (attempt) => partOf(number, (await this.#client.send(command, attempt)).CopyPartResult?.ETag),
      },
      signal,
    );
  }

  async #complete(key: string, id: string, parts: readonly CompletedPart[], signal: AbortSignal): Promise<void> {
    const MultipartUpload = { Parts: [...parts] };
    const place = addressOf(this.#options, key);
    const command = new CompleteMultipartUploadCommand({ ...place, UploadId: id, MultipartUpload });
    await this.#requests.send(
      { operation: 'complete-upload', run: (attempt) => this.#client.send(command, attempt) },
      signal,
    );
  }
}

function partOf(PartNumber: number, ETag: string | undefined): CompletedPart {
  if (ETag === undefined) throw new Error('a part without an ETag');
  return { PartNumber, ETag };
}
