import assert from 'node:assert/strict';
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

  it('sorts observations into buckets', async () => {
    const sizes = metrics.histogram({ name: 'size_bytes', help: 'Sizes.', buckets: [10, 100] });
    for (const value of [5, 50, 500]) sizes.observe(value);
    assert.deepEqual(await lines(), [
      'size_bytes_bucket{le="10"} 1',
      'size_bytes_bucket{le="100"} 2',
      'size_bytes_bucket{le="+Inf"} 3',
      'size_bytes_sum 555',
      'size_bytes_count 3',
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
