import { type Command, Option } from 'commander';
import { contradictionOf } from '../compose/contradiction.ts';
import { UsageError } from '../compose/operator/usage-error.ts';
import { dialTarget } from '../config/address.ts';
import { FLAG_KEYS, type FlagKey, type FlagValue, overrideOf } from '../config/flags.ts';
import { type Config, type ConfigurationProblem, type Environment, loadConfig, type Override } from '../config/load.ts';

/** What loading the configuration takes of the process. */
export interface ConfigurationSurroundings {
  /** Writes to standard error. */
  readonly err: (text: string) => void;
  /** Default: the process's. */
  readonly environment?: Environment;
}

/** Flags by attribute name, as commander hands them over. */
export type Given = Readonly<Record<string, FlagValue | undefined>>;

/** Gives a command `--config` and these flags. */
export function configurable(command: Command, flags: readonly FlagKey[]): Command {
  return withFlags(command.option('--config <file>', 'configuration file, YAML or JSON'), flags);
}

/** Gives a command these flags. */
export function withFlags(command: Command, flags: readonly FlagKey[]): Command {
  for (const flag of flags) {
    const option = new Option(flag.syntax, flag.help);
    if (flag.isRepeatable) option.argParser((text: string, before: readonly string[] = []) => [...before, text]);
    command.addOption(option);
  }
  return command;
}

/** The configuration with flags on top, and `overrides` on top of those. @throws UsageError listing every problem. */
export function load(
  given: Given,
  surroundings: ConfigurationSurroundings,
  overrides: readonly Override[] = [],
): Config {
  const flags = FLAG_KEYS.flatMap((flag) => {
    const value = given[new Option(flag.syntax).attributeName()];
    return value === undefined ? [] : [overrideOf(flag, value)];
  });
  const { config: file } = given;
  const loaded = loadConfig({
    flags: [...flags, ...overrides],
    ...(typeof file === 'string' && { file }),
    ...(surroundings.environment && { environment: surroundings.environment }),
  });
  if (!loaded.ok) throw wrong(loaded.problems.map(line));
  const contradiction = contradictionOf(loaded.config);
  if (contradiction !== undefined) throw wrong([`  ${contradiction}`]);
  for (const warning of loaded.warnings) surroundings.err(`gantry: ${warning}\n`);
  return loaded.config;
}

function wrong(lines: readonly string[]): UsageError {
  return new UsageError(['the configuration is wrong:', ...lines].join('\n'));
}

function line({ source, key, message }: ConfigurationProblem): string {
  return `  ${[source, key, message].filter((part) => part !== '').join(': ')}`;
}

/** Flags that say which server is meant. */
export interface ServerFlags {
  readonly config?: string;
  readonly server?: string;
}

/** Gives a command the flags that `serverTarget` reads. */
export function withServerFlags(command: Command): Command {
  return command
    .option('--config <file>', 'configuration file, for the address')
    .option('--server <address>', 'HOST:PORT or unix:/path; default: where this configuration listens');
}

/** What a client on this machine dials: the address given, else where the configured server listens. @throws UsageError. */
export function serverTarget({ config, server }: ServerFlags, surroundings: ConfigurationSurroundings): string {
  const address = server ?? localAddress(load(config === undefined ? {} : { config }, surroundings));
  const target = dialTarget(address);
  if (target === undefined) throw new UsageError(`"${address}" is not an address; use HOST:PORT or unix:/path`);
  return target;
}

/** Where a client on this machine finds the server that this configuration starts. */
function localAddress(config: Config): string {
  return config.listen.grpc.replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:');
}
