import type { Child } from './child.ts';
import { eventually } from './eventually.ts';
import { type Gantry, startWorker } from './gantry.ts';
import { type Properties, propertyList } from './remote-actions.ts';

/** A worker that says what it is, whatever this machine is. */
export interface DeclaredWorker {
  readonly node: string;
  readonly properties: Properties;
  /** Default: 1. */
  readonly slots?: number;
  /** A former worker's folder: the new one is then the same worker, come back. */
  readonly data?: string;
}

/** Starts a worker. Resolves when the server knows it as it is now. */
export async function startDeclaredWorker(server: Gantry, worker: DeclaredWorker): Promise<Child> {
  const { node, properties, slots = 1, data } = worker;
  const platform = propertyList(properties);
  const config = { worker: { detectPlatform: false, nodeName: node, platform } };
  const options = { config, ...(data !== undefined && { data }) };
  const child = await startWorker(server, ['--slots', String(slots)], options);
  await eventually(`${node} is in the fleet`, async () => {
    const { nodes = [], pools = [] } = await fleetOf(server);
    const own = nodes.find(({ name }) => name.includes(`node=${node},`));
    const offered = own?.slots.map((slot) => pools.find(({ id }) => id === slot.pool)?.platform ?? '') ?? [];
    const isWhole = offered.length === slots && own?.slots.every(({ state }) => state === 'waiting');
    return isWhole && platform.every(({ value }) => offered.every((text) => text.includes(value))) ? true : undefined;
  });
  return child;
}

/** What `/api/v1/fleet` says, as far as tests look at it. */
export interface FleetJson {
  readonly counts: {
    readonly operations: number;
    readonly slots: number;
    readonly busySlots: number;
    readonly queuedTasks: number;
  };
  readonly pools?: readonly { readonly id: string; readonly name: string; readonly platform: string }[];
  readonly nodes?: readonly {
    readonly name: string;
    readonly slots: readonly { readonly pool: string; readonly state: string; readonly isDrained: boolean }[];
  }[];
  readonly drains?: readonly { readonly reason: string }[];
}

/** The fleet as HTTP shows it. */
export async function fleetOf(server: Gantry): Promise<FleetJson> {
  const response = await fetch(`http://${server.httpAddress}/api/v1/fleet?nodes=true`);
  if (!response.ok) throw new Error(`/api/v1/fleet: ${response.status} ${await response.text()}`);
  return (await response.json()) as FleetJson;
}
