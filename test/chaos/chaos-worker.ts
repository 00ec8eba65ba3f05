import { realpathSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { killProcessesIn } from '../../src/worker/leftovers.ts';
import { Child, type ChildEnd } from '../clients/child.ts';
import { ROOT } from '../clients/gantry.ts';
import { TcpProxy } from './tcp-proxy.ts';

/** What a worker is. */
export interface WorkerPlan {
  readonly name: string;
  readonly slots: number;
  readonly pool: string;
}

/** Where a worker lives, whom it works for, and how. */
export interface WorkerSurroundings {
  /** Its own. */
  readonly folder: string;
  /** `host:port` of the server, looked at for every connection. */
  readonly server: () => string;
  readonly config: Readonly<Record<string, unknown>>;
}

/** A worker in a process of its own, behind a proxy of its own. */
export class ChaosWorker {
  readonly plan: WorkerPlan;
  readonly proxy: TcpProxy;
  readonly #folder: string;
  #child: Child;
  #formerOutput = '';

  private constructor(plan: WorkerPlan, folder: string, proxy: TcpProxy) {
    this.plan = plan;
    this.#folder = folder;
    this.proxy = proxy;
    this.#child = this.#spawn();
  }

  /** Resolves when it says that it is ready. */
  static async start(plan: WorkerPlan, { folder, server, config }: WorkerSurroundings): Promise<ChaosWorker> {
    await mkdir(folder, { recursive: true });
    const proxy = await TcpProxy.start(server);
    const worker = { nodeName: plan.name, folder: join(folder, 'worker') };
    writeFileSync(join(folder, 'gantry.json'), JSON.stringify({ ...config, worker, stop: { graceSeconds: 60 } }));
    const started = new ChaosWorker(plan, realpathSync(folder), proxy);
    await started.#ready();
    return started;
  }

  /** Whether this is a folder of an action that it runs or ran. */
  owns(folder: string): boolean {
    return folder.startsWith(`${this.#folder}/`);
  }

  /** What its processes wrote, one after the other. */
  get output(): string {
    return this.#formerOutput + this.#child.output;
  }

  /** What a crash is. Processes of its actions live on, as they do when a process dies. */
  async crash(): Promise<void> {
    this.#child.signal('SIGKILL');
    await this.#child.end();
  }

  /** SIGTERM: it is to finish what it runs. */
  stop(): void {
    this.#child.signal('SIGTERM');
  }

  /** Starts it again after it ended. */
  async restart(): Promise<void> {
    this.#formerOutput = this.output;
    this.#child = this.#spawn();
    await this.#ready();
  }

  /** Lets it do nothing, and sends nothing to its actions, until `wake`. */
  sleep(): void {
    this.#child.signal('SIGSTOP');
  }

  wake(): void {
    this.#child.signal('SIGCONT');
  }

  /** Resolves when it has ended by itself. */
  end(): Promise<ChildEnd> {
    return this.#child.end();
  }

  /** Starts it again whenever it ends, as a service manager does, until the signal aborts. */
  async supervise(signal: AbortSignal): Promise<void> {
    const aborted = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    while (!signal.aborted) {
      await Promise.race([this.#child.end(), aborted]);
      if (!signal.aborted) await this.restart();
    }
  }

  /** Ends it with all that it started. */
  async destroy(): Promise<void> {
    await this.#child.killGroup();
    killProcessesIn(this.#folder);
    await this.proxy.stop();
  }

  #spawn(): Child {
    const { slots, pool } = this.plan;
    const args = [join(ROOT, 'dist/bin/main.js'), 'worker', '--config', join(this.#folder, 'gantry.json')];
    args.push('--data', this.#folder, '--server', this.proxy.address);
    args.push('--slots', String(slots), '--platform', `pool=${pool}`);
    return new Child(process.execPath, args, { cwd: ROOT });
  }

  async #ready(): Promise<void> {
    await this.#child.outputMatching(/^READY/m);
  }
}
