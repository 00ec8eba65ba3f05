import type { ReadyInfo } from '../compose/roles.ts';
import { formatSize } from '../config/units.ts';

/** What decides which settings a build tool should be given. */
export interface ReadyOptions {
  /** Which host name stands for a listener on all addresses. */
  readonly hostName: string;
  /** Caches only: nothing is executed or uploaded. */
  readonly isReadOnly: boolean;
}

/** What is printed once a role is ready: for people first, with settings to paste, then one line for programs. */
export function readyBlock(info: ReadyInfo, options: ReadyOptions): string {
  return [...facts(info), ...settings(info, options), '', readyLine(info), ''].join('\n');
}

/** `READY grpc=HOST:PORT http=HOST:PORT data=DIR`; what a role does not have is left out. */
export function readyLine(info: ReadyInfo): string {
  const fields = [
    ['grpc', info.grpcAddress],
    ['http', info.httpAddress],
    ['data', info.dataFolder],
  ].flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
  return ['READY', ...fields].join(' ');
}

function facts(info: ReadyInfo): readonly string[] {
  const platform = info.workerProperties?.map(({ name, value }) => `${name}=${value}`).join(' ');
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['gRPC', info.grpcAddress],
    ['HTTP', info.httpAddress && `${info.httpAddress} (/livez /readyz /metrics)`],
    ['data', info.dataFolder],
    ['size limit', info.maxSizeBytes === undefined ? undefined : formatSize(info.maxSizeBytes)],
    ['worker', platform],
    ['slots', info.slots === undefined ? undefined : String(info.slots)],
  ];
  const table = rows.flatMap(([name, value]) => (value === undefined ? [] : [`  ${name.padEnd(12)}${value}`]));
  return ['Gantry is ready.', ...table, ...info.notes.map((note) => `  note        ${note}`)];
}

function settings(info: ReadyInfo, options: ReadyOptions): readonly string[] {
  if (info.grpcAddress === undefined) return [];
  const address = reachable(info.grpcAddress, options.hostName);
  const lines = ['', ...bazel(address, options.isReadOnly)];
  // The others have no setting for a socket file, nor one for a cache that only gives.
  if (address.startsWith('unix:') || options.isReadOnly) return lines;
  return [...lines, ...buck2(address), ...buildStream(address)];
}

/** A listener on all addresses is reached by the machine's name. */
function reachable(address: string, hostName: string): string {
  return address.replace(/^(?:0\.0\.0\.0|\[::\]):/, `${hostName}:`);
}

function bazel(address: string, isReadOnly: boolean): readonly string[] {
  const url = address.startsWith('unix:') ? address : `grpc://${address}`;
  const lines = isReadOnly
    ? [`build --remote_cache=${url}`, 'build --noremote_upload_local_results']
    : [`build --remote_executor=${url}`];
  return ['Bazel (.bazelrc):', ...lines.map((line) => `  ${line}`)];
}

function buck2(address: string): readonly string[] {
  const url = `grpc://${address}`;
  return [
    'Buck2 (.buckconfig):',
    '  [buck2]',
    '  digest_algorithms = SHA256',
    '  [buck2_re_client]',
    `  engine_address = ${url}`,
    `  action_cache_address = ${url}`,
    `  cas_address = ${url}`,
    '  tls = false',
  ];
}

/** A store only: BuildStream's commands take the input root for `/`, which the process sandbox of a worker does not do. */
function buildStream(address: string): readonly string[] {
  return ['BuildStream (buildstream.conf):', '  cache:', `    storage-service: { url: 'http://${address}' }`];
}
