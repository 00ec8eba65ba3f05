import { readFileSync } from 'node:fs';
import { availableParallelism, homedir, hostname } from 'node:os';
import { resolve } from 'node:path';
import { type Document, LineCounter, parseDocument } from 'yaml';
import { systemCode } from '../errors.ts';
import { CONFIGURATION_KEYS, ENVIRONMENT_PREFIX, environmentName, namesUnder, readText } from './keys.ts';
import { nearest } from './nearest.ts';
import { REMOVED_KEYS } from './removed-keys.ts';
import type { SecretSource } from './s3-connection-schema.ts';
import { backlogBytesOf, configurationSchema, type ParsedConfiguration } from './schema.ts';

/** A configuration in which everything is decided; frozen all the way down. */
export type Config = DeepReadonly<
  Omit<ParsedConfiguration, 'worker'> & { worker: Omit<ParsedConfiguration['worker'], 'slots'> & { slots: number } }
>;

type DeepReadonly<T> = T extends object ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> } : T;

/** One thing that is wrong. */
export interface ConfigurationProblem {
  /** The key, `store.maxSizeBytes`; empty for the file as a whole. */
  readonly key: string;
  readonly message: string;
  /** `gantry.yaml:3:5`, the flag or the variable it came from. */
  readonly source: string;
}

/** A value from outside the file, which wins over the file. */
export interface Override {
  readonly path: readonly string[];
  readonly value: unknown;
  /** The flag or variable, for messages. */
  readonly source: string;
}

/** Environment variables. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What loading depends on, beside the file. */
export interface LoadOptions {
  /** The configuration file, YAML or JSON; without one there are only overrides and defaults. */
  readonly file?: string;
  /** From flags; they win over everything. */
  readonly flags?: readonly Override[];
  /** Default: the process's. `GANTRY_CONFIG` names the file if `file` is not given. */
  readonly environment?: Environment;
  /** Default: the machine's. */
  readonly machine?: Machine;
}

/** What defaults depend on. */
export interface Machine {
  readonly cpus: number;
  readonly homeFolder: string;
  readonly hostName: string;
}

/** A configuration with what was strange but harmless, or everything that is wrong with it. */
export type Loaded =
  | { readonly ok: true; readonly config: Config; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly problems: readonly ConfigurationProblem[] };

/** Names the configuration file when no flag does. */
const FILE_VARIABLE = `${ENVIRONMENT_PREFIX}CONFIG`;

/** Largest configuration file, in characters; a longer one is a mistake. */
const MAX_FILE_CHARACTERS = 1_000_000;

/**
 * Reads the file, lays `GANTRY_…` variables over it and flags over those, and checks the whole.
 * All problems are reported at once.
 */
export function loadConfig(options: LoadOptions = {}): Loaded {
  const environment = options.environment ?? process.env;
  const file = options.file ?? (environment[FILE_VARIABLE] || undefined);
  const source: Source = file === undefined ? { value: {}, locate: () => '' } : readFile(file);
  if ('problem' in source) return { ok: false, problems: [source.problem] };
  const variables = readVariables(environment);
  const overrides = [...variables.overrides, ...(options.flags ?? [])];
  const value = overrides.reduce<unknown>((merged, each) => withValue(merged, each.path, each.value), source.value);
  const parsed = configurationSchema.safeParse(value);
  if (!parsed.success) {
    const locate: Locate = (path) => overrideAt(overrides, path)?.source ?? source.locate(path);
    return { ok: false, problems: parsed.error.issues.flatMap((issue) => problemsOf(issue, locate)) };
  }
  const config = fillIn(parsed.data, options.machine ?? thisMachine(), environment);
  return { ok: true, config: deepFreeze(config), warnings: variables.warnings };
}

/**
 * The secret behind a reference; line ends at its end do not belong to it. Secrets are read when they are needed and are in no
 * `Config`: that is printed, and handed to workers.
 * @throws Error naming the variable or file, never what is in it.
 */
export function readSecret(secret: SecretSource, environment: Environment = process.env): string {
  const text = 'env' in secret ? environment[secret.env] : readSecretFile(secret.file);
  const value = text?.trimEnd() ?? '';
  if (value !== '') return value;
  throw new Error('env' in secret ? `the variable ${secret.env} is not set` : `the file "${secret.file}" is empty`);
}

function readSecretFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new Error(`the file "${file}" cannot be read (${systemCode(error) ?? 'unknown error'})`, { cause: error });
  }
}

/** Whether a service manager waits to be told that this process is ready (`sd_notify`). */
export function isReadinessAwaited(environment: Environment = process.env): boolean {
  return Boolean(environment['NOTIFY_SOCKET']);
}

/** Whether the terminal takes no commands, as the shells of editors say of themselves. */
export function isTerminalDumb(environment: Environment = process.env): boolean {
  return environment['TERM'] === 'dumb';
}

/**
 * The environment for a process that is started with a complete configuration of its own: without what would change
 * that configuration, without the service manager, which waits for this process only, and without the keys to the bucket: only the
 * server uses it.
 */
export function childEnvironment(environment: Environment = process.env): Record<string, string> {
  const kept = Object.entries(environment).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined &&
      entry[0] !== 'NOTIFY_SOCKET' &&
      !entry[0].startsWith(ENVIRONMENT_PREFIX) &&
      !entry[0].startsWith('AWS_'),
  );
  return Object.fromEntries(kept);
}

function thisMachine(): Machine {
  return { cpus: availableParallelism(), homeFolder: homedir(), hostName: hostname() };
}

/** Where a value was written. */
type Locate = (path: readonly PropertyKey[]) => string;

type Source = { readonly value: unknown; readonly locate: Locate } | { readonly problem: ConfigurationProblem };

function readFile(file: string): Source {
  const problem = (message: string, source = file): Source => ({ problem: { key: '', message, source } });
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    return problem(`cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (text.length > MAX_FILE_CHARACTERS) return problem(`is longer than ${MAX_FILE_CHARACTERS} characters`);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const position = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const [error] = document.errors;
  if (error !== undefined) return problem(error.message, position(error.pos[0]));
  try {
    // A key without a value is one that is not set: a section whose keys are all commented out.
    const value: unknown = document.toJS({ reviver: (_key, each) => each ?? undefined });
    return { value: value ?? {}, locate: (path) => locateIn(document, path, position) ?? file };
  } catch (failure) {
    if (!(failure instanceof ReferenceError)) throw failure;
    return problem(failure.message);
  }
}

/** Position of the innermost value on the way to `path` that the file has. */
function locateIn(
  document: Document,
  path: readonly PropertyKey[],
  position: (offset: number) => string,
): string | undefined {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true);
    if (node instanceof Object && 'range' in node && Array.isArray(node.range)) return position(Number(node.range[0]));
  }
  return undefined;
}

/** The last override of a key or of something around it. */
function overrideAt(overrides: readonly Override[], path: readonly PropertyKey[]): Override | undefined {
  return overrides.findLast((each) => each.path.every((name, at) => path[at] === name));
}

function readVariables(environment: Environment) {
  const overrides: Override[] = [];
  const warnings: string[] = [];
  const known = new Map(CONFIGURATION_KEYS.map((key) => [key.environment, key]));
  const removed = new Map([...REMOVED_KEYS.keys()].map((key) => [environmentName(key.split('.')), key.split('.')]));
  for (const [name, text] of Object.entries(environment)) {
    // An empty variable is one that is not set: that is all a container's manifest can say.
    if (!text || !name.startsWith(ENVIRONMENT_PREFIX) || name === FILE_VARIABLE) continue;
    const key = known.get(name);
    if (key !== undefined) {
      // A secret stays in the variable, and the configuration says where it is.
      const value = key.isSecret ? { env: name } : readText(key, text);
      overrides.push({ path: key.path, value, source: name });
      continue;
    }
    const removedPath = removed.get(name);
    if (removedPath !== undefined) {
      overrides.push({ path: removedPath, value: text, source: name });
      continue;
    }
    // Not an error: Kubernetes sets GANTRY_PORT and others for a service of this name.
    const near = nearest(name, known.keys());
    if (near !== undefined) warnings.push(`the variable ${name} is ignored; did you mean ${near}?`);
  }
  return { overrides, warnings };
}

/** A copy with one value set. Where something other than an object stands in the way it is left for the schema to refuse. */
function withValue(target: unknown, [name, ...rest]: readonly string[], value: unknown): unknown {
  if (name === undefined) return value;
  if (!(target === undefined || target === null || (typeof target === 'object' && !Array.isArray(target))))
    return target;
  const child = target == null ? undefined : Reflect.get(target, name);
  return { ...target, [name]: withValue(child, rest, value) };
}

type Issue = NonNullable<ReturnType<typeof configurationSchema.safeParse>['error']>['issues'][number];

function problemsOf(issue: Issue, locate: Locate): readonly ConfigurationProblem[] {
  if (issue.code !== 'unrecognized_keys') {
    return [{ key: issue.path.map(String).join('.'), message: issue.message, source: locate(issue.path) }];
  }
  return issue.keys.map((name) => {
    const path = [...issue.path, name];
    const key = path.map(String).join('.');
    return { key, message: REMOVED_KEYS.get(key) ?? unknownKey(name, issue.path), source: locate(path) };
  });
}

function unknownKey(name: string, section: readonly PropertyKey[]): string {
  const near = nearest(name, namesUnder(section.map(String)));
  return near === undefined ? 'there is no such key' : `there is no such key; did you mean ${near}?`;
}

function fillIn(parsed: ParsedConfiguration, machine: Machine, environment: Environment): Config {
  const xdgStateHome = environment['XDG_STATE_HOME'];
  const stateFolder = xdgStateHome?.startsWith('/') ? xdgStateHome : resolve(machine.homeFolder, '.local/state');
  const absolute = (path: string, dataFolder: string): string =>
    resolve(
      path
        .replace(/^~(?=\/|$)/, () => machine.homeFolder)
        .replace(/^\$XDG_STATE_HOME(?=\/|$)/, () => stateFolder)
        .replace(/^\$DATA_FOLDER(?=\/|$)/, () => dataFolder),
    );
  const dataFolder = absolute(parsed.dataFolder, '$DATA_FOLDER');
  const located = <T extends string | SecretSource>(secret: T): T | SecretSource =>
    typeof secret === 'object' && 'file' in secret ? { file: absolute(secret.file, dataFolder) } : secret;
  const { worker, s3, execution } = parsed;
  const { trace } = execution;
  return {
    ...parsed,
    dataFolder,
    s3: {
      ...s3,
      region: s3.region === '$AWS_REGION' ? regionOf(environment) : s3.region,
      certificateAuthoritiesFile: s3.certificateAuthoritiesFile && absolute(s3.certificateAuthoritiesFile, dataFolder),
      credentials: {
        accessKeyId: located(s3.credentials.accessKeyId),
        secretAccessKey: located(s3.credentials.secretAccessKey),
        sessionToken: located(s3.credentials.sessionToken),
      },
      maxBacklogBytes: backlogBytesOf(parsed),
    },
    execution: { ...execution, trace: { ...trace, file: trace.file && absolute(trace.file, dataFolder) } },
    worker: {
      ...worker,
      folder: absolute(worker.folder, dataFolder),
      nodeName: worker.nodeName === '$HOSTNAME' ? machine.hostName : worker.nodeName,
      slots: worker.slots === 'cpus' ? machine.cpus : worker.slots,
    },
  };
}

/** Where AWS says that this process is; what the SDK would take by itself, but so that it can be printed. */
function regionOf(environment: Environment): string {
  return environment['AWS_REGION'] || environment['AWS_DEFAULT_REGION'] || 'us-east-1';
}

function deepFreeze<T>(value: T): T {
  if (value instanceof Object) for (const child of Object.values(value)) deepFreeze(child);
  return Object.freeze(value);
}
