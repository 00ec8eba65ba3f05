import { Histogram } from '../../system/histogram.ts';

/** What an object store bills for, each with a price of its own. A range read is a `get`. */
export const S3_OPERATIONS = [
  ...(['put', 'get', 'list', 'delete', 'copy'] as const),
  ...(['begin-upload', 'put-part', 'copy-part', 'complete-upload', 'drop-upload', 'list-uploads'] as const),
];

/** One of `S3_OPERATIONS`. */
export type S3Operation = (typeof S3_OPERATIONS)[number];

/** How one request ended. A call that is tried three times makes three requests. */
export interface RequestOutcome {
  readonly seconds: number;
  /** Of the body, whether it arrived or not. */
  readonly sentBytes: number;
  /** Of the body, as far as it was read. */
  readonly receivedBytes: number;
  /** The code of S3 or of the operating system if it failed: `SlowDown`, `ECONNRESET`. An absent object is a failure, too. */
  readonly error?: string;
}

/** What was counted of one operation since the start. */
export interface OperationCounts {
  readonly requests: number;
  /** Requests that failed, by code. */
  readonly errors: ReadonlyMap<string, number>;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /** From sending to the end of the answer, also of those that failed. */
  readonly seconds: Histogram;
}

/** Upper bounds of the time a request takes, in seconds: from a server in the same rack to one that is given up. */
const REQUEST_SECONDS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60];

/** Codes come from the server: those beyond this number share one row. */
const MAX_CODES = 64;
const OTHER_CODES = 'other';

class Row implements OperationCounts {
  requests = 0;
  sentBytes = 0;
  receivedBytes = 0;
  readonly errors = new Map<string, number>();
  readonly seconds = new Histogram(REQUEST_SECONDS);
}

/** Requests sent to an object store, the tries that failed included, since every one of them is paid for. */
export class RequestCounts {
  readonly #rows = new Map<S3Operation, Row>(S3_OPERATIONS.map((operation) => [operation, new Row()]));

  /** Counts one request that has ended. */
  record(operation: S3Operation, outcome: RequestOutcome): void {
    const row = this.#row(operation);
    row.requests += 1;
    row.sentBytes += outcome.sentBytes;
    row.receivedBytes += outcome.receivedBytes;
    row.seconds.observe(outcome.seconds);
    if (outcome.error === undefined) return;
    const code = row.errors.has(outcome.error) || row.errors.size < MAX_CODES ? outcome.error : OTHER_CODES;
    row.errors.set(code, (row.errors.get(code) ?? 0) + 1);
  }

  /** The counts of an operation; they go on rising. */
  of(operation: S3Operation): OperationCounts {
    return this.#row(operation);
  }

  /** Requests of all operations. */
  get total(): number {
    let total = 0;
    for (const row of this.#rows.values()) total += row.requests;
    return total;
  }

  #row(operation: S3Operation): Row {
    const row = this.#rows.get(operation) ?? new Row();
    this.#rows.set(operation, row);
    return row;
  }
}
