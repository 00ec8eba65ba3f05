import { CONFIGURATION_KEYS, readText } from './keys.ts';
import type { Override } from './load.ts';

/** A command-line flag that sets a key of the configuration. */
export interface FlagKey {
  /** As people write it, with its value: `--max-size SIZE`. */
  readonly syntax: string;
  readonly path: string;
  readonly help: string;
  /** `worker`: for workers only; `server`: for servers only; `all`: both. */
  readonly roles: 'all' | 'server' | 'worker';
  /** Whether it may be given several times; its values are a list. */
  readonly isRepeatable?: true;
}

/** Flags for what people set by hand; every other key has its variable and its place in the file. */
export const FLAG_KEYS: readonly FlagKey[] = [
  { syntax: '--data <dir>', path: 'dataFolder', help: 'folder for everything that survives a restart', roles: 'all' },
  { syntax: '--listen <address>', path: 'listen.grpc', help: 'gRPC: HOST:PORT or unix:/path', roles: 'server' },
  { syntax: '--http <address>', path: 'listen.http', help: 'health and metrics: HOST:PORT', roles: 'server' },
  {
    syntax: '--max-size <size>',
    path: 'store.maxSizeBytes',
    help: 'limit of the blob store, like 50GiB',
    roles: 'server',
  },
  { syntax: '--s3-bucket <name>', path: 's3.bucket', help: 'bucket that keeps everything for good', roles: 'server' },
  {
    syntax: '--s3-prefix <prefix>',
    path: 's3.prefix',
    help: 'begins the keys of all objects in it',
    roles: 'server',
  },
  {
    syntax: '--s3-endpoint <url>',
    path: 's3.endpoint',
    help: 'S3 server other than AWS: http(s)://HOST:PORT',
    roles: 'server',
  },
  {
    syntax: '--read-only [true|false]',
    path: 'readOnly',
    help: 'refuse uploads, results and executions',
    roles: 'server',
  },
  {
    syntax: '--embedded-worker <true|false>',
    path: 'embeddedWorker',
    help: 'run actions on this machine',
    roles: 'server',
  },
  { syntax: '--server <address>', path: 'worker.server', help: 'server that gives work: HOST:PORT', roles: 'worker' },
  { syntax: '--slots <number|cpus>', path: 'worker.slots', help: 'actions at the same time', roles: 'all' },
  {
    syntax: '--cache-size <size>',
    path: 'worker.cacheSizeBytes',
    help: "limit of the worker's file cache",
    roles: 'all',
  },
  {
    syntax: '--platform <name=value>',
    path: 'worker.platform',
    help: 'property the worker offers; repeatable',
    roles: 'all',
    isRepeatable: true,
  },
  { syntax: '--log-level <level>', path: 'log.level', help: 'debug, info, warn, error or silent', roles: 'all' },
  { syntax: '--log-requests [all|none]', path: 'log.requests', help: 'a log line for every call', roles: 'all' },
];

/** What a flag was given: text, nothing after it, or several texts. */
export type FlagValue = string | true | readonly string[];

/** The value that flags with an optional value stand for when they stand alone. */
const ALONE: Readonly<Record<string, unknown>> = { readOnly: true, 'log.requests': 'all' };

/** What a flag sets. Values are not checked here: the schema does that, with all others. */
export function overrideOf(flag: FlagKey, given: FlagValue): Override {
  const path = flag.path.split('.');
  const source = flag.syntax.split(' ', 1).join('');
  if (given === true) return { path, value: ALONE[flag.path], source };
  if (typeof given !== 'string') return { path, value: given.map(readProperty), source };
  const key = CONFIGURATION_KEYS.find((each) => each.path.join('.') === flag.path);
  return { path, value: key === undefined ? given : readText(key, given), source };
}

/** `NAME=VALUE`; the value may hold further equals signs. Without one it stays text, for the schema to refuse. */
function readProperty(text: string): unknown {
  const at = text.indexOf('=');
  return at < 0 ? text : { name: text.slice(0, at), value: text.slice(at + 1) };
}
