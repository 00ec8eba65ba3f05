import type { RangeSource } from '../../src/cas/s3/range-reader.ts';
import { ReapiError } from '../../src/errors.ts';

/** A request that the test answers when it wants to. */
export interface RangeRequest {
  readonly key: string;
  readonly offset: number;
  readonly lengthBytes: number;
  readonly isAborted: boolean;
  /** Answers with the bytes, or as an object store does if they are not there. */
  answer(): void;
  fail(error: unknown): void;
}

/** Objects of which ranges can be read, one request at a time under the control of a test. It injects no faults of its own. */
export class RangeObjects implements RangeSource {
  readonly objects = new Map<string, Uint8Array>();
  /** All requests ever made, in order. */
  readonly requests: RangeRequest[] = [];
  /** Called with each request; the default answers in the next turn. */
  onRequest: (request: RangeRequest) => void = (request) => void setImmediate(() => request.answer());
  running = 0;
  maxRunning = 0;
  runningBytes = 0;
  maxRunningBytes = 0;

  /** Stores an object whose bytes differ from each other as far as they can. */
  add(key: string, sizeBytes: number): Uint8Array {
    const bytes = new Uint8Array(sizeBytes);
    for (let at = 0; at < sizeBytes; at++) bytes[at] = at * 7 + (at >> 8) * 13;
    this.objects.set(key, bytes);
    return bytes;
  }

  getRange(key: string, offset: number, lengthBytes: number, signal: AbortSignal): Promise<Uint8Array> {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    this.#count(1, lengthBytes);
    let isOver = false;
    const end = (settle: () => void): void => {
      if (isOver) return;
      isOver = true;
      this.#count(-1, -lengthBytes);
      signal.removeEventListener('abort', onAbort);
      settle();
    };
    const onAbort = (): void => end(() => reject(new ReapiError('cancelled', 'the request was aborted')));
    signal.addEventListener('abort', onAbort, { once: true });
    const answer = (): void => {
      const bytes = this.objects.get(key);
      if (bytes === undefined) end(() => reject(new ReapiError('not-found', 'there is no such object')));
      else if (offset + lengthBytes > bytes.length)
        end(() => reject(new ReapiError('data-loss', 'the object ends before')));
      else end(() => resolve(bytes.slice(offset, offset + lengthBytes)));
    };
    const request: RangeRequest = {
      ...{ key, offset, lengthBytes, answer },
      fail: (error) => end(() => reject(error)),
      get isAborted() {
        return signal.aborted;
      },
    };
    this.requests.push(request);
    this.onRequest(request);
    return promise;
  }

  #count(requests: number, bytes: number): void {
    this.running += requests;
    this.runningBytes += bytes;
    this.maxRunning = Math.max(this.maxRunning, this.running);
    this.maxRunningBytes = Math.max(this.maxRunningBytes, this.runningBytes);
  }
}
