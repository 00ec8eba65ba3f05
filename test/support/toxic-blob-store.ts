import type { BlobStore } from '../../src/cas/blob-store.ts';
import type { Digest } from '../../src/digest/digest.ts';
import { ReapiError } from '../../src/errors.ts';
import type { ByteRange, ByteStream } from '../../src/system/byte-stream.ts';

/** What goes wrong with one call. */
export type Fault = 'none' | 'delay' | 'fail-before' | 'fail-middle' | 'fail-after' | 'truncate' | 'corrupt' | 'hang';

/** All faults, for callers that must survive every one. */
export const ALL_FAULTS: readonly Fault[] = [
  'none',
  'delay',
  'fail-before',
  'fail-middle',
  'fail-after',
  'truncate',
  'corrupt',
  'hang',
];

/** How a toxic store misbehaves. */
export interface Toxicity {
  readonly seed: number;
  /** Drawn from evenly, once per call. */
  readonly faults: readonly Fault[];
  /** What a delayed call waits for: the test decides when. */
  readonly pause: () => Promise<void>;
}

/**
 * A store that misbehaves by seed. What each caller must survive:
 *
 * - `delay`: the call waits for `pause` first. Everyone: order of completion is nobody's promise.
 * - `fail-before`: `unavailable`, and nothing was done. Everyone: pass it on or try elsewhere; cache no absence.
 * - `fail-middle`: a stream breaks after its first chunk (`unavailable`); other calls as `fail-before`. Everyone who streams: release the
 *   other side, hand out no partial blob as a whole one.
 * - `fail-after`: it was done, and `unavailable` is reported. Everyone who puts: a put that failed may have happened; doing it again is harmless.
 * - `truncate`, `corrupt`: a read ends early, or has a flipped bit, without an error: a store below without checks, a network.
 *   Only callers whose task is verifying: tiers that keep what they read, the worker's download. Others may assume honest bytes.
 * - `hang`: no answer until the signal aborts, then `cancelled`. Everyone with a deadline or a client that may leave.
 */
export class ToxicBlobStore implements BlobStore {
  readonly #inner: BlobStore;
  readonly #toxicity: Toxicity;
  #state: number;

  constructor(inner: BlobStore, toxicity: Toxicity) {
    this.#inner = inner;
    this.#toxicity = toxicity;
    this.#state = toxicity.seed >>> 0;
  }

  findMissing(digests: readonly Digest[], signal: AbortSignal): Promise<readonly Digest[]> {
    return this.#call(this.#draw(), signal, () => this.#inner.findMissing(digests, signal));
  }

  open(digest: Digest, range: ByteRange, signal: AbortSignal): Promise<ByteStream> {
    const fault = this.#draw();
    const atCall = fault === 'fail-middle' || fault === 'fail-after' ? 'none' : fault;
    return this.#call(atCall, signal, async () => poisoned(await this.#inner.open(digest, range, signal), fault));
  }

  put(digest: Digest, bytes: ByteStream, signal: AbortSignal): Promise<void> {
    const fault = this.#draw();
    if (fault !== 'fail-middle') return this.#call(fault, signal, () => this.#inner.put(digest, bytes, signal));
    return this.#inner.put(digest, poisoned(bytes, fault), signal);
  }

  getBytes(digest: Digest, signal: AbortSignal): Promise<Uint8Array> {
    const fault = this.#draw();
    return this.#call(fault, signal, async () => {
      const bytes = await this.#inner.getBytes(digest, signal);
      if (fault === 'truncate') return bytes.subarray(0, bytes.length >> 1);
      return fault === 'corrupt' ? flipped(bytes) : bytes;
    });
  }

  putBytes(digest: Digest, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    return this.#call(this.#draw(), signal, () => this.#inner.putBytes(digest, bytes, signal));
  }

  async #call<T>(fault: Fault, signal: AbortSignal, run: () => Promise<T>): Promise<T> {
    if (fault === 'delay') await this.#toxicity.pause();
    if (fault === 'hang') await untilAborted(signal);
    if (fault === 'fail-before' || fault === 'fail-middle') throw broken(fault);
    const result = await run();
    if (fault === 'fail-after') throw broken(fault);
    return result;
  }

  /** A linear congruential step (Numerical Recipes' constants); the high bits choose. */
  #draw(): Fault {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    const at = Math.floor((this.#state / 2 ** 32) * this.#toxicity.faults.length);
    return this.#toxicity.faults[at] ?? 'none';
  }
}

async function* poisoned(stream: ByteStream, fault: Fault): ByteStream {
  let isFirst = true;
  for await (const chunk of stream) {
    if (fault === 'truncate') {
      const half = chunk.subarray(0, chunk.length >> 1);
      if (half.length > 0) yield half;
      return;
    }
    yield fault === 'corrupt' && isFirst ? flipped(chunk) : chunk;
    if (fault === 'fail-middle') throw broken(fault);
    isFirst = false;
  }
  if (fault === 'fail-middle' || fault === 'fail-after') throw broken(fault);
}

function flipped(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(bytes);
  const at = copy.length >> 1;
  if (copy.length > 0) copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const fail = (): void => reject(new ReapiError('cancelled', 'the call was cancelled', { cause: signal.reason }));
    if (signal.aborted) fail();
    else signal.addEventListener('abort', fail, { once: true });
  });
}

function broken(fault: Fault): ReapiError {
  return new ReapiError('unavailable', `a toxic store: ${fault}`);
}
