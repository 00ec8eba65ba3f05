import type { Clock } from '../../system/clock.ts';
import type { BucketTime } from './bucket-time.ts';
import type { Container } from './containers.ts';

/** How long at least other servers leave the containers of a writer alone that they hear nothing of, in milliseconds. */
const MIN_DEAD_AFTER_MS = 1_800_000;

/** Refreshes that a writer may miss before it counts as dead. */
const MISSED_REFRESHES = 4;

/** When a writer that refreshes so often counts as dead: milliseconds since something was heard of it. */
export function deadAfterMs(refreshMs: number): number {
  return Math.max(MIN_DEAD_AFTER_MS, MISSED_REFRESHES * refreshMs);
}

/** What promises rest on. */
export interface PromisesOptions {
  /** This server. */
  readonly writer: string;
  /** What is known of others is used no longer than that after the refresh it comes from, in milliseconds. */
  readonly refreshMs: number;
  /** How long presence is promised after a look, in seconds. */
  readonly retentionSeconds: number;
  /** After an unclean stop it is not known what was promised: for the time of a lease everything counts. */
  readonly wasUnclean: boolean;
}

/** What may be promised at one moment. */
export interface Look {
  /** Seconds since 1970. */
  readonly now: number;
  readonly mayPromise: (container: Container) => boolean;
  /** Whether the others still count on this server to look after what it knows. */
  readonly isHeard: boolean;
}

/**
 * What this server may promise of the bucket, and what it has promised.
 *
 * A condemned container is deleted two refreshes and one lease after every server can know of it. So what is known of the containers
 * of others may be relied on for one refresh after it was read; of a condemned one for one refresh after it was learned; and in both
 * cases for the lease that is given then. Own containers are condemned by nobody else, unless we seem to be dead.
 */
export class Promises {
  readonly #clock: Clock;
  readonly #time: BucketTime;
  readonly #options: PromisesOptions;
  readonly #allLeasedUntil: number;
  readonly #startedMs: number;
  #refreshedMs: number | undefined;

  constructor(clock: Clock, time: BucketTime, options: PromisesOptions) {
    this.#clock = clock;
    this.#time = time;
    this.#options = options;
    this.#startedMs = clock.monotonicMs();
    this.#allLeasedUntil = options.wasUnclean ? time.now() + this.leaseSeconds : 0;
  }

  /** How long a row is held after it was touched: longer than promised, so that most looks need no note. */
  get leaseSeconds(): number {
    return this.#options.retentionSeconds + this.slackSeconds;
  }

  /** A row that was touched less than that ago need not be touched again. */
  get slackSeconds(): number {
    return Math.ceil(this.#options.retentionSeconds / 2);
  }

  /** A refresh that began then has been completed. @param startedMs monotonic. */
  refreshed(startedMs: number): void {
    this.#refreshedMs = startedMs;
  }

  /** Monotonic milliseconds since what is known was true; undefined if it never was. */
  get staleMs(): number | undefined {
    return this.#refreshedMs === undefined ? undefined : this.#clock.monotonicMs() - this.#refreshedMs;
  }

  /** Whether what is in the container may be promised to be there for another lease. */
  mayPromise(container: Container): boolean {
    return this.look().mayPromise(container);
  }

  /** The same for many containers at one moment: asking the clock for each costs more than the answer. */
  look(): Look {
    const { writer, refreshMs } = this.#options;
    const nowMs = this.#clock.monotonicMs();
    const staleMs = this.#refreshedMs === undefined ? Number.POSITIVE_INFINITY : nowMs - this.#refreshedMs;
    const isOwnFresh = staleMs < deadAfterMs(refreshMs) / 2;
    const isFresh = staleMs < refreshMs;
    return {
      now: this.#time.now(),
      // After a start without S3 it is not known when that was: it is counted from the start.
      isHeard: nowMs - (this.#refreshedMs ?? this.#startedMs) < deadAfterMs(refreshMs) / 2,
      mayPromise: ({ id, condemned }) => {
        if (condemned !== undefined && nowMs - condemned.learnedMs >= refreshMs) return false;
        return isFresh || (isOwnFresh && id.writer === writer);
      },
    };
  }

  /** Whether a row that was touched then may still be relied on by somebody. */
  isLeased(touched: number): boolean {
    const now = this.#time.now();
    return touched + this.leaseSeconds > now || now < this.#allLeasedUntil;
  }
}
