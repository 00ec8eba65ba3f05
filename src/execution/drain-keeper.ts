import type { EntryStore } from '../entries/entry-store.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { DrainEvent, Labels } from './scheduler/events.ts';
import type { SchedulerHost } from './scheduler-host.ts';

/** What the keeper works with. */
export interface DrainKeeperParts {
  readonly host: Pick<SchedulerHost, 'apply' | 'observe' | 'view'>;
  readonly entries: EntryStore;
  readonly clock: Clock;
  readonly log: Log;
}

/** Key of the entry; its value is a list of drains as JSON. */
const ENTRY = 'fleet/drains';

/** Keeps the drains in force over a restart: a node that an operator took out does not come back by itself. */
export class DrainKeeper {
  readonly #parts: DrainKeeperParts;
  readonly #abort = new AbortController();
  #writing: Promise<void> = Promise.resolve();
  #isDirty = false;

  constructor(parts: DrainKeeperParts) {
    this.#parts = parts;
  }

  /** Begins the drains of the former server again, and keeps what changes from now on. Drains that cannot be read are reported. */
  async start(signal: AbortSignal): Promise<void> {
    const { host, entries, log } = this.#parts;
    try {
      const entry = await entries.get(ENTRY, signal);
      for (const drain of entry === undefined ? [] : drainsOf(entry.value)) host.apply(drain);
    } catch (error) {
      // What is stored stays as it is: it may be readable for the next server.
      log.error(
        { err: error },
        'the drains of before the restart are not known: nodes that were drained get work, and changes are not kept',
      );
      return;
    }
    host.observe((event) => {
      if (event.type === 'drain') this.#keep();
    });
  }

  /** Waits for the last write. @param graceMs how long it may take. */
  async stop(graceMs: number): Promise<void> {
    const { clock } = this.#parts;
    const timeUp = clock.wakeAt(clock.monotonicMs() + graceMs, () => this.#abort.abort());
    await this.#writing;
    timeUp.cancel();
  }

  /** One write at a time; changes meanwhile are written by the next. */
  #keep(): void {
    if (this.#isDirty) return;
    this.#isDirty = true;
    this.#writing = this.#writing.then(() => this.#write());
  }

  async #write(): Promise<void> {
    const { host, entries, log } = this.#parts;
    this.#isDirty = false;
    const drains = host.view.drains().map(({ pattern, reason, isTermination }) => ({ pattern, reason, isTermination }));
    try {
      await entries.put(ENTRY, Buffer.from(JSON.stringify(drains)), this.#abort.signal);
    } catch (error) {
      log.error({ err: error }, 'the drains cannot be kept: after a restart they are forgotten');
    }
  }
}

/** @throws if it is not what `#write` writes. */
function drainsOf(value: Uint8Array): readonly DrainEvent[] {
  const drains: unknown = JSON.parse(Buffer.from(value).toString());
  if (!Array.isArray(drains)) throw new TypeError('the drains are not a list');
  return drains.map((drain: unknown) => {
    if (!isRecord(drain) || !isLabels(drain['pattern'])) throw new TypeError('a drain has no pattern');
    const { pattern, reason, isTermination } = drain;
    return { type: 'drain', on: true, pattern, reason: String(reason ?? ''), isTermination: isTermination === true };
  });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isLabels(value: unknown): value is Labels {
  return isRecord(value) && Object.values(value).every((each) => typeof each === 'string');
}
