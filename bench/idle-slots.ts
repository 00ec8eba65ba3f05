import { parseArgs } from 'node:util';
import { SystemClock, sleep } from '../src/system/clock.ts';
import { Gantry, stopEverything } from '../test/clients/gantry.ts';
import { cpuMsOf } from './process-times.ts';
import { SimulatedFleet } from './simulated-fleet.ts';

/**
 * What slots that wait for work cost a server: `npm run build`, then
 * `node bench/idle-slots.ts [--slots 1000] [--connections 4,125] [--seconds 100]`. Half of the slots run our worker's loop, half speak as
 * bb_worker does; each makes its next call when the one before is answered, which takes `execution.idlePollSeconds`, here the default of 100 s.
 * The first row is a server without slots.
 */
const NEVER = new AbortController().signal;
const SPREAD_MS = 40_000;
const SETTLE_MS = 20_000;
const clock = new SystemClock();

const { values } = parseArgs({
  options: {
    slots: { type: 'string', default: '1000' },
    connections: { type: 'string', default: '4,125' },
    seconds: { type: 'string', default: '100' },
  },
});

async function measure(slots: number, connections: number): Promise<string> {
  const { child, ready } = Gantry.begin({ role: 'server' });
  const { grpcAddress } = await ready();
  const fleet = new SimulatedFleet(grpcAddress, {
    ...{ slots, connections, hasBuildbarn: true },
    ...{ spreadMs: SPREAD_MS, finish: Promise.resolve() },
  });
  await sleep(clock, slots === 0 ? SETTLE_MS : SPREAD_MS + SETTLE_MS, NEVER);
  const before = { cpuMs: cpuMsOf([child.pid]), calls: fleet.calls, atMs: clock.monotonicMs() };
  await sleep(clock, Number(values.seconds) * 1000, NEVER);
  const tookMs = clock.monotonicMs() - before.atMs;
  const share = (cpuMsOf([child.pid]) - before.cpuMs) / tookMs;
  const callsASecond = ((fleet.calls - before.calls) * 1000) / tookMs;
  await fleet.stop();
  child.signal('SIGTERM');
  await child.end();
  return `| ${slots} | ${connections} | ${callsASecond.toFixed(1)} | ${(share * 100).toFixed(2)} % |`;
}

console.log('| idle slots | connections | calls a second | CPU, of one core |');
console.log('|--:|--:|--:|--:|');
try {
  console.log(await measure(0, 0));
  for (const connections of values.connections.split(',').map(Number)) {
    console.log(await measure(Number(values.slots), connections));
  }
} finally {
  await stopEverything();
}
