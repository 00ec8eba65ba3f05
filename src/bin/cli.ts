import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { Command, CommanderError } from 'commander';
import { stringify } from 'yaml';
import { ProgressText } from '../compose/operator/progress-text.ts';
import { printable } from '../compose/operator/terminal.ts';
import { UsageError } from '../compose/operator/usage-error.ts';
import type { RunningRole, Starting } from '../compose/roles.ts';
import { FLAG_KEYS } from '../config/flags.ts';
import type { Config } from '../config/load.ts';
import { nearest } from '../config/nearest.ts';
import { addDoctorCommand, type DoctorSurroundings } from './doctor-command.ts';
import {
  type ConfigurationSurroundings,
  configurable,
  type Given,
  load,
  type ServerFlags,
  serverTarget,
  withServerFlags,
} from './load-configuration.ts';
import { addOperatorCommands, type OperatorSurroundings } from './operator-commands.ts';
import { EXIT, runRole, type Surroundings } from './run-role.ts';

/** What the program needs of the rest of the project and of the process. */
export interface CliDependencies
  extends Surroundings,
    OperatorSurroundings,
    DoctorSurroundings,
    ConfigurationSurroundings {
  readonly roles: Readonly<
    Record<'serve' | 'server' | 'worker', (config: Config, starting: Starting) => Promise<RunningRole>>
  >;
  /** Whether the server at an address says that it serves. @throws if it cannot be reached. */
  readonly checkHealth: (target: string, timeoutMs: number) => Promise<boolean>;
}

/** How long `gantry health` waits if it is not told otherwise, in seconds. */
const HEALTH_TIMEOUT_SECONDS = '5';

/**
 * Runs the program.
 * @param args without the interpreter and the script.
 * @returns the exit code: 0 success, 1 failure, 2 wrong flags or configuration.
 */
export async function runCli(args: readonly string[], dependencies: CliDependencies): Promise<number> {
  let exitCode: number = EXIT.success;
  const program = createProgram(dependencies, (code) => {
    exitCode = code;
  });
  try {
    refuseUnknownCommand(program, args[0]);
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.success : EXIT.usage;
    const isUsage = error instanceof UsageError;
    const message = error instanceof Error ? error.message : String(error);
    // Words of a server, or of what it stores, may be in it; only lists of our own have lines.
    dependencies.err(`gantry: ${isUsage ? message.split('\n').map(printable).join('\n') : printable(message)}\n`);
    return isUsage ? EXIT.usage : EXIT.failure;
  }
}

function createProgram(dependencies: CliDependencies, exit: (code: number) => void): Command {
  const program = new Command('gantry')
    .description('Remote execution and caching for Bazel and other build tools (REAPI v2).')
    .version(version())
    .exitOverride()
    .configureOutput({ writeOut: dependencies.out, writeErr: dependencies.err })
    .showHelpAfterError('(gantry --help lists commands, gantry COMMAND --help their flags)');
  const addRole = (role: 'serve' | 'server' | 'worker', help: string, isDefault: boolean): void => {
    const roles = role === 'worker' ? ['all', 'worker'] : ['all', 'server'];
    const flags = FLAG_KEYS.filter((flag) => roles.includes(flag.roles));
    configurable(program.command(role, { isDefault }).description(help), flags).action(async (given) => {
      const config = load(given, dependencies);
      const progress = new ProgressText(dependencies);
      const start = (signal: AbortSignal): Promise<RunningRole> =>
        dependencies.roles[role](config, { signal, onProgress: (text) => progress.show(text) });
      exit(await runRole(start, dependencies, runOptionsOf(config)));
    });
  };
  addRole('serve', 'server with an embedded worker (the default)', true);
  addRole('server', 'server without a worker', false);
  addRole('worker', 'worker for a server elsewhere', false);
  addConfigCommand(program, dependencies);
  addHealthCommand(program, dependencies, exit);
  addOperatorCommands(program, dependencies, () => exit(EXIT.failure));
  addDoctorCommand(program, dependencies, () => exit(EXIT.failure));
  program
    .command('version')
    .description('print the version')
    .action(() => dependencies.out(`${version()}\n`));
  return program;
}

function addConfigCommand(program: Command, dependencies: CliDependencies): void {
  const config = program.command('config').description('check or print the configuration');
  configurable(config.command('check [file]').description('report everything that is wrong with it'), FLAG_KEYS).action(
    (file: string | undefined, given: Given) => {
      load(file === undefined ? given : { ...given, config: file }, dependencies);
      dependencies.out('The configuration is valid.\n');
    },
  );
  configurable(config.command('print').description('print it with all defaults, as YAML'), FLAG_KEYS).action(
    (given: Given) => dependencies.out(stringify(load(given, dependencies))),
  );
}

function addHealthCommand(program: Command, dependencies: CliDependencies, exit: (code: number) => void): void {
  withServerFlags(program.command('health').description('ask a server whether it serves; exit code 0 if it does'))
    .option('--timeout-seconds <seconds>', 'how long to wait', HEALTH_TIMEOUT_SECONDS)
    .action(async (given: ServerFlags & { timeoutSeconds: string }) => {
      const timeoutMs = Number(given.timeoutSeconds) * 1000;
      if (!(timeoutMs > 0)) throw new UsageError('--timeout-seconds must be a number above 0');
      const target = serverTarget(given, dependencies);
      const isServing = await dependencies.checkHealth(target, timeoutMs);
      dependencies.out(isServing ? 'SERVING\n' : 'NOT_SERVING\n');
      exit(isServing ? EXIT.success : EXIT.failure);
    });
}

/** With a default command every unknown word would be taken for an argument of it. */
function refuseUnknownCommand(program: Command, word: string | undefined): void {
  if (word === undefined || word.startsWith('-')) return;
  const known = ['help', ...program.commands.map((command) => command.name())];
  if (known.includes(word)) return;
  const near = nearest(word, known);
  throw new UsageError(`unknown command "${word}"${near === undefined ? '' : `; did you mean ${near}?`}`);
}

function runOptionsOf(config: Config) {
  return { hostName: hostname(), isReadOnly: config.readOnly, graceMs: config.stop.graceSeconds * 1000 };
}

/** Version of this program, from its package. */
function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return String(Reflect.get(JSON.parse(text), 'version'));
}
