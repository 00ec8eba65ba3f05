import type { Command } from 'commander';
import type { DigestFlags } from '../compose/operator/digest-argument.ts';
import {
  drainNodes,
  type FleetTarget,
  forgiveNode,
  listFleet,
  parsePattern,
  releaseAction,
  terminateNodes,
  undrainNodes,
} from '../compose/operator/fleet-commands.ts';
import type { Screen } from '../compose/operator/screen.ts';
import type { Terminal } from '../compose/operator/terminal.ts';
import { top } from '../compose/operator/top.ts';
import { UsageError } from '../compose/operator/usage-error.ts';
import { parseActionArgument, parseWhySubject, why } from '../compose/operator/why.ts';
import {
  type ConfigurationSurroundings,
  type ServerFlags,
  serverTarget,
  withServerFlags,
} from './load-configuration.ts';
import { type Surroundings, untilStopped } from './run-role.ts';

/** What commands about the fleet need of the process. */
export interface FleetSurroundings extends Terminal, ConfigurationSurroundings, Pick<Surroundings, 'onStopSignal'> {
  /** Absent if standard output is no terminal, or a dumb one. */
  readonly screen?: Screen;
}

type Flags = ServerFlags & DigestFlags;
type PatternFlags = Flags & { readonly all: boolean };
type DrainFlags = PatternFlags & { readonly reason: string };
type Run = <T>(given: ServerFlags, command: (where: FleetTarget) => Promise<T>) => Promise<T>;

/** How often the live view is renewed, and how long termination is waited for, if nothing is said, in seconds. */
const TOP_INTERVAL_SECONDS = '1';
const TERMINATE_WAIT_SECONDS = '3600';

/** Longest wait for termination that servers take. */
const MAX_WAIT_SECONDS = 86_400;

/** Adds `why`, `top` and `fleet`. @param fail makes the exit code a failure. */
export function addFleetCommands(program: Command, surroundings: FleetSurroundings, fail: () => void): void {
  const run: Run = (given, command) => {
    const target = serverTarget(given, surroundings);
    return untilStopped(surroundings, (signal) => command({ target, signal }));
  };
  addWhy(program, surroundings, run, fail);
  addTop(program, surroundings, run);
  const fleet = program.command('fleet').description('look at the workers of a server, and take them out of it');
  addDrains(fleet, surroundings, run, fail);
  withServerFlags(fleet.command('list').description('print nodes, drains, isolated nodes and the quarantine'))
    .option('--json', 'print it for programs', false)
    .action(async (given: Flags & { json: boolean }) => {
      await run(given, (where) => listFleet(where, surroundings, given.json));
    });
  withServerFlags(
    fleet.command('forgive').description('give work again to a node that failed differently from the rest'),
  )
    .argument('<node>', 'as `fleet list` prints it')
    .action(async (node: string, given: Flags) => {
      await run(given, (where) => forgiveNode(where, surroundings, node));
    });
  withActionFlags(fleet.command('release').description('let an action run again that took down workers'))
    .argument('<action>', 'HASH/SIZE or HASH/SIZE@INSTANCE')
    .action(async (text: string, given: Flags) => {
      const action = parseActionArgument(text, given);
      await run(given, (where) => releaseAction(where, surroundings, action));
    });
}

function addWhy(program: Command, surroundings: FleetSurroundings, run: Run, fail: () => void): void {
  withActionFlags(program.command('why').description('say why an operation waits, what it does, or how it ended'))
    .argument('<what>', 'the name of an operation, or an action: HASH/SIZE or HASH/SIZE@INSTANCE')
    .option('--json', 'print it for programs', false)
    .action(async (text: string, given: Flags & { json: boolean }) => {
      const subject = parseWhySubject(text, given);
      const isKnown = await run(given, ({ target, signal }) =>
        why(target, surroundings, subject, { isJson: given.json, signal }),
      );
      if (!isKnown) fail();
    });
}

function addTop(program: Command, surroundings: FleetSurroundings, run: Run): void {
  withServerFlags(program.command('top').description('show pools, what waits and what runs, live; q ends it'))
    .option('--once', 'print it once; also if standard output is no terminal', false)
    .option('--interval-seconds <seconds>', 'how often it is renewed, at least 0.5', TOP_INTERVAL_SECONDS)
    .action(async (given: Flags & { once: boolean; intervalSeconds: string }) => {
      const intervalMs = Math.round(secondsOf(given.intervalSeconds, '--interval-seconds', 0.5, 60) * 1000);
      const { screen } = surroundings;
      const how = { isOnce: given.once, intervalMs, ...(screen !== undefined && { screen }) };
      await run(given, ({ target, signal }) => top(target, surroundings, { ...how, signal }));
    });
}

function addDrains(fleet: Command, surroundings: FleetSurroundings, run: Run, fail: () => void): void {
  onPattern(fleet.command('drain').description('let slots finish what they hold, and give them nothing new'))
    .option('--reason <text>', 'for people who ask why', '')
    .action(async (labels: string[], given: DrainFlags) => {
      const what = { pattern: parsePattern(labels, given.all), reason: given.reason };
      await run(given, (where) => drainNodes(where, surroundings, what));
    });
  onPattern(fleet.command('undrain').description('end a drain or a termination of exactly these labels')).action(
    async (labels: string[], given: PatternFlags) => {
      const pattern = parsePattern(labels, given.all);
      await run(given, (where) => undrainNodes(where, surroundings, pattern));
    },
  );
  onPattern(fleet.command('terminate').description('drain slots, tell them to exit, and wait until they hold nothing'))
    .option('--reason <text>', 'for people who ask why', '')
    .option('--wait-seconds <seconds>', 'how long to wait; 0: not at all', TERMINATE_WAIT_SECONDS)
    .action(async (labels: string[], given: DrainFlags & { waitSeconds: string }) => {
      const waitSeconds = secondsOf(given.waitSeconds, '--wait-seconds', 0, MAX_WAIT_SECONDS);
      const what = { pattern: parsePattern(labels, given.all), reason: given.reason, waitSeconds };
      const isDone = await run(given, (where) => terminateNodes(where, surroundings, what));
      if (!isDone) fail();
    });
}

function onPattern(command: Command): Command {
  return withServerFlags(command)
    .argument('[label...]', 'NAME=VALUE: slots that have all of these')
    .option('--all', 'all slots, also those to come', false);
}

function withActionFlags(command: Command): Command {
  return withServerFlags(command)
    .option('--instance <name>', 'instance name of an action; default: the empty one')
    .option('--function <name>', 'digest function; default: the length of the hash tells');
}

function secondsOf(text: string, flag: string, least: number, most: number): number {
  const seconds = text.trim() === '' ? Number.NaN : Number(text);
  if (seconds >= least && seconds <= most) return seconds;
  throw new UsageError(`${flag} must be a number from ${least} to ${most}`);
}
