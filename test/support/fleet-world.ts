import { type FleetEvent, fleetMethods } from '../../src/admin/fleet-service.ts';
import { FleetSnapshots } from '../../src/admin/fleet-snapshots.ts';
import type { KnownOperation } from '../../src/admin/operation-explanations.ts';
import { OpenAuthorizer } from '../../src/auth/authorizer.ts';
import { InstanceNames } from '../../src/digest/instance-name.ts';
import { FakeClock } from './fake-clock.ts';
import { type CliRun, runProgram } from './operator-world.ts';
import { FakeSchedulerView } from './scheduler-view.ts';
import { startTestServer, type TestServer } from './test-server.ts';

/** Wall time of the server's clock when it starts. */
export const FLEET_START_MS = Date.UTC(2026, 10, 21, 12);

/** A server with a fleet that a test describes, over real sockets and by a clock that moves only when told. */
export class FleetWorld {
  readonly view = new FakeSchedulerView<string>();
  /** The server's. */
  readonly clock = new FakeClock(FLEET_START_MS);
  /** Operations that are not in the queue. */
  readonly known: KnownOperation[] = [];
  /** What the scheduler was told. */
  readonly applied: FleetEvent[] = [];
  #server: TestServer | undefined;

  /** @param options.hasFleet false: a server of others. */
  async start(options: { readonly hasFleet?: boolean } = {}): Promise<void> {
    const times = { nowMs: () => this.clock.monotonicMs(), wallMs: (ms: number) => ms };
    const { view, clock } = this;
    const methods = fleetMethods({
      ...{ view, ...times, clock, authorizer: new OpenAuthorizer(), instances: new InstanceNames() },
      snapshots: new FleetSnapshots({ view, ...times, title: (work) => work }),
      findOperation: async (name) => this.known.find((operation) => operation.name === name),
      finishedOf: async (key) =>
        this.known.filter(
          (operation) => operation.ended !== undefined && operation.key.action.hash === key.action.hash,
        ),
      apply: (event) => {
        this.applied.push(event);
        if (event.type !== 'drain' || !event.on) return;
        const { pattern, reason = '', isTermination = false } = event;
        view.addDrain({ pattern, reason, isTermination, sinceMs: clock.monotonicMs() });
      },
      stopping: new AbortController().signal,
    });
    this.#server = await startTestServer(options.hasFleet === false ? [] : methods);
  }

  async stop(): Promise<void> {
    await this.#server?.close();
  }

  /** Where the server listens. */
  get address(): string {
    return `127.0.0.1:${this.#server?.port}`;
  }

  /** Runs the program against the server. */
  run(...args: readonly string[]): Promise<CliRun> {
    return runProgram([...args, '--server', this.address]);
  }
}
