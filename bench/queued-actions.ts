import { parseArgs } from 'node:util';
import { SystemClock, sleep } from '../src/system/clock.ts';
import { Gantry, stopEverything } from '../test/clients/gantry.ts';
import { NoOpClient } from './no-op-client.ts';
import { cpuMsOf } from './process-times.ts';
import { SimulatedFleet } from './simulated-fleet.ts';

/**
 * What the server alone costs an action: `npm run build`, then `node bench/queued-actions.ts [--slots 1000] [--queued 10000] [--rounds 3]`.
 * Slots run our worker's loop with nothing behind it. First they hold what they got while clients ask for more, until so many
 * actions are queued; then all end at once, and so does every further one as soon as it starts. Clients and slots share one process, so rates are theirs.
 */
const NEVER = new AbortController().signal;

/** So many, each with less calls in flight than the server allows on one connection. */
const CLIENTS = 16;
const FLEET_CONNECTIONS = 16;
const LOOK_MS = 250;
const clock = new SystemClock();

const { values } = parseArgs({
  options: {
    slots: { type: 'string', default: '1000' },
    queued: { type: 'string', default: '10000' },
    rounds: { type: 'string', default: '3' },
  },
});
const slots = Number(values.slots);
const actions = Math.ceil((slots + Number(values.queued)) / CLIENTS) * CLIENTS;

/** Two rows of the table: until all wait, and until all are done. */
async function round(server: Gantry, pid: number): Promise<void> {
  const finish = Promise.withResolvers<void>();
  const options = { slots, connections: FLEET_CONNECTIONS, spreadMs: 0, hasBuildbarn: false, finish: finish.promise };
  const fleet = new SimulatedFleet(server.grpcAddress, options);
  await reached(server, 'gantry_pool_slots', slots);
  const clients = Array.from({ length: CLIENTS }, () => new NoOpClient(server.grpcAddress));
  let print = rowPrinter(pid, fleet);
  const done = Promise.all(clients.map((client) => client.run(actions / CLIENTS, actions / CLIENTS)));
  await Promise.race([done, reached(server, 'gantry_queued_tasks', actions - slots)]);
  print('uploaded and queued');
  print = rowPrinter(pid, fleet);
  finish.resolve();
  await done;
  print('given out and finished');
  for (const client of clients) client.close();
  await fleet.stop();
}

function rowPrinter(pid: number, fleet: SimulatedFleet): (what: string) => void {
  const before = { cpuMs: cpuMsOf([pid]), atMs: clock.monotonicMs(), calls: fleet.calls };
  return (what) => {
    const seconds = (clock.monotonicMs() - before.atMs) / 1000;
    const cpuMs = (cpuMsOf([pid]) - before.cpuMs) / actions;
    const calls = (fleet.calls - before.calls) / actions;
    const cells = [what, actions, Math.round(actions / seconds), cpuMs.toFixed(3), calls.toFixed(2)];
    console.log(`| ${cells.join(' | ')} |`);
  };
}

/** Resolves when a metric, all of its series together, has a value. */
async function reached({ httpAddress }: Gantry, name: string, value: number): Promise<void> {
  const pattern = new RegExp(`^${name}(?:{.*})? (\\S+)$`, 'gm');
  for (;;) {
    const text = await (await fetch(`http://${httpAddress}/metrics`)).text();
    const sum = Array.from(text.matchAll(pattern), ([, each]) => Number(each)).reduce((a, b) => a + b, 0);
    if (sum === value) return;
    await sleep(clock, LOOK_MS, NEVER);
  }
}

console.log(`| ${slots} slots | actions | a second | CPU ms of the server | Synchronize calls |`);
console.log('|---|--:|--:|--:|--:|');
try {
  const { child, ready } = Gantry.begin({ role: 'server' });
  const server = await ready();
  for (let done = 0; done < Number(values.rounds); done++) await round(server, child.pid);
  await server.stop();
} finally {
  await stopEverything();
}
