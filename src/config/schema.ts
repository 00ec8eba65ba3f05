import { z } from 'zod';
import { grpcAddress, httpAddress } from './address.ts';
import { execution } from './execution-schema.ts';
import { limits, rpc } from './limits-schema.ts';
import { incompleteCredentials } from './s3-connection-schema.ts';
import { s3 } from './s3-schema.ts';
import { actionCache, store } from './store-schema.ts';
import { formatSize, GIB, MIB, seconds } from './units.ts';
import { worker } from './worker-schema.ts';

/** A name for an address space of a client: segments of visible characters. The server checks the rest (R-XC-03). */
const instanceName = z.string().max(255);

const instanceNames = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('any') }),
    z.strictObject({ kind: z.literal('list'), names: z.array(instanceName).min(1).max(10_000) }),
  ])
  .default({ kind: 'any' })
  .describe(
    'Which instance names are served: `{ kind: any }`, or `{ kind: list, names: [main, ""] }`, which refuses all others. Action results and operations are kept per name, blobs are shared by all.',
  );

const listen = z
  .strictObject({
    grpc: grpcAddress
      .default('127.0.0.1:8980')
      .describe(
        'Where build tools and workers connect. Port 0 picks a free one. There is no authentication yet: keep it on loopback or a trusted network.',
      ),
    http: httpAddress
      .default('127.0.0.1:8981')
      .describe(
        'Where `/livez`, `/readyz`, `/metrics` and `/api/v1/` answer. Port 0 picks a free one. It asks nobody who they are, and shows operations, targets and workers ([explain.md](explain.md)).',
      ),
  })
  .prefault({})
  .describe('Addresses of the server.');

const log = z
  .strictObject({
    level: z
      .enum(['debug', 'info', 'warn', 'error', 'silent'])
      .default('info')
      .describe('Least severity that is written, one JSON object a line, to standard error.'),
    requests: z
      .enum(['none', 'all'])
      .default('none')
      .describe(
        'Whether every call gets a line. A build makes many thousands: for hunting a fault, not for every day.',
      ),
  })
  .prefault({})
  .describe('What is logged.');

const stop = z
  .strictObject({
    graceSeconds: seconds(
      { min: 0, max: 86_400, by: 30 },
      'How long running calls may go on after SIGTERM before they are aborted. A second signal aborts them at once.',
    ),
  })
  .prefault({})
  .describe('Stopping.');

const sections = z.strictObject({
  dataFolder: z
    .string()
    .min(1)
    .default('$XDG_STATE_HOME/gantry')
    .describe(
      'Folder for everything that survives a restart. A leading `~/` is the home folder, a leading `$XDG_STATE_HOME` that variable or `~/.local/state`. One process at a time may use it.',
    ),
  embeddedWorker: z
    .boolean()
    .default(true)
    .describe(
      'Whether `gantry serve` starts a worker on this machine. Without one it waits for `gantry worker` to connect.',
    ),
  readOnly: z
    .boolean()
    .default(false)
    .describe('Refuses uploads, action results and executions, and says so in its capabilities.'),
  instanceNames,
  listen,
  store,
  s3,
  actionCache,
  limits,
  rpc,
  execution,
  worker,
  log,
  stop,
});

/** Pairs of keys in which the first may not be above the second: each is fine alone, together they cannot work. */
const ORDERED = [
  ['execution.defaultTimeoutSeconds', 'execution.maxTimeoutSeconds'],
  ['execution.isolation.faultsInARow', 'execution.isolation.window'],
  ['limits.maxBatchTotalSizeBytes', 'rpc.maxReceiveMessageBytes'],
  ['limits.maxBatchTotalSizeBytes', 'rpc.maxSendMessageBytes'],
  ['actionCache.maxResultBytes', 'rpc.maxSendMessageBytes'],
  ['rpc.streamWindowBytes', 'rpc.connectionWindowBytes'],
] as const;

/** So many reports of a busy worker have to come within the time after which it is lost, so that one of them may be late. */
const REPORTS_BEFORE_LOSS = 2;

/** Most that may wait for S3, as a part of the local store: what waits cannot be evicted. */
const MAX_BACKLOG_SHARE = 1 / 4;

/** What may wait for S3 if nothing is said of it: in memory with `s3`, on the local disk with `local`. */
const DEFAULT_BACKLOG_BYTES = { s3: 256 * MIB, local: 2 * GIB } as const;

/** The whole configuration file; one for all roles. Defaults, ranges and reasons live here and nowhere else. */
export const configurationSchema = sections.superRefine((value, context) => {
  for (const [low, high] of ORDERED) {
    const path = low.split('.');
    if (valueAt(value, path) <= valueAt(value, high.split('.'))) continue;
    context.addIssue({ code: 'custom', path, message: `must not be above ${high}` });
  }
  const leastSeconds = REPORTS_BEFORE_LOSS * value.execution.synchronizeSeconds;
  if (value.execution.workerTimeoutSeconds < leastSeconds) {
    const message = `must be at least twice execution.synchronizeSeconds, ${leastSeconds}: between two reports a worker is silent`;
    context.addIssue({ code: 'custom', path: ['execution', 'workerTimeoutSeconds'], message });
  }
  const mostBytes = maxBacklogOf(value.store.maxSizeBytes);
  if (value.s3.maxBacklogBytes > mostBytes) {
    const message = `must not be above a quarter of store.maxSizeBytes, ${formatSize(mostBytes)}`;
    context.addIssue({ code: 'custom', path: ['s3', 'maxBacklogBytes'], message });
  }
  for (const [key, message] of incompleteCredentials(value.s3.credentials)) {
    context.addIssue({ code: 'custom', path: ['s3', 'credentials', key], message });
  }
});

/** `s3.maxBacklogBytes` with its default decided. */
export function backlogBytesOf({ s3, store }: ParsedConfiguration): number {
  if (s3.maxBacklogBytes !== 0) return s3.maxBacklogBytes;
  return Math.min(DEFAULT_BACKLOG_BYTES[s3.durability], maxBacklogOf(store.maxSizeBytes));
}

function maxBacklogOf(storeBytes: number): number {
  return Math.floor(storeBytes * MAX_BACKLOG_SHARE);
}

/** The number under a path of keys. */
function valueAt(value: unknown, path: readonly string[]): number {
  return Number(path.reduce((at, key) => (at instanceof Object ? Reflect.get(at, key) : undefined), value));
}

/** The file after the schema, before what depends on the machine is filled in. */
export type ParsedConfiguration = z.output<typeof configurationSchema>;
