import type { CounterMetric, HistogramMetric, Metrics } from './metrics.ts';

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

/** Counts calls by method and status code, and measures how long they took by method. */
export class RpcMetrics {
  readonly #known: ReadonlySet<string>;
  readonly #calls: CounterMetric;
  readonly #durations: HistogramMetric;

  /** @param paths of the methods that are served. */
  constructor(metrics: Metrics, paths: Iterable<string>) {
    this.#known = new Set(paths);
    this.#calls = metrics.counter({
      name: 'gantry_rpc_calls_total',
      help: 'Finished calls by method and gRPC status code (0 is OK).',
      labels: ['method', 'code'],
    });
    this.#durations = metrics.histogram({
      name: 'gantry_rpc_duration_seconds',
      help: 'Duration of calls by method.',
      labels: ['method'],
      buckets: DURATION_BUCKETS,
    });
  }

  /** Counts one call. */
  record(call: FinishedCall): void {
    const method = this.#known.has(call.path) ? call.path : OTHER;
    const isKnownCode = Number.isInteger(call.code) && call.code >= 0 && call.code <= MAX_CODE;
    this.#calls.add(1, { method, code: isKnownCode ? String(call.code) : OTHER });
    this.#durations.observe(call.durationMs / 1000, { method });
  }
}
