import assert from 'node:assert/strict';
import { Metrics } from './metrics.ts';
import { RpcMetrics } from './rpc-metrics.ts';

describe('RpcMetrics', () => {
  let metrics: Metrics;
  let calls: RpcMetrics;

  beforeEach(() => {
    metrics = new Metrics();
    calls = new RpcMetrics(metrics, ['/a.Service/Get', '/a.Service/Put']);
  });

  it('counts calls by method and code', async () => {
    calls.record({ path: '/a.Service/Get', code: 0, durationMs: 1 });
    calls.record({ path: '/a.Service/Get', code: 0, durationMs: 1 });
    calls.record({ path: '/a.Service/Put', code: 5, durationMs: 1 });
    const text = await metrics.text();
    assert.match(text, /^gantry_rpc_calls_total\{method="\/a.Service\/Get",code="0"\} 2$/m);
    assert.match(text, /^gantry_rpc_calls_total\{method="\/a.Service\/Put",code="5"\} 1$/m);
  });

  it('measures durations in seconds', async () => {
    calls.record({ path: '/a.Service/Get', code: 0, durationMs: 250 });
    const text = await metrics.text();
    assert.match(text, /^gantry_rpc_duration_seconds_sum\{method="\/a.Service\/Get"\} 0.25$/m);
    assert.match(text, /_bucket\{le="0.1",method="\/a.Service\/Get"\} 0$/m);
    assert.match(text, /_bucket\{le="0.25",method="\/a.Service\/Get"\} 1$/m);
  });

  it('makes one series of everything that callers invent', async () => {
    for (let at = 0; at < 100; at++) calls.record({ path: `/made.Up/Method${at}`, code: 12, durationMs: 0 });
    for (const code of [17, -1, 1.5, Number.NaN]) calls.record({ path: '/made.Up/M', code, durationMs: 0 });
    const series = (await metrics.text()).split('\n').filter((line) => line.startsWith('gantry_rpc_calls_total'));
    assert.deepEqual(series, [
      'gantry_rpc_calls_total{method="other",code="12"} 100',
      'gantry_rpc_calls_total{method="other",code="other"} 4',
    ]);
  });
});
