import { isKind, ReapiError, throwIfAborted } from '../../errors.ts';
import { FleetDefinition, type FleetSnapshot } from '../../gen/gantry/v1/fleet.ts';
import type { RpcClient } from '../../rpc/client.ts';
import { type Clock, SystemClock, sleep, type Timer } from '../../system/clock.ts';
import { ENTER_SCREEN, LEAVE_SCREEN, type Screen, screenFrame } from './screen.ts';
import { CALL_TIMEOUT_MS } from './server-connection.ts';
import type { Terminal } from './terminal.ts';
import { topLines } from './top-text.ts';
import { withFleet } from './with-fleet.ts';

/** What a view of a fleet is shown on, and until when. */
export interface TopOptions {
  /** Absent: standard output is no terminal, so one snapshot is printed. */
  readonly screen?: Screen;
  /** One snapshot is printed, whatever there is. */
  readonly isOnce: boolean;
  readonly intervalMs: number;
  readonly signal: AbortSignal;
}

/** Most entries of each list that are asked for: more than any screen has lines. */
const LISTED = 500;

/** Width of what is not shown on a terminal. */
const COLUMNS_WITHOUT_SCREEN = 160;

/** How long it is waited before a server that was there is asked again. */
const RETRY_MS = 1_000;

/** A snapshot that is late by so much is missed: a machine that lost its power closes no connection. */
const SILENCE_MS = 10_000;

/** Keys that end the view: q, Ctrl-C, Ctrl-D and Escape alone. */
const LEAVING_KEYS: ReadonlySet<string> = new Set(['q', 'Q', '\x03', '\x04', '\x1b']);

/** `gantry top`: shows a fleet live until a key or a signal ends it, or prints one snapshot. @throws as the calls do. */
export async function top(target: string, terminal: Terminal, options: TopOptions): Promise<void> {
  const { screen, isOnce, signal } = options;
  if (screen !== undefined && !isOnce) {
    await withFleet(target, (client) => new TopView(target, terminal, screen).run(client, options));
    return;
  }
  const fleet = await withFleet(target, (client) =>
    client.unary(
      FleetDefinition,
      FleetDefinition.methods.getFleet,
      { limit: LISTED, withNodes: false },
      { signal, timeoutMs: CALL_TIMEOUT_MS },
    ),
  );
  const columns = screen?.size().columns ?? COLUMNS_WITHOUT_SCREEN;
  const lines = topLines(fleet, { columns, rows: Number.POSITIVE_INFINITY, server: target });
  terminal.out(lines.map(({ text }) => `${text}\n`).join(''));
}

/** The live view: newest snapshot, drawn again when it or the size changes; one frame is written at a time. */
class TopView {
  readonly #target: string;
  readonly #terminal: Terminal;
  readonly #screen: Screen;
  readonly #clock: Clock;
  readonly #leaving = new AbortController();
  #latest: FleetSnapshot | undefined;
  #problem: string | undefined;
  #drawing: Promise<void> | undefined;
  #patience: Timer | undefined;
  #isStale = false;

  constructor(target: string, terminal: Terminal, screen: Screen) {
    this.#target = target;
    this.#terminal = terminal;
    this.#screen = screen;
    this.#clock = terminal.clock ?? new SystemClock();
  }

  /** Takes the screen once there is something to show, and gives it back in any case. */
  async run(client: RpcClient, { intervalMs, signal }: TopOptions): Promise<void> {
    const until = AbortSignal.any([signal, this.#leaving.signal]);
    const enders: (() => void)[] = [];
    this.#awaitAnswer(CALL_TIMEOUT_MS);
    try {
      for await (const fleet of this.#snapshots(client, intervalMs, until)) {
        if (this.#latest === undefined) {
          this.#terminal.out(ENTER_SCREEN);
          enders.push(() => this.#terminal.out(LEAVE_SCREEN));
          enders.push(this.#screen.onResize(() => this.#draw()));
          enders.push(this.#screen.onKey((key) => this.#press(key)));
        }
        this.#latest = fleet;
        this.#problem = undefined;
        this.#awaitAnswer(intervalMs + SILENCE_MS);
        this.#draw();
        // A slow terminal slows the snapshots down: they do not pile up.
        await this.#drawing;
      }
    } catch (error) {
      const { reason } = this.#leaving.signal;
      if (reason instanceof Error) throw reason;
      // Whoever ends the view gets what they wanted.
      if (!until.aborted) throw error;
    } finally {
      this.#patience?.cancel();
      await this.#drawing;
      for (const end of enders.reverse()) end();
    }
  }

  /** Snapshots as they come. A server that was there once is waited for. */
  async *#snapshots(client: RpcClient, intervalMs: number, signal: AbortSignal): AsyncGenerator<FleetSnapshot, void> {
    const request = { intervalMs, limit: LISTED, withNodes: false };
    for (;;) {
      throwIfAborted(signal);
      try {
        yield* client.serverStream(FleetDefinition, FleetDefinition.methods.watchFleet, request, { signal });
      } catch (error) {
        if (this.#latest === undefined || !(isKind(error, 'unavailable') || isKind(error, 'timed-out'))) throw error;
        this.#miss(`trying again (${error.message})`);
        await sleep(this.#clock, RETRY_MS, signal);
        continue;
      }
      // A server that ends the stream in order will not go on with it.
      await sleep(this.#clock, RETRY_MS, signal);
    }
  }

  /** A server that says nothing at all is noticed, too. Without a picture there is nothing to go on with. */
  #awaitAnswer(ms: number): void {
    this.#patience?.cancel();
    this.#patience = this.#clock.wakeAt(this.#clock.monotonicMs() + ms, () => {
      if (this.#latest !== undefined) this.#miss('waiting for it');
      else this.#leaving.abort(new ReapiError('timed-out', `no answer within ${ms / 1000} s`));
    });
  }

  #miss(what: string): void {
    this.#problem = `NO ANSWER from the server, this is what it said last; ${what}`;
    this.#draw();
  }

  #press(key: string): void {
    if (LEAVING_KEYS.has(key)) this.#leaving.abort('a key ended it');
  }

  #draw(): void {
    this.#isStale = true;
    this.#drawing ??= this.#write()
      // Its terminal is gone or broken: there is nothing left to show anything on.
      .catch((error: unknown) => this.#leaving.abort(error))
      .finally(() => {
        this.#drawing = undefined;
      });
  }

  async #write(): Promise<void> {
    while (this.#isStale && this.#latest !== undefined && !this.#leaving.signal.aborted) {
      this.#isStale = false;
      const { columns, rows } = this.#screen.size();
      const problem = this.#problem === undefined ? {} : { problem: this.#problem };
      // Clearing the rest of a line that has none would take its last character.
      const lines = topLines(this.#latest, { columns: columns - 1, rows, server: this.#target, ...problem });
      const isRead = await this.#terminal.writeOut(Buffer.from(screenFrame(lines)));
      if (!isRead) this.#leaving.abort('nobody reads any more');
    }
  }
}
