import { parseArgs } from 'node:util';
import { SystemClock } from '../src/system/clock.ts';
import { Gantry, stopEverything } from '../test/clients/gantry.ts';
import { type Cumulative, histogramAt, quantileOf, since } from './metric-quantiles.ts';
import { NoOpClient } from './no-op-client.ts';
import { cpuMsOf } from './process-times.ts';

/**
 * Actions that do nothing, from their upload to their result, with one in flight and with twice as many as there are slots:
 * `npm run build`, then `node bench/execution.ts [--slots 2,4,8,16,32,64] [--actions 2000] [--in-flight 1,16]` for `gantry serve`, or with
 * `--endpoint HOST:PORT --pids 1,2 [--metrics HOST:PORT]` for a server that runs, whose processor time is that of these processes and
 * of all they started. The client is this process, on the same machine; what it costs is not in the server's time.
 */
const OPTIONS = {
  slots: { type: 'string', default: '2,4,8,16,32,64' },
  actions: { type: 'string', default: '2000' },
  'warm-up': { type: 'string', default: '200' },
  'in-flight': { type: 'string' },
  endpoint: { type: 'string' },
  pids: { type: 'string', default: '' },
  metrics: { type: 'string' },
} as const;

const MAX_IN_FLIGHT = 64;

/** So many times fewer actions with one in flight, which takes longer. */
const ALONE_SHARE = 4;

interface Target {
  readonly name: string;
  readonly address: string;
  readonly pids: readonly number[];
  /** Where metrics are, if there are any. */
  readonly http: string | undefined;
}

const clock = new SystemClock();

async function dispatchTimes({ http }: Target): Promise<Cumulative> {
  return http === undefined ? [] : await histogramAt(http, 'gantry_dispatch_seconds');
}

function ownCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** One row of the table. */
async function measure(target: Target, client: NoOpClient, actions: number, inFlight: number): Promise<string> {
  const before = { dispatch: await dispatchTimes(target), cpuMs: cpuMsOf(target.pids), ownMs: ownCpuMs() };
  const startMs = clock.monotonicMs();
  const took = (await client.run(actions, inFlight)).sort((a, b) => a - b);
  const seconds = (clock.monotonicMs() - startMs) / 1000;
  const ownMs = ownCpuMs() - before.ownMs;
  const cpuMs = cpuMsOf(target.pids) - before.cpuMs;
  const dispatch = since(before.dispatch, await dispatchTimes(target));
  const at = (share: number): string => (took[Math.ceil(share * took.length) - 1] ?? 0).toFixed(1);
  const waited = [0.5, 0.9, 0.99].map((share) => quantileOf(dispatch, share));
  const cells = [
    ...[target.name, inFlight, actions, Math.round(actions / seconds), at(0.5), at(0.99)],
    target.pids.length === 0 ? '–' : (cpuMs / actions).toFixed(2),
    (ownMs / actions).toFixed(2),
    waited.map((value) => (value === undefined ? '–' : (value * 1000).toFixed(2))).join(' / '),
  ];
  return `| ${cells.join(' | ')} |`;
}

async function rows(target: Target, loads: readonly number[]): Promise<void> {
  const client = new NoOpClient(target.address);
  const actions = Number(values.actions);
  await client.run(Number(values['warm-up']), Math.max(...loads));
  for (const inFlight of loads) {
    const count = inFlight === 1 ? Math.ceil(actions / ALONE_SHARE) : actions;
    console.log(await measure(target, client, count, inFlight));
  }
  client.close();
}

function numbers(list: string): readonly number[] {
  return list.split(',').filter(Boolean).map(Number);
}

const { values } = parseArgs({ options: OPTIONS });
const loads = values['in-flight'] === undefined ? undefined : numbers(values['in-flight']);

console.log(
  '| slots | in flight | actions | actions/s | p50 ms | p99 ms | CPU ms | of the client | dispatch ms, p50 / p90 / p99 |',
);
console.log('|--:|--:|--:|--:|--:|--:|--:|--:|--:|');
if (values.endpoint !== undefined) {
  const { endpoint: address, metrics: http } = values;
  await rows({ name: address, address, pids: numbers(values.pids), http }, loads ?? [1, MAX_IN_FLIGHT]);
} else {
  try {
    for (const slots of numbers(values.slots)) {
      const { child, ready } = Gantry.begin({ flags: ['--slots', String(slots)] });
      const server = await ready();
      const target = { name: String(slots), address: server.grpcAddress, pids: [child.pid], http: server.httpAddress };
      await rows(target, loads ?? [1, Math.min(2 * slots, MAX_IN_FLIGHT)]);
      await server.stop();
    }
  } finally {
    await stopEverything();
  }
}
