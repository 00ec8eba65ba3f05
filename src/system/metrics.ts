import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { invariant } from '../errors.ts';
import { Histogram } from './histogram.ts';

/** Values of the labels of one series. Bounded sets only: never names, digests or paths that callers choose. */
export type Labels = Readonly<Record<string, string>>;

/** Counts up. */
export interface CounterMetric {
  /** @param by not negative. */
  add(by: number, labels?: Labels): void;
}

/** One value of a metric that has labels. */
export interface GaugeValue {
  readonly labels: Labels;
  readonly value: number;
}

/** One series of a histogram that has labels. */
export interface LabelledHistogram {
  readonly labels: Labels;
  readonly histogram: Histogram;
}

/** What a metric is: names end in their unit, counters in `_total`. */
export interface MetricOptions {
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
}

/** How often the event loop is looked at: each look wakes an idle process, and the delay that is reported is at least so long. */
const EVENT_LOOP_PRECISION_MS = 50;

/** Metrics in Prometheus's text form. One registry for a process, handed to whoever counts. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #names = new Set<string>();
  /** Each writes one histogram. prom-client cannot show observations that are not made through it. */
  readonly #histograms: (() => string)[] = [];

  /** Adds the process: CPU, memory, file descriptors, garbage collection, and the delay of the event loop, which is the best sign of overload. */
  addProcess(): void {
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: EVENT_LOOP_PRECISION_MS });
  }

  /** A new counter. A name can be used once. */
  counter(options: MetricOptions): CounterMetric {
    const counter = new Counter({ ...this.#settings(options) });
    return { add: (by, labels = {}) => counter.inc(labels, by) };
  }

  /**
   * A new counter over numbers that are counted where it costs nearly nothing, and asked for when someone looks.
   * They never go down.
   */
  counterOf(options: MetricOptions, read: () => number | readonly GaugeValue[]): void {
    new Counter({
      ...this.#settings(options),
      collect() {
        const values = read();
        this.reset();
        if (typeof values === 'number') this.inc(values);
        else for (const { labels, value } of values) this.inc(labels, value);
      },
    });
  }

  /** A new histogram over what is observed elsewhere, in the unit of the name; asked for when someone looks. */
  histogramOf(options: Omit<MetricOptions, 'labels'>, read: () => Histogram | readonly LabelledHistogram[]): void {
    this.#take(options.name);
    this.#histograms.push(() => {
      const values = read();
      const series = values instanceof Histogram ? [{ labels: {}, histogram: values }] : values;
      return histogramText(options, series);
    });
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
  async text(): Promise<string> {
    const text = await this.#registry.metrics();
    return [text, ...this.#histograms.map((write) => write())].join('\n');
  }

  /** Media type of `text`. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  #settings({ name, help, labels = [] }: MetricOptions) {
    this.#take(name);
    return { name, help, labelNames: [...labels], registers: [this.#registry] };
  }

  #take(name: string): void {
    invariant(!this.#names.has(name), `the metric ${name} has already been registered`);
    this.#names.add(name);
  }
}

/** The lines of one histogram, `help` being plain text. */
function histogramText(options: MetricOptions, series: readonly LabelledHistogram[]): string {
  const { name, help } = options;
  const lines = [`# HELP ${name} ${help}`, `# TYPE ${name} histogram`];
  for (const { labels, histogram } of series) {
    for (const [bound, count] of histogram.cumulative()) {
      const le = bound === Number.POSITIVE_INFINITY ? '+Inf' : String(bound);
      lines.push(`${name}_bucket${labelsText({ le, ...labels })} ${count}`);
    }
    lines.push(`${name}_sum${labelsText(labels)} ${histogram.sum}`);
    lines.push(`${name}_count${labelsText(labels)} ${histogram.count}`);
  }
  return `${lines.join('\n')}\n`;
}

function labelsText(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}

/** As Prometheus's text form writes the value of a label. */
function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
}
