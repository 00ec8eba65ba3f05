import type { FleetAction, FleetSnapshot, MatchingSlots, Pool } from '../../gen/gantry/v1/fleet.ts';
import { readableCount } from './readable.ts';
import { printable } from './terminal.ts';

/** Characters of a hash that tell actions apart for people. */
const SHORT_HASH = 12;

/** Most ids of shares and labels are short; a UUID is told apart by its beginning. */
const UUID = /^([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** `1 slot`, `1,200 slots`. */
export function counted(count: number, thing: string): string {
  return `${readableCount(count)} ${thing}${count === 1 ? '' : 's'}`;
}

/** `HASH/SIZE`, as other commands take it. */
export function actionText({ hash, sizeBytes }: FleetAction): string {
  return printable(`${hash}/${sizeBytes}`);
}

/** The beginning of the hash. */
export function shortAction(action: FleetAction | undefined): string {
  return printable(action?.hash.slice(0, SHORT_HASH) ?? '');
}

/** The shares from the outermost to the innermost: `alice › 3f0c4a12`. */
export function sharesText(path: readonly string[]): string {
  return path.map((id) => printable(id.replace(UUID, '$1…') || '(none)')).join(' › ');
}

/** Labels for people: `host=a thread=1`. */
export function labelsText(labels: Readonly<Record<string, string>>): string {
  const texts = Object.entries(labels).map(([name, value]) => printable(`${name}=${value}`));
  return texts.length === 0 ? 'everything' : texts.sort().join(' ');
}

/** Names of pools by id: the configured one, else where they serve and what they offer; both where several have the same name. */
export function poolNames(pools: FleetSnapshot['pools']): ReadonlyMap<string, string> {
  const byName = Map.groupBy(pools, ({ name }) => name);
  return new Map(pools.map((pool) => [pool.id, poolName(pool, (byName.get(pool.name) ?? []).length > 1)]));
}

/** `4 slots on 2 nodes, 3 of them busy (on node-1, node-2)`. */
export function matchingText(matching: MatchingSlots | undefined): string {
  const { slots, nodes, busySlots, busyNodes } = matching ?? { slots: 0, nodes: 0, busySlots: 0, busyNodes: [] };
  if (slots === 0) return 'no slot matches now';
  const on = busyNodes.length === 0 ? '' : ` (on ${busyNodes.map(printable).join(', ')})`;
  return `${counted(slots, 'slot')} on ${counted(nodes, 'node')}, ${readableCount(busySlots)} of them busy${on}`;
}

function poolName({ name, platform, instanceNamePrefix, sizeClass }: Pool, isNameShared: boolean): string {
  if (name !== '' && !isNameShared) return printable(name);
  const where = instanceNamePrefix === '' ? '' : `${instanceNamePrefix}: `;
  const offer = `${where}${platform}${sizeClass === 0 ? '' : ` (size class ${sizeClass})`}`;
  return printable(name === '' ? offer : `${name}: ${offer}`);
}
