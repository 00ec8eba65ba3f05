import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import type { BuildClient, Ended } from './build-client.ts';
import { marksOf } from './canaries.ts';
import type { ChaosAction } from './chaos-action.ts';
import type { ChaosFleet } from './chaos-fleet.ts';
import type { ChaosWorker } from './chaos-worker.ts';

/** How long before a crash an operation has to be over to be known afterwards: what is kept of it is written behind the answer. */
const ARCHIVED_MS = 2_000;

/** How long after its start a server may be waiting for workers that come back, and some time for a busy machine. */
const REUNION_MS = 4_000;

/** An action that clients asked for. */
interface Asked {
  readonly action: ChaosAction;
  readonly sinceMs: number;
  /** Clients that wait for it. */
  waiting: number;
  untilMs: number;
  /** How often it may have been run again because it was on its way when a server died. */
  onTheWay: number;
  readonly ended: Ended[];
}

interface Time {
  readonly fromMs: number;
  untilMs: number;
}

/** A time in which a worker could not keep what it ran, or could not say that it does. */
interface Harm extends Time {
  readonly worker: ChaosWorker;
  /** What a worker ran stays its own if it is back in time: but a server that was just started waits for it only so long. */
  readonly isShort: boolean;
}

/** What was asked for, what became of it, and what may excuse that an action ran more than once. */
export class Ledger {
  readonly #asked = new Map<string, Asked>();
  readonly #harms: Harm[] = [];
  readonly #outages: Time[] = [];
  readonly #fleet: ChaosFleet;

  constructor(fleet: ChaosFleet) {
    this.#fleet = fleet;
  }

  /** Executions that ended. */
  get ended(): number {
    return [...this.#asked.values()].reduce((sum, { ended }) => sum + ended.length, 0);
  }

  /** Has a client build an action. @throws AssertionError if it does not end as it has to. */
  async build(client: BuildClient, action: ChaosAction): Promise<Ended> {
    const { name } = action.plan;
    const asked = this.#asked.get(name) ?? {
      ...{ action, sinceMs: Date.now(), waiting: 0, untilMs: 0, onTheWay: 0, ended: [] },
    };
    this.#asked.set(name, asked);
    asked.waiting++;
    const ended = await client.build(action);
    asked.waiting--;
    asked.untilMs = Date.now();
    asked.ended.push(ended);
    expectRight(action, ended);
    return ended;
  }

  /** Names of the actions that are asked for and have begun. */
  running(): readonly string[] {
    return [...this.#asked].flatMap(([name, { waiting }]) =>
      waiting > 0 && marksOf(this.#fleet.canaries, name).runs.length > 0 ? [name] : [],
    );
  }

  /**
   * The server died: what had not begun may have been on its way to a worker, and what had ended on its way into the store. Everything else
   * was running. @returns notes that the next server is there.
   */
  serverDied(): () => void {
    for (const [name, asked] of this.#asked) {
      const { runs, ends } = marksOf(this.#fleet.canaries, name);
      if (asked.waiting > 0 && (runs.length === 0 || ends > 0)) asked.onTheWay++;
    }
    const isBack = begin(this.#outages, {});
    const outage = this.#outages.at(-1);
    return () => {
      isBack();
      if (outage !== undefined) outage.untilMs += REUNION_MS;
    };
  }

  /** From now until the end of the harm, what the worker runs may have to run elsewhere. @returns ends it. */
  harm(worker: ChaosWorker): () => void {
    return begin(this.#harms, { worker, isShort: false });
  }

  /** The same of trouble that matters only to a server that was just started. @returns ends it. */
  hitch(worker: ChaosWorker): () => void {
    return begin(this.#harms, { worker, isShort: true });
  }

  /** @throws AssertionError if an action ran more often than what happened explains. */
  expectRunsExplained(): void {
    const complaints: string[] = [];
    for (const [name, asked] of this.#asked) {
      const { runs } = marksOf(this.#fleet.canaries, name);
      const most = this.#mostRuns(asked);
      if (runs.length >= 1 && runs.length <= most) continue;
      const where = runs
        .map(({ begun, folder }) => `${this.#workerOf(folder)?.plan.name ?? folder} at ${begun}`)
        .join(', ');
      const how = asked.ended.map(({ executes, waits, response }) => `${executes}/${waits} ${response.message}`);
      const times = [asked.sinceMs, asked.untilMs].map((ms) => new Date(ms).toISOString()).join(' to ');
      complaints.push(
        `${JSON.stringify(asked.action.plan)}, asked for from ${times}, ran ${runs.length} times, on ${where}; ` +
          `${most} are explained; executes/waits: ${how.join('; ')}`,
      );
    }
    assert.equal(complaints.length, 0, `\n${complaints.join('\n')}`);
  }

  /**
   * To be asked of a server after a crash at that time: everything acknowledged is there.
   * @throws AssertionError if a successful result is not cached, an output is gone, or an operation is forgotten.
   */
  async expectKept(client: BuildClient, diedMs: number): Promise<void> {
    const all = [...this.#asked.values()].filter(({ ended }) => ended.length > 0);
    const successes = all.filter(({ action: { plan } }) => plan.exitCode === 0 && !plan.doNotCache);
    assert.deepEqual(await client.missing(successes.map(({ action }) => action.output)), [], 'outputs are gone');
    for (const { action, ended, untilMs } of all) {
      const { plan } = action;
      const last = ended.at(-1);
      if (last === undefined || untilMs > diedMs) continue;
      if (![...this.#outages, { fromMs: diedMs }].some(({ fromMs }) => isShortlyBefore(untilMs, fromMs))) {
        const kept = await client.finished(last.operation);
        assert.ok(kept, `the operation of ${plan.name} is forgotten`);
        expectRight(action, { ...last, response: kept });
      }
      if (plan.exitCode !== 0 || plan.doNotCache) continue;
      const again = await client.execute(action);
      assert.equal(again.response.cachedResult, true, `the result of ${plan.name} is not cached`);
      expectRight(action, again);
    }
  }

  #mostRuns({ action: { plan }, sinceMs, untilMs, onTheWay, ended }: Asked): number {
    const { runs } = marksOf(this.#fleet.canaries, plan.name);
    const lifetime = { fromMs: sinceMs, untilMs };
    const harms = this.#harms.filter(
      (harm) =>
        overlap(harm, lifetime) &&
        (!harm.isShort || this.#outages.some((outage) => overlap(harm, outage))) &&
        runs.some(({ folder }) => harm.worker.owns(folder)),
    );
    const executes = ended.reduce((sum, each) => sum + each.executes, 0);
    // What is not cached runs for every Execute that was not told the end of a run before it.
    const isCached = plan.exitCode === 0 && !plan.doNotCache;
    return harms.length + (isCached ? 1 + onTheWay : executes);
  }

  #workerOf(folder: string): ChaosWorker | undefined {
    return this.#fleet.workers.find((worker) => worker.owns(folder));
  }
}

/** Notes something that begins now. @returns notes its end. */
function begin<T extends object>(times: (T & Time)[], what: T): () => void {
  const time = { ...what, fromMs: Date.now(), untilMs: Number.POSITIVE_INFINITY };
  times.push(time);
  return () => {
    time.untilMs = Date.now();
  };
}

function isShortlyBefore(endedMs: number, diedMs: number): boolean {
  return endedMs <= diedMs && endedMs > diedMs - ARCHIVED_MS;
}

function overlap(a: Time, b: Time): boolean {
  return a.fromMs <= b.untilMs && b.fromMs <= a.untilMs;
}

/** @throws AssertionError unless this is how the action ends, whatever happened to those who ran it. */
function expectRight({ plan, stdout, output }: ChaosAction, { response }: Ended): void {
  const what = `${plan.name}: ${response.message}`;
  assert.equal(response.status?.code ?? 0, status.OK, `${what} ${response.status?.message}`);
  assert.equal(response.result?.exitCode, plan.exitCode, what);
  assert.equal(Buffer.from(response.result.stdoutRaw).toString(), stdout, what);
  assert.deepEqual(
    response.result.outputFiles.map(({ path, digest }) => ({ path, digest })),
    [{ path: 'out.txt', digest: output }],
  );
}
