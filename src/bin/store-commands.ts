import { type Command, Option } from 'commander';
import type { OpenLocalStore } from '../compose/operator/offline-store.ts';
import type { OpenBucket } from '../compose/operator/open-bucket.ts';
import type { StoreSource } from '../compose/operator/operator-store.ts';
import { pruneBucket } from '../compose/operator/prune-bucket-command.ts';
import { type StoreCommandOptions, storeCheck, storePrune, storeStats } from '../compose/operator/store-commands.ts';
import type { Terminal } from '../compose/operator/terminal.ts';
import { UsageError } from '../compose/operator/usage-error.ts';
import { FLAG_KEYS } from '../config/flags.ts';
import { parseSize } from '../config/units.ts';
import {
  type ConfigurationSurroundings,
  type Given,
  load,
  type ServerFlags,
  serverTarget,
  withFlags,
  withServerFlags,
} from './load-configuration.ts';
import { type Surroundings, untilStopped } from './run-role.ts';

/** What `gantry store` needs of the process. */
export interface StoreSurroundings extends Terminal, ConfigurationSurroundings, Pick<Surroundings, 'onStopSignal'> {
  /** Opens the store of a stopped server. */
  readonly openLocalStore: OpenLocalStore;
  /** Opens the bucket behind a store. */
  readonly openBucket: OpenBucket;
}

interface StoreFlags extends ServerFlags {
  readonly data?: string;
  readonly json: boolean;
}

interface PruneFlags extends StoreFlags {
  readonly to?: string;
  readonly bucket?: boolean;
  readonly dryRun?: boolean;
}

/** Flags of the configuration that say which bucket is meant. */
const BUCKET_FLAGS = FLAG_KEYS.filter(({ path }) => path.startsWith('s3.'));

type StoreCommand = (source: StoreSource, options: StoreCommandOptions) => Promise<void>;

/** Adds `store stats`, `store check` and `store prune`. @param fail makes the exit code a failure. */
export function addStoreCommands(program: Command, surroundings: StoreSurroundings, fail: () => void): void {
  const store = program.command('store').description('look after the store of a server');
  const add = (command: Command, run: StoreCommand): void => {
    withStoreFlags(command).action(async (given: StoreFlags) => {
      const source = sourceOf(given, surroundings);
      await untilStopped(surroundings, (signal) => run(source, { isJson: given.json, signal }));
    });
  };
  add(store.command('stats').description('print what it holds, and the bucket behind it'), (source, options) =>
    storeStats(source, surroundings, options),
  );
  add(
    store
      .command('check')
      .description('read everything on this disk back, put aside what is damaged; exit code 1 if anything is'),
    async (source, options) => {
      if (!(await storeCheck(source, surroundings, options))) fail();
    },
  );
  addPrune(store, surroundings, fail);
}

function addPrune(store: Command, surroundings: StoreSurroundings, fail: () => void): void {
  const help = 'instead: remove from the bucket what nobody needs and no server removes; safe while servers run';
  const command = withStoreFlags(
    store.command('prune').description('evict what was used least recently; what is leased stays'),
  )
    .option('--to <size>', 'most the store may take afterwards, like 20GiB')
    .addOption(new Option('--bucket', help).conflicts(['to', 'server', 'data']))
    .option('--dry-run', 'with --bucket: print what would be removed, and remove nothing');
  withFlags(command, BUCKET_FLAGS).action(async (given: Given & PruneFlags) => {
    if (given.bucket === true) {
      if (!(await pruneBucketOf(given, surroundings))) fail();
      return;
    }
    const stray = ['--dry-run', ...BUCKET_FLAGS.map(({ syntax }) => syntax)].find(
      (syntax) => given[new Option(syntax).attributeName()] !== undefined,
    );
    if (stray !== undefined) throw new UsageError(`${stray} goes with --bucket`);
    const { to } = given;
    if (to === undefined) return command.error("error: required option '--to <size>' not specified");
    const source = sourceOf(given, surroundings);
    const targetBytes = sizeOf(to);
    await untilStopped(surroundings, (signal) =>
      storePrune(source, surroundings, { isJson: given.json, signal, targetBytes }),
    );
  });
}

function pruneBucketOf(given: Given & PruneFlags, surroundings: StoreSurroundings): Promise<boolean> {
  const { environment, openBucket } = surroundings;
  const config = load(given, surroundings);
  const options = { isDryRun: given.dryRun === true, isJson: given.json, ...(environment && { environment }) };
  return untilStopped(surroundings, (signal) => pruneBucket(config, openBucket, surroundings, { ...options, signal }));
}

function withStoreFlags(command: Command): Command {
  const help = 'data folder of a server that is stopped, instead of asking one that runs';
  return withServerFlags(command)
    .option('--json', 'print the report for programs, and no progress', false)
    .addOption(new Option('--data <dir>', help).conflicts(['server', 'config']));
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
