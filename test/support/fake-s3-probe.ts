import type { ObjectInfo, UnfinishedUpload } from '../../src/cas/s3/object-store.ts';
import { failureOf } from '../../src/cas/s3/s3-errors.ts';
import type { S3Probe, S3Time } from '../../src/compose/operator/s3-doctor-probe.ts';
import { ReapiError } from '../../src/errors.ts';
import type { ByteStream } from '../../src/system/byte-stream.ts';
import { FakeClock } from './fake-clock.ts';
import { MemoryObjectStore } from './memory-object-store.ts';

/** Calls of a bucket, each with a right of its own. */
export type S3Call =
  | 'put'
  | 'get'
  | 'getRange'
  | 'list'
  | 'copy'
  | 'putStream'
  | 'delete'
  | 'beginUpload'
  | 'unfinishedUploads'
  | 'dropUpload';

/** What is wrong with a bucket. */
export interface S3Defects {
  /** Calls that fail with a code of S3 or of the system. */
  readonly codes?: Partial<Record<S3Call, string>>;
  /** With the code, the words of the server. */
  readonly words?: string;
  /** Changes what is stored. */
  readonly stored?: (bytes: Uint8Array) => Uint8Array;
  /** What was written is not there at once. */
  readonly isEventual?: boolean;
  readonly ignoresRange?: boolean;
  readonly ignoresStartAfter?: boolean;
  /** A listing leaves this many objects out. */
  readonly hidden?: number;
  readonly wrongSizes?: boolean;
  readonly swapsParts?: boolean;
  readonly wrongCopies?: boolean;
  readonly keepsDeleted?: boolean;
  readonly hidesUploads?: boolean;
  /** How long writing takes. */
  readonly putMs?: number;
  readonly time?: S3Time | 'silent';
  /** Told of every call before it does anything. */
  readonly onCall?: (call: S3Call, signal: AbortSignal) => void;
}

/** A bucket in memory with planted defects. A call that fails by code did nothing. */
export class FakeS3Probe extends MemoryObjectStore implements S3Probe {
  readonly place = { bucket: 'builds', prefix: 'ci/', region: 'us-east-1', endpoint: 'http://127.0.0.1:9000' };
  readonly clock: FakeClock;
  readonly store = this;
  isClosed = false;
  readonly #defects: S3Defects;

  constructor(defects: S3Defects = {}) {
    const clock = new FakeClock();
    super(clock);
    this.clock = clock;
    this.#defects = defects;
  }

  serverTime(): S3Time | undefined {
    const { time } = this.#defects;
    if (time === 'silent') return undefined;
    return time ?? { serverMs: this.clock.nowMs(), localMs: this.clock.nowMs() };
  }

  async beginUpload(key: string, signal: AbortSignal): Promise<UnfinishedUpload> {
    this.#enter('beginUpload', signal);
    const startedMs = this.clock.nowMs();
    return { key, id: this.bucket.beginUpload(key, startedMs), startedMs };
  }

  close(): void {
    this.isClosed = true;
  }

  override async put(key: string, chunks: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
    this.#enter('put', signal);
    this.clock.advance(this.#defects.putMs ?? 0);
    const bytes = Buffer.concat(chunks);
    await super.put(key, [this.#defects.stored?.(bytes) ?? bytes], signal);
  }

  override async putStream(key: string, bytes: ByteStream, sizeBytes: number, signal: AbortSignal): Promise<void> {
    this.#enter('putStream', signal);
    await super.putStream(key, bytes, sizeBytes, signal);
    const object = this.bucket.objects.get(key);
    if (object === undefined || !this.#defects.swapsParts) return;
    const half = Math.floor(sizeBytes / 2);
    const swapped = Buffer.concat([object.bytes.subarray(half), object.bytes.subarray(0, half)]);
    this.bucket.set(key, swapped, object.modifiedMs);
  }

  override async get(key: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    this.#enter('get', signal);
    return this.#defects.isEventual ? undefined : await super.get(key, maxBytes, signal);
  }

  override async getRange(key: string, offset: number, lengthBytes: number, signal: AbortSignal): Promise<Uint8Array> {
    this.#enter('getRange', signal);
    return await super.getRange(key, this.#defects.ignoresRange ? 0 : offset, lengthBytes, signal);
  }

  override async *list(
    prefix: string,
    after: string | undefined,
    signal: AbortSignal,
  ): AsyncIterable<readonly ObjectInfo[]> {
    this.#enter('list', signal);
    const { ignoresStartAfter, hidden = 0, wrongSizes } = this.#defects;
    for await (const page of super.list(prefix, ignoresStartAfter ? undefined : after, signal)) {
      yield page.slice(hidden).map((info) => (wrongSizes ? { ...info, sizeBytes: 0 } : info));
    }
  }

  override async copy(from: string, to: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
    this.#enter('copy', signal);
    await super.copy(from, to, sizeBytes, signal);
    if (this.#defects.wrongCopies) this.bucket.set(to, Buffer.from('other'), 0);
  }

  override async delete(keys: readonly string[], signal: AbortSignal): Promise<void> {
    this.#enter('delete', signal);
    if (!this.#defects.keepsDeleted) await super.delete(keys, signal);
  }

  override async *unfinishedUploads(signal: AbortSignal): AsyncIterable<readonly UnfinishedUpload[]> {
    this.#enter('unfinishedUploads', signal);
    if (!this.#defects.hidesUploads) yield* super.unfinishedUploads(signal);
  }

  override async dropUpload(upload: UnfinishedUpload, signal: AbortSignal): Promise<void> {
    this.#enter('dropUpload', signal);
    await super.dropUpload(upload, signal);
  }

  #enter(call: S3Call, signal: AbortSignal): void {
    this.#defects.onCall?.(call, signal);
    if (signal.aborted) throw new ReapiError('cancelled', 'the call was cancelled');
    const code = this.#defects.codes?.[call];
    if (code === undefined) return;
    const error = Object.assign(new Error(this.#defects.words ?? 'no'), { name: code });
    throw failureOf(error, { bucket: this.place.bucket, doing: call }).error;
  }
}
