import type { RecoveryProgress } from '../cas/s3/refresh.ts';
import type { Clock } from '../system/clock.ts';
import { readableDuration, readableShare } from './operator/readable.ts';

/** Characters of the bar. */
const BAR_WIDTH = 24;

/** How far a start is: for `/readyz`, and for whoever started it by hand. */
export class StartProgress {
  readonly #clock: Clock;
  readonly #show: (text: string | undefined) => void;
  #firstMs: number | undefined;
  #text = 'the server is starting';

  /** @param show is told each new text, and undefined when the start is over. */
  constructor(clock: Clock, show: (text: string | undefined) => void) {
    this.#clock = clock;
    this.#show = show;
  }

  /** One sentence. */
  get text(): string {
    return this.#text;
  }

  /** The index of the bucket is being completed. */
  recovering({ listed, done, total }: RecoveryProgress): void {
    if (total === 0) this.#say(`listing the bucket: ${listed} objects so far`);
    else this.#say(`reading the index of the bucket: ${this.#bar(done, total)}`);
  }

  /** The start waits for something. */
  waiting(reason: string): void {
    this.#say(reason);
  }

  /** Nothing more to tell. */
  end(): void {
    this.#show(undefined);
  }

  #say(text: string): void {
    this.#text = text;
    this.#show(text);
  }

  #bar(done: number, total: number): string {
    const nowMs = this.#clock.monotonicMs();
    this.#firstMs ??= nowMs;
    const filled = Math.round((done / total) * BAR_WIDTH);
    const bar = `[${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}]`;
    const elapsedMs = nowMs - this.#firstMs;
    const leftSeconds = done === 0 ? 0 : ((elapsedMs / 1000) * (total - done)) / done;
    const left = elapsedMs > 0 && done > 0 && done < total ? `, about ${readableDuration(leftSeconds)} left` : '';
    return `${bar} ${readableShare(done, total)}, ${done} of ${total} packs${left}`;
  }
}
