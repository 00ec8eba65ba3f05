import { type Command, Option } from 'commander';
import type { OpenLocalStore } from '../compose/operator/offline-store.ts';
import type { StoreSource } from '../compose/operator/operator-store.ts';
import { type StoreCommandOptions, storeCheck, storePrune, storeStats } from '../compose/operator/store-commands.ts';
import type { Terminal } from '../compose/operator/terminal.ts';
import { UsageError } from '../compose/operator/usage-error.ts';
import { parseSize } from '../config/units.ts';
import {
  type ConfigurationSurroundings,
  type ServerFlags,
  serverTarget,
  withServerFlags,
} from './load-configuration.ts';
import { type Surroundings, untilStopped } from './run-role.ts';

/** What `gantry store` needs of the process. */
export interface StoreSurroundings extends Terminal, ConfigurationSurroundings, Pick<Surroundings, 'onStopSignal'> {
  /** Opens the store of a stopped server. */
  readonly openLocalStore: OpenLocalStore;
}

interface StoreFlags extends ServerFlags {
  readonly data?: string;
  readonly json: boolean;
  readonly to?: string;
}

type StoreCommand = (source: StoreSource, given: StoreFlags, options: StoreCommandOptions) => Promise<void>;

/** Adds `store stats`, `store check` and `store prune`. @param fail makes the exit code a failure. */
export function addStoreCommands(program: Command, surroundings: StoreSurroundings, fail: () => void): void {
  const store = program.command('store').description('look after the store of a server');
  const add = (command: Command, run: StoreCommand): void => {
    const help = 'data folder of a server that is stopped, instead of asking one that runs';
    withServerFlags(command)
      .option('--json', 'print the report for programs, and no progress', false)
      .addOption(new Option('--data <dir>', help).conflicts(['server', 'config']));
    command.action(async (given: StoreFlags) => {
      const source = sourceOf(given, surroundings);
      await untilStopped(surroundings, (signal) => run(source, given, { isJson: given.json, signal }));
    });
  };
  add(store.command('stats').description('print what it holds'), (source, _, options) =>
    storeStats(source, surroundings, options),
  );
  add(
    store.command('check').description('read everything back, put aside what is damaged; exit code 1 if anything is'),
    async (source, _, options) => {
      if (!(await storeCheck(source, surroundings, options))) fail();
    },
  );
  add(
    store
      .command('prune')
      .description('evict what was used least recently; what is leased stays')
      .requiredOption('--to <size>', 'most the store may take afterwards, like 20GiB'),
    async (source, { to = '' }, options) => storePrune(source, surroundings, { ...options, targetBytes: sizeOf(to) }),
  );
}

function sourceOf(given: StoreFlags, surroundings: StoreSurroundings): StoreSource {
  const { data: dataFolder } = given;
  if (dataFolder === undefined) return { type: 'server', target: serverTarget(given, surroundings) };
  return { type: 'folder', dataFolder, open: surroundings.openLocalStore };
}

function sizeOf(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined) throw new UsageError(`--to: "${text}" is not a size; write one like 20GiB`);
  return bytes;
}
