import { Histogram } from './histogram.ts';
import type { GaugeValue, Metrics } from './metrics.ts';

/** One finished call. */
export interface FinishedCall {
  /** `/package.Service/Method`, as the caller wrote it. */
  readonly path: string;
  /** gRPC status code, 0 for OK. */
  readonly code: number;
  readonly durationMs: number;
}

/** Upper bounds in seconds: from a cache hit to a long build step. */
const DURATION_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600];

/** Label of every method that is not served, so that callers cannot make series. */
const OTHER = 'other';

/** Largest code that gRPC defines; any other is counted as `other`. */
const MAX_CODE = 16;

/** Where calls with any other code are counted. */
const UNKNOWN_CODE = MAX_CODE + 1;

/** One method: its calls by status code, the last for unknown codes, and their durations. */
interface MethodCalls {
  readonly byCode: Float64Array;
  readonly seconds: Histogram;
}

/** Counts calls by method and status code, and measures how long they took by method. Counting one takes some 50 ns. */
export class RpcMetrics {
  readonly #methods = new Map<string, MethodCalls>();
  readonly #other: MethodCalls = noCalls();

  /** @param paths of the methods that are served. */
  constructor(metrics: Metrics, paths: Iterable<string>) {
    for (const path of paths) this.#methods.set(path, noCalls());
    metrics.counterOf(
      {
        name: 'gantry_rpc_calls_total',
        help: 'Finished calls by method and gRPC status code (0 is OK).',
        labels: ['method', 'code'],
      },
      () => this.#called().flatMap(([method, { byCode }]) => codesOf(method, byCode)),
    );
    metrics.histogramOf({ name: 'gantry_rpc_duration_seconds', help: 'Duration of calls by method.' }, () =>
      this.#called().map(([method, { seconds }]) => ({ labels: { method }, histogram: seconds })),
    );
  }

  /** Counts one call. */
  record(call: FinishedCall): void {
    const { byCode, seconds } = this.#methods.get(call.path) ?? this.#other;
    const { code } = call;
    const index = Number.isInteger(code) && code >= 0 && code <= MAX_CODE ? code : UNKNOWN_CODE;
    byCode[index] = (byCode[index] ?? 0) + 1;
    seconds.observe(call.durationMs / 1000);
  }

  /** Methods that were called, so that a server does not list what nobody uses. */
  #called(): readonly (readonly [method: string, calls: MethodCalls])[] {
    const all: [string, MethodCalls][] = [...this.#methods, [OTHER, this.#other]];
    return all.filter(([, { seconds }]) => seconds.count > 0);
  }
}

function noCalls(): MethodCalls {
  return { byCode: new Float64Array(UNKNOWN_CODE + 1), seconds: new Histogram(DURATION_BUCKETS) };
}

function codesOf(method: string, byCode: Float64Array): readonly GaugeValue[] {
  return [...byCode].flatMap((value, code) =>
    value === 0 ? [] : [{ labels: { method, code: code === UNKNOWN_CODE ? OTHER : String(code) }, value }],
  );
}
