import { digestPath, digestToWire } from '../../digest/digest.ts';
import { digestFunctionToWire } from '../../digest/digest-function.ts';
import { FleetDefinition, type SlotPattern, type TerminateNodesUpdate } from '../../gen/gantry/v1/fleet.ts';
import type { NamedDigest } from './digest-argument.ts';
import { fleetText } from './fleet-text.ts';
import { counted, labelsText, matchingText } from './fleet-words.ts';
import { CALL_TIMEOUT_MS } from './server-connection.ts';
import { printable, type Terminal } from './terminal.ts';
import { UsageError } from './usage-error.ts';
import { messageText } from './why.ts';
import { withFleet } from './with-fleet.ts';

/** Which server, and until when. */
export interface FleetTarget {
  readonly target: string;
  readonly signal: AbortSignal;
}

/** Most nodes that are listed. */
const MAX_NODES = 20_000;

/** How much later than the server the client gives up waiting for slots to terminate. */
const GRACE_MS = 10_000;

const { methods } = FleetDefinition;

/** Reads `NAME=VALUE …`, or that all slots are meant. @throws UsageError: neither or both, a text without `=`, a name that comes twice. */
export function parsePattern(texts: readonly string[], isEverything: boolean): SlotPattern {
  if (texts.length === 0 && !isEverything) throw new UsageError('say which slots: NAME=VALUE …, or --all');
  if (texts.length > 0 && isEverything) throw new UsageError('labels and --all contradict each other');
  const labels = new Map<string, string>();
  for (const text of texts) {
    const at = text.indexOf('=');
    if (at < 1) throw new UsageError(`"${text}" is no label; write NAME=VALUE`);
    const name = text.slice(0, at);
    if (labels.has(name)) throw new UsageError(`the label "${name}" comes twice: a slot has one value for it`);
    labels.set(name, text.slice(at + 1));
  }
  return { labels: Object.fromEntries(labels), everything: isEverything };
}

/** `gantry fleet list`. @throws as the call does. */
export async function listFleet(where: FleetTarget, terminal: Terminal, isJson: boolean): Promise<void> {
  const request = { limit: MAX_NODES, withNodes: true };
  const fleet = await withFleet(where.target, (client) =>
    client.unary(FleetDefinition, methods.getFleet, request, limits(where)),
  );
  terminal.out(isJson ? messageText(fleet) : fleetText(fleet));
}

/** `gantry fleet drain`. @throws as the call does. */
export async function drainNodes(
  where: FleetTarget,
  terminal: Terminal,
  what: { readonly pattern: SlotPattern; readonly reason: string },
): Promise<void> {
  const { matching } = await withFleet(where.target, (client) =>
    client.unary(FleetDefinition, methods.drainNodes, what, limits(where)),
  );
  terminal.out(`draining ${labelsText(what.pattern.labels)}: ${matchingText(matching)}\n`);
}

/** `gantry fleet undrain`. @throws as the call does. */
export async function undrainNodes(where: FleetTarget, terminal: Terminal, pattern: SlotPattern): Promise<void> {
  const { matching } = await withFleet(where.target, (client) =>
    client.unary(FleetDefinition, methods.undrainNodes, { pattern }, limits(where)),
  );
  terminal.out(`${labelsText(pattern.labels)} is no longer drained: ${matchingText(matching)}\n`);
}

/** `gantry fleet terminate`. @returns whether nothing is held any more, or it was not waited for that. @throws as the call does. */
export async function terminateNodes(
  where: FleetTarget,
  terminal: Terminal,
  what: { readonly pattern: SlotPattern; readonly reason: string; readonly waitSeconds: number },
): Promise<boolean> {
  const { signal } = where;
  const timeoutMs = what.waitSeconds * 1000 + CALL_TIMEOUT_MS + GRACE_MS;
  const last = await withFleet(where.target, async (client) => {
    let newest: TerminateNodesUpdate | undefined;
    const updates = client.serverStream(FleetDefinition, methods.terminateNodes, what, { signal, timeoutMs });
    for await (const update of updates) {
      const title = newest === undefined ? `terminating ${labelsText(what.pattern.labels)}: ` : '';
      terminal.out(`${title}${matchingText(update.matching)}\n`);
      newest = update;
    }
    return newest;
  });
  if (last?.isDone === true) {
    terminal.out('nothing that matches holds an action any more\n');
    return true;
  }
  if (what.waitSeconds === 0) return true;
  terminal.err(`gantry: after ${counted(what.waitSeconds, 'second')} they are not done; they go on terminating\n`);
  return false;
}

/** `gantry fleet forgive`. @throws as the call does. */
export async function forgiveNode(where: FleetTarget, terminal: Terminal, node: string): Promise<void> {
  await withFleet(where.target, (client) =>
    client.unary(FleetDefinition, methods.forgiveNode, { node }, limits(where)),
  );
  terminal.out(`${printable(node)} gets work again\n`);
}

/** `gantry fleet release`. @throws as the call does. */
export async function releaseAction(where: FleetTarget, terminal: Terminal, action: NamedDigest): Promise<void> {
  const { digest, instance } = action;
  const request = {
    instanceName: instance,
    actionDigest: digestToWire(digest),
    digestFunction: digestFunctionToWire(digest.function),
  };
  await withFleet(where.target, (client) =>
    client.unary(FleetDefinition, methods.releaseAction, request, limits(where)),
  );
  terminal.out(`the action ${digestPath(digest)} may run again\n`);
}

function limits({ signal }: FleetTarget): { readonly signal: AbortSignal; readonly timeoutMs: number } {
  return { signal, timeoutMs: CALL_TIMEOUT_MS };
}
