import { existsSync, rmSync, writeFileSync } from 'node:fs';
import type { Clock, Timer } from '../system/clock.ts';
import type { Log } from '../system/log.ts';

/** How long nothing has to run before the marker goes: a build pauses now and then. */
const IDLE_MS = 5_000;

/** A file that is there while actions run, so that the next server knows whether workers may come back with some. */
export class RunningMarker {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #log: Log;
  #isSet: boolean;
  #timer: Timer | undefined;

  constructor(path: string, clock: Clock, log: Log) {
    this.#path = path;
    this.#clock = clock;
    this.#log = log;
    this.#isSet = existsSync(path);
    if (this.#isSet) this.note(false);
  }

  /** Whether actions were running when a former server ended. To be asked before the first note. */
  get isSet(): boolean {
    return this.#isSet;
  }

  /** Takes note of whether something runs. Cheap while nothing changes. */
  note(isRunning: boolean): void {
    if (isRunning) {
      this.#timer?.cancel();
      this.#timer = undefined;
      if (!this.#isSet) this.#try(() => writeFileSync(this.#path, ''));
      this.#isSet = true;
    } else if (this.#isSet && this.#timer === undefined) {
      this.#timer = this.#clock.wakeAt(this.#clock.monotonicMs() + IDLE_MS, () => this.#clear());
    }
  }

  /** At an orderly stop: what runs then goes on without the server. */
  stop(): void {
    if (this.#timer === undefined) return;
    this.#timer.cancel();
    this.#clear();
  }

  #clear(): void {
    this.#timer = undefined;
    this.#isSet = false;
    this.#try(() => rmSync(this.#path, { force: true }));
  }

  /** Without it an action may run twice after a restart; nothing worse. */
  #try(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#log.warn({ err: error }, 'the marker of running actions cannot be changed');
    }
  }
}
