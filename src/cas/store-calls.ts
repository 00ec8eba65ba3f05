import { type ErrorKind, ReapiError } from '../errors.ts';
import { FAST_SECONDS, Histogram } from '../system/histogram.ts';

/** What a store is asked, as metrics spell it. */
export type StoreOperation = 'find-missing' | 'open' | 'put' | 'get-bytes' | 'put-bytes';

/** `internal` also for errors that are no `ReapiError`; `stopped`: the reader wanted no more. */
export type CallOutcome = 'ok' | 'stopped' | ErrorKind;

/** The finished calls of one operation. Counting a success allocates nothing. */
export class OperationCalls {
  readonly operation: StoreOperation;
  /** From the call to its answer, or to the end of its stream; failures too. */
  readonly seconds = new Histogram(FAST_SECONDS);
  readonly #others = new Map<CallOutcome, number>();
  #ok = 0;
  #bytes = 0;

  constructor(operation: StoreOperation) {
    this.operation = operation;
  }

  /** A call went well. @param bytes of blobs that passed in either direction. */
  succeeded(bytes: number, seconds: number): void {
    this.#ok++;
    this.#bytes += bytes;
    this.seconds.observe(seconds);
  }

  /** A call ended otherwise. @param bytes that passed before. */
  ended(outcome: Exclude<CallOutcome, 'ok'>, bytes: number, seconds: number): void {
    this.#others.set(outcome, (this.#others.get(outcome) ?? 0) + 1);
    this.#bytes += bytes;
    this.seconds.observe(seconds);
  }

  /** A call failed. */
  failed(error: unknown, bytes: number, seconds: number): void {
    this.ended(error instanceof ReapiError ? error.kind : 'internal', bytes, seconds);
  }

  /** Blob bytes of all calls. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Number of calls by outcome, those that occurred. */
  get outcomes(): ReadonlyMap<CallOutcome, number> {
    const ok: readonly [CallOutcome, number][] = this.#ok === 0 ? [] : [['ok', this.#ok]];
    return new Map([...ok, ...this.#others]);
  }
}

/** The finished calls to one store since the start. */
export class StoreCalls {
  readonly findMissing = new OperationCalls('find-missing');
  readonly open = new OperationCalls('open');
  readonly put = new OperationCalls('put');
  readonly getBytes = new OperationCalls('get-bytes');
  readonly putBytes = new OperationCalls('put-bytes');
  #asked = 0;
  #missing = 0;

  /** Digests were looked up; repeats of an absent one count as present. */
  lookedUp(asked: number, missing: number): void {
    this.#asked += asked;
    this.#missing += missing;
  }

  /** Digests that were looked up, by whether the blob was there. */
  get lookups(): { readonly present: number; readonly missing: number } {
    return { present: this.#asked - this.#missing, missing: this.#missing };
  }

  /** Every operation. */
  get operations(): readonly OperationCalls[] {
    return [this.findMissing, this.open, this.put, this.getBytes, this.putBytes];
  }
}
