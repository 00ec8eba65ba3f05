import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** Values of the labels of one series. Bounded sets only: never names, digests or paths that callers choose. */
export type Labels = Readonly<Record<string, string>>;

/** Counts up. */
export interface CounterMetric {
  /** @param by not negative. */
  add(by: number, labels?: Labels): void;
}

/** Counts observations by size. */
export interface HistogramMetric {
  observe(value: number, labels?: Labels): void;
}

/** One value of a gauge that has labels. */
export interface GaugeValue {
  readonly labels: Labels;
  readonly value: number;
}

/** What a metric is: names end in their unit, counters in `_total`. */
export interface MetricOptions {
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
}

/** Metrics in Prometheus's text form. One registry for a process, handed to whoever counts. */
export class Metrics {
  readonly #registry = new Registry();

  /** Adds the process: CPU, memory, file descriptors, garbage collection, and the delay of the event loop, which is the best sign of overload. */
  addProcess(): void {
    collectDefaultMetrics({ register: this.#registry });
  }

  /** A new counter. A name can be used once. */
  counter(options: MetricOptions): CounterMetric {
    const counter = new Counter({ ...this.#settings(options) });
    return { add: (by, labels = {}) => counter.inc(labels, by) };
  }

  /** A new histogram with the given upper bounds, in the unit of the name. */
  histogram(options: MetricOptions & { readonly buckets: readonly number[] }): HistogramMetric {
    const histogram = new Histogram({ ...this.#settings(options), buckets: [...options.buckets] });
    return { observe: (value, labels = {}) => histogram.observe(labels, value) };
  }

  /** A new gauge whose value is asked for when someone looks. */
  gauge(options: MetricOptions, read: () => number | readonly GaugeValue[]): void {
    new Gauge({
      ...this.#settings(options),
      collect() {
        const values = read();
        this.reset();
        if (typeof values === 'number') this.set(values);
        else for (const { labels, value } of values) this.set(labels, value);
      },
    });
  }

  /** Everything, as Prometheus reads it. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** Media type of `text`. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  #settings({ name, help, labels = [] }: MetricOptions) {
    return { name, help, labelNames: [...labels], registers: [this.#registry] };
  }
}
