import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child, type ChildEnd, childrenOf } from './child.ts';
import { eventually } from './eventually.ts';

/** The project's root. */
export const ROOT = new URL('../..', import.meta.url).pathname;

const MAIN = join(ROOT, 'dist/bin/main.js');

/** What a test asks of a server. */
export interface GantryOptions {
  /** `serve` has a worker of its own. */
  readonly role?: 'serve' | 'server';
  readonly flags?: readonly string[];
  /** Content of the configuration file. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** An older server's folder; without one the server gets a new one. */
  readonly data?: string;
  /** An older server's address. */
  readonly listen?: string;
  /** Where HTTP answers already while the server starts; default: a free port, known when it is ready. */
  readonly http?: string;
}

/** A folder that {@link removeFolders} removes. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'gantry-clients-'));
  folders.push(folder);
  return folder;
}

const folders: string[] = [];
const children: Child[] = [];

/** Ends everything that the tests started, then removes the folders that it used. */
export async function stopEverything(): Promise<void> {
  for (const child of children.splice(0).reverse()) {
    child.signal('SIGTERM');
    await child.killGroup();
  }
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
}

/** A built server in a process of its own. */
export class Gantry {
  readonly data: string;
  readonly grpcAddress: string;
  readonly httpAddress: string;
  readonly #child: Child;

  private constructor(
    child: Child,
    addresses: { readonly data: string; readonly grpcAddress: string; readonly httpAddress: string },
  ) {
    this.#child = child;
    this.data = addresses.data;
    this.grpcAddress = addresses.grpcAddress;
    this.httpAddress = addresses.httpAddress;
  }

  /** Resolves when the server says that it is ready. */
  static async start(options: GantryOptions = {}): Promise<Gantry> {
    return await Gantry.begin(options).ready();
  }

  /** Begins to start a server, for those who look at it meanwhile. */
  static begin(options: GantryOptions = {}): {
    readonly data: string;
    readonly child: Child;
    readonly ready: () => Promise<Gantry>;
  } {
    const data = options.data ?? join(temporaryFolder(), 'data');
    const args = [MAIN, options.role ?? 'serve', '--data', data];
    args.push('--listen', options.listen ?? '127.0.0.1:0', '--http', options.http ?? '127.0.0.1:0');
    const child = startGantry([...args, ...configFlags(options.config), ...(options.flags ?? [])]);
    const ready = async (): Promise<Gantry> => {
      const [, grpcAddress, httpAddress] = await child.outputMatching(/^READY grpc=(\S+) http=(\S+)/m);
      if (grpcAddress === undefined || httpAddress === undefined) throw new Error('no address in the READY line');
      return new Gantry(child, { data, grpcAddress, httpAddress });
    };
    return { data, child, ready };
  }

  get url(): string {
    return `grpc://${this.grpcAddress}`;
  }

  get output(): string {
    return this.#child.output;
  }

  /** The process of the embedded worker. */
  async workerPid(): Promise<number> {
    return await eventually('an embedded worker', () => childrenOf(this.#child.pid)[0]);
  }

  /** The value of a metric without labels. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`http://${this.httpAddress}/metrics`)).text();
    const value = new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1];
    if (value === undefined) throw new Error(`no metric ${name}`);
    return Number(value);
  }

  /** SIGTERM, and waits for the end. */
  async stop(): Promise<void> {
    this.#child.signal('SIGTERM');
    await this.#child.end();
  }

  /** What a crash is: nobody is told. The embedded worker notices by itself. */
  async crash(): Promise<void> {
    this.#child.signal('SIGKILL');
    await this.#child.end();
  }
}

/** A worker of its own for `server`. Resolves when it says that it is ready. */
export async function startWorker(
  server: Pick<Gantry, 'grpcAddress'>,
  flags: readonly string[],
  options: Pick<GantryOptions, 'config' | 'data'> = {},
): Promise<Child> {
  const data = options.data ?? join(temporaryFolder(), 'worker');
  const where = ['--server', server.grpcAddress, '--data', data];
  const child = startGantry([MAIN, 'worker', ...where, ...configFlags(options.config), ...flags]);
  await child.outputMatching(/^READY/m);
  return child;
}

/** Starts a command for operators. */
export function startGantryCommand(...args: readonly string[]): Child {
  return startGantry([MAIN, ...args]);
}

/** Runs a command for operators to its end. */
export async function gantryCommand(...args: readonly string[]): Promise<ChildEnd> {
  return await startGantryCommand(...args).end();
}

function startGantry(args: readonly string[]): Child {
  const child = new Child(process.execPath, args, { cwd: ROOT });
  children.push(child);
  return child;
}

function configFlags(config: GantryOptions['config']): readonly string[] {
  if (config === undefined) return [];
  const file = join(temporaryFolder(), 'gantry.json');
  writeFileSync(file, JSON.stringify(config));
  return ['--config', file];
}
