import assert from 'node:assert/strict';
import { Histogram } from './histogram.ts';
import { type GaugeValue, Metrics } from './metrics.ts';

describe('Metrics', () => {
  let metrics: Metrics;
  const lines = async (): Promise<readonly string[]> =>
    (await metrics.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));

  beforeEach(() => {
    metrics = new Metrics();
  });

  it('counts by label', async () => {
    const blobs = metrics.counter({ name: 'blobs_total', help: 'Blobs.', labels: ['store'] });
    blobs.add(2, { store: 'disk' });
    blobs.add(3, { store: 'disk' });
    blobs.add(1, { store: 'memory' });
    assert.deepEqual(await lines(), ['blobs_total{store="disk"} 5', 'blobs_total{store="memory"} 1']);
  });

  it('counts without labels', async () => {
    metrics.counter({ name: 'starts_total', help: 'Starts.' }).add(1);
    assert.deepEqual(await lines(), ['starts_total 1']);
  });

  it('shows numbers that are counted elsewhere as counters', async () => {
    let count = 3;
    metrics.counterOf({ name: 'looks_total', help: 'Looks.' }, () => count);
    const seen = (): GaugeValue[] => [
      { labels: { result: 'hit' }, value: count },
      { labels: { result: 'miss' }, value: 1 },
    ];
    metrics.counterOf({ name: 'seen_total', help: 'Seen.', labels: ['result'] }, seen);
    assert.match(await metrics.text(), /^# HELP looks_total Looks\.\n# TYPE looks_total counter\nlooks_total 3$/m);
    count = 5;
    assert.deepEqual(await lines(), ['looks_total 5', 'seen_total{result="hit"} 5', 'seen_total{result="miss"} 1']);
  });

  it('shows a histogram that is kept elsewhere', async () => {
    const sizes = new Histogram([10, 100]);
    metrics.histogramOf({ name: 'size_bytes', help: 'Sizes.' }, () => sizes);
    for (const value of [5, 50, 500]) sizes.observe(value);
    assert.match(await metrics.text(), /^# HELP size_bytes Sizes\.\n# TYPE size_bytes histogram\nsize_bytes_bucket/m);
    assert.deepEqual(await lines(), [
      'size_bytes_bucket{le="10"} 1',
      'size_bytes_bucket{le="100"} 2',
      'size_bytes_bucket{le="+Inf"} 3',
      'size_bytes_sum 555',
      'size_bytes_count 3',
    ]);
  });

  it('shows a histogram for each set of labels, their values escaped', async () => {
    const get = new Histogram([1]);
    get.observe(2);
    metrics.histogramOf({ name: 'age_seconds', help: 'Age.' }, () => [
      { labels: { what: 'a "b"\n\\' }, histogram: get },
      { labels: { what: 'c' }, histogram: new Histogram([1]) },
    ]);
    assert.deepEqual(await lines(), [
      'age_seconds_bucket{le="1",what="a \\"b\\"\\n\\\\"} 0',
      'age_seconds_bucket{le="+Inf",what="a \\"b\\"\\n\\\\"} 1',
      'age_seconds_sum{what="a \\"b\\"\\n\\\\"} 2',
      'age_seconds_count{what="a \\"b\\"\\n\\\\"} 1',
      'age_seconds_bucket{le="1",what="c"} 0',
      'age_seconds_bucket{le="+Inf",what="c"} 0',
      'age_seconds_sum{what="c"} 0',
      'age_seconds_count{what="c"} 0',
    ]);
  });

  it('asks for a gauge whenever someone looks', async () => {
    let queued = 1;
    metrics.gauge({ name: 'queued', help: 'Queued.' }, () => queued);
    assert.deepEqual(await lines(), ['queued 1']);
    queued = 7;
    assert.deepEqual(await lines(), ['queued 7']);
  });

  it('forgets labels of a gauge that are gone', async () => {
    let values: readonly GaugeValue[] = [
      { labels: { node: 'a' }, value: 1 },
      { labels: { node: 'b' }, value: 2 },
    ];
    metrics.gauge({ name: 'slots', help: 'Slots.', labels: ['node'] }, () => values);
    assert.equal((await lines()).length, 2);
    values = values.slice(1);
    assert.deepEqual(await lines(), ['slots{node="b"} 2']);
  });

  it('refuses a name that is taken, and labels that were not declared', () => {
    const first = metrics.counter({ name: 'a_total', help: 'A.' });
    assert.throws(() => metrics.counter({ name: 'a_total', help: 'A.' }), /already been registered/);
    assert.throws(() => metrics.histogramOf({ name: 'a_total', help: 'A.' }, () => []), /already been registered/);
    assert.throws(() => first.add(1, { who: 'x' }), /label/);
  });

  it('keeps registries apart', async () => {
    new Metrics().counter({ name: 'a_total', help: 'A.' }).add(1);
    assert.deepEqual(await lines(), []);
  });

  it('knows the process and the delay of its event loop', async () => {
    metrics.addProcess();
    const text = await metrics.text();
    for (const name of ['process_cpu_seconds_total', 'process_resident_memory_bytes', 'nodejs_eventloop_lag_seconds']) {
      assert.match(text, new RegExp(`^${name} `, 'm'));
    }
    assert.match(metrics.contentType, /^text\/plain; version=/);
  });
});
