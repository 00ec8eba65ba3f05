import { Argument, type Command, Option } from 'commander';
import { simulate } from '../compose/operator/simulate-command.ts';
import { SIMULATED_POLICIES, type SimulatedPolicy } from '../compose/operator/simulate-policies.ts';
import type { Terminal } from '../compose/operator/terminal.ts';
import { UsageError } from '../compose/operator/usage-error.ts';
import { CONFIGURATION_KEYS, readText } from '../config/keys.ts';
import type { Override } from '../config/load.ts';
import { nearest } from '../config/nearest.ts';
import { type ConfigurationSurroundings, load } from './load-configuration.ts';

/** What `gantry simulate` needs of the process. */
export type SimulateSurroundings = Terminal & ConfigurationSurroundings;

interface SimulateFlags {
  readonly config?: string;
  readonly workers?: string;
  readonly slots?: string;
  readonly policy: SimulatedPolicy;
  readonly set?: readonly string[];
  readonly speed: string;
  readonly openLoop: boolean;
  readonly svg?: string;
  readonly json: boolean;
}

/** Keys that a simulation goes by. Shares were decided when a trace was recorded: levels and weights are no use to change. */
const KEYS = CONFIGURATION_KEYS.filter(({ path }) => {
  const key = path.join('.');
  if (/^execution\.fairness\.(?:levels|weights)$/.test(key)) return false;
  return /^execution\.(?:retries|fairness|hedging|isolation|platform)\./.test(key);
});

/** Most workers, and slots of one, that can be asked for. */
const MAX_COUNT = 100_000;

/** Adds `simulate`. @param fail makes the exit code a failure. */
export function addSimulateCommand(program: Command, surroundings: SimulateSurroundings, fail: () => void): void {
  const policy = 'who runs first: as configured, or a simpler policy to compare it with';
  const collect = (text: string, before: readonly string[] = []): readonly string[] => [...before, text];
  program
    .command('simulate')
    .description(
      'play a recorded trace through the scheduler, with another fleet or policy; exit code 1 if work is left',
    )
    .addArgument(new Argument('<trace>', 'file that a server recorded (execution.trace.file)'))
    .option('--config <file>', 'configuration file, for policy and platform rules')
    .option(
      '--workers <number>',
      'so many workers, in the proportion of the recorded ones; default: those of the trace',
    )
    .option('--slots <number>', 'with --workers: slots of each; default: as recorded')
    .addOption(new Option('--policy <name>', policy).choices(SIMULATED_POLICIES).default('configured'))
    .addOption(new Option('--set <key=value>', 'another value of the configuration; repeatable').argParser(collect))
    .option('--speed <factor>', 'how much faster the workers are than the recorded ones', '1')
    .option('--open-loop', 'actions come when they came, however long others took', false)
    .option('--svg <file>', 'draw a picture')
    .option('--json', 'print the report for programs', false)
    .action((file: string, given: SimulateFlags) => {
      const config = load(given.config === undefined ? {} : { config: given.config }, surroundings, overridesOf(given));
      const { policy: name, svg, json: isJson } = given;
      const how = { fleet: fleetOf(given), speed: speedOf(given.speed), isClosedLoop: !given.openLoop };
      if (!simulate(config, surroundings, { file, policy: name, svg, isJson, ...how })) fail();
    });
}

function overridesOf({ set = [] }: SimulateFlags): readonly Override[] {
  return set.map((text) => {
    const at = text.indexOf('=');
    if (at < 0) throw new UsageError(`--set: "${text}" is not KEY=VALUE`);
    const [name, value] = [text.slice(0, at), text.slice(at + 1)];
    const names = KEYS.map(({ path }) => path.join('.'));
    const key = KEYS[names.indexOf(name)];
    if (key !== undefined) return { path: key.path, value: readText(key, value), source: '--set' };
    const near = nearest(name, names);
    const hint = near === undefined ? '' : `; did you mean ${near}?`;
    throw new UsageError(`--set: "${name}" is no key that a simulation goes by${hint}`);
  });
}

function fleetOf({ workers, slots }: SimulateFlags) {
  if (workers === undefined) {
    if (slots !== undefined) throw new UsageError('--slots goes with --workers');
    return undefined;
  }
  const slotsPerWorker = slots === undefined ? {} : { slotsPerWorker: countOf('--slots', slots) };
  return { workers: countOf('--workers', workers), ...slotsPerWorker };
}

function countOf(flag: string, text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= MAX_COUNT) return count;
  throw new UsageError(`${flag}: "${text}" is not a number from 1 to ${MAX_COUNT}`);
}

function speedOf(text: string): number {
  const speed = Number(text);
  if (speed >= 0.001 && speed <= 1000) return speed;
  throw new UsageError(`--speed: "${text}" is not a number from 0.001 to 1000`);
}
