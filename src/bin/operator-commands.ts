import { Argument, type Command, Option } from 'commander';
import { printActionResult, removeActionResult } from '../compose/operator/action-results.ts';
import { BLOB_FORMS, type BlobForm, catBlob } from '../compose/operator/cat.ts';
import { type DigestFlags, parseDigestArgument } from '../compose/operator/digest-argument.ts';
import { listBlob } from '../compose/operator/ls.ts';
import type { Terminal } from '../compose/operator/terminal.ts';
import { whyMiss } from '../compose/operator/why-miss.ts';
import { addFleetCommands, type FleetSurroundings } from './fleet-commands.ts';
import {
  type ConfigurationSurroundings,
  type ServerFlags,
  serverTarget,
  withServerFlags,
} from './load-configuration.ts';
import { type Surroundings, untilStopped } from './run-role.ts';
import { addSimulateCommand } from './simulate-command.ts';
import { addStoreCommands, type StoreSurroundings } from './store-commands.ts';

/** What commands for operators need of the process. */
export interface OperatorSurroundings
  extends Terminal,
    StoreSurroundings,
    FleetSurroundings,
    ConfigurationSurroundings,
    Pick<Surroundings, 'onStopSignal'> {}

const DIGEST = new Argument('<digest>', 'HASH/SIZE, HASH-SIZE or a resource name like main/blobs/HASH/SIZE');

type BlobFlags = ServerFlags & DigestFlags;

/** Runs a command against the server that is meant, until it ends or is told to stop. */
type Run = <T>(given: ServerFlags, command: (target: string, signal: AbortSignal) => Promise<T>) => Promise<T>;

/** Adds `store`, `cat`, `ls`, `ac`, `why-miss`, and those about the fleet. @param fail makes the exit code a failure. */
export function addOperatorCommands(program: Command, surroundings: OperatorSurroundings, fail: () => void): void {
  const run: Run = (given, command) => {
    const target = serverTarget(given, surroundings);
    return untilStopped(surroundings, (signal) => command(target, signal));
  };
  addStoreCommands(program, surroundings, fail);
  addSimulateCommand(program, surroundings, fail);
  addCat(program, surroundings, run);
  addLs(program, surroundings, run, fail);
  addActionCommands(program, surroundings, run);
  addFleetCommands(program, surroundings, fail);
}

function addCat(program: Command, terminal: Terminal, run: Run): void {
  const help = 'what to take it for; action-result: the result of this action';
  onBlob(program.command('cat').description('print a blob, or the message in it'))
    .addArgument(DIGEST)
    .addOption(new Option('--as <form>', help).choices(BLOB_FORMS))
    .action(async (text: string, given: BlobFlags & { as?: BlobForm }) => {
      const what = { name: parseDigestArgument(text, given), ...(given.as !== undefined && { form: given.as }) };
      await run(given, (target, signal) => catBlob(target, terminal, { ...what, signal }));
    });
}

function addLs(program: Command, terminal: Terminal, run: Run, fail: () => void): void {
  onBlob(program.command('ls').description('list a Directory or a Tree'))
    .addArgument(DIGEST)
    .option('-r, --recursive', 'with what is below', false)
    .option('--tree', 'take it for a Tree', false)
    .action(async (text: string, given: BlobFlags & { recursive: boolean; tree: boolean }) => {
      const name = parseDigestArgument(text, given);
      const how = { name, isRecursive: given.recursive, isTree: given.tree };
      const isWhole = await run(given, (target, signal) => listBlob(target, terminal, { ...how, signal }));
      if (!isWhole) fail();
    });
}

function addActionCommands(program: Command, terminal: Terminal, run: Run): void {
  const results = program.command('ac').description('look at the action cache, or forget a result');
  for (const [word, help, command] of [
    ['get', 'print the result of an action', printActionResult],
    ['rm', 'forget the result of an action, so that it runs again', removeActionResult],
  ] as const) {
    onBlob(results.command(word).description(help))
      .addArgument(DIGEST)
      .action(async (text: string, given: BlobFlags) => {
        const name = parseDigestArgument(text, given);
        await run(given, (target, signal) => command(target, terminal, name, signal));
      });
  }
  onBlob(program.command('why-miss').description('say why an action was not answered from the cache'))
    .requiredOption('--action <digest>', 'which action: HASH/SIZE')
    .option('--json', 'print it for programs', false)
    .action(async (given: BlobFlags & { action: string; json: boolean }) => {
      const name = parseDigestArgument(given.action, given);
      await run(given, (target, signal) => whyMiss(target, terminal, name, { isJson: given.json, signal }));
    });
}

function onBlob(command: Command): Command {
  return withServerFlags(command)
    .option('--instance <name>', 'instance name; default: the one in the resource name, else the empty one')
    .option('--function <name>', 'digest function; default: the length of the hash tells');
}
