import { invariant } from '../../errors.ts';
import type { ShareKey } from './events.ts';
import type { FairnessOptions } from './options.ts';

/** Someone work is done for, among siblings: a principal, a build of several invocations, an invocation. */
export interface Share {
  readonly id: string;
  readonly parent: Share | undefined;
  /** Its place among all shares, in one text. */
  readonly text: string;
  weight: number;
  /** Leases that run for it and for what is below it. */
  running: number;
  /** Unfinished tasks of it and of what is below it. */
  tasks: number;
  /** `pointsPerDoubling · log2((running + 1) / weight)`: lower goes first. */
  claim: number;
  /** When something of it, or of what is below it, began last; −∞ if nothing did. */
  servedMs: number;
  /** What a millisecond of waiting is worth. */
  readonly pointsPerMs: number;
  /** Queues in which it has tasks. */
  readonly queues: Set<ClaimListener>;
}

/** Is told when the claim of a share changed. */
export interface ClaimListener {
  claimChanged(share: Share): void;
}

/**
 * How much a share is put back because it was served after its first task was queued: where more shares wait than there are slots, all of
 * them run nothing between their turns, and without this the one whose tasks are the oldest would take every turn.
 */
export function putBackOf({ servedMs, pointsPerMs }: Share, queuedAtMs: number): number {
  return servedMs > queuedAtMs ? (servedMs - queuedAtMs) * pointsPerMs : 0;
}

/** Where nobody says who asks. */
const NOBODY: readonly ShareKey[] = [{ id: '', weight: 1 }];

/** Longer ones are cut: they come from outside and are kept. */
const MAX_SHARE_ID_CHARACTERS = 256;

/** The shares that have unfinished tasks, as trees. Their number is bounded by that of tasks. */
export class Shares {
  readonly #byText = new Map<string, Share>();
  readonly #pointsPerDoubling: number;
  readonly #pointsPerMs: number;

  constructor({
    pointsPerDoubling,
    ageingMsPerPoint,
  }: Pick<FairnessOptions, 'pointsPerDoubling' | 'ageingMsPerPoint'>) {
    this.#pointsPerDoubling = pointsPerDoubling;
    this.#pointsPerMs = 1 / ageingMsPerPoint;
  }

  /** All of them, outer ones before what is below them. */
  all(): Iterable<Share> {
    return this.#byText.values();
  }

  /** Counts a task in, and answers the innermost share of the path. */
  enter(path: readonly ShareKey[] | undefined): Share {
    const keys = path === undefined || path.length === 0 ? NOBODY : path;
    // Paths of different lengths never meet: a share has either tasks or shares below it.
    let text = String(keys.length);
    let share: Share | undefined;
    for (const key of keys) {
      const id = key.id.slice(0, MAX_SHARE_ID_CHARACTERS);
      // With its length, or an id with separators inside could be taken for a path.
      text = `${text}/${id.length}:${id}`;
      share = this.#open(text, id, share);
      share.tasks++;
      if (share.weight !== key.weight && key.weight > 0) {
        share.weight = key.weight;
        this.#reclaim(share);
      }
    }
    invariant(share !== undefined, 'a path of shares has at least one');
    return share;
  }

  /** Counts in a task for a copy of a share of other trees, as it stands there: so turns can be tried out without taking them. */
  enterLike(model: Share): Share {
    const parent = model.parent && this.enterLike(model.parent);
    const known = this.#byText.get(model.text);
    const share: Share = known ?? { ...model, parent, tasks: 0, queues: new Set() };
    if (known === undefined) this.#byText.set(share.text, share);
    share.tasks++;
    return share;
  }

  /** Counts a task out. */
  leave(innermost: Share): void {
    for (let share: Share | undefined = innermost; share !== undefined; share = share.parent) {
      share.tasks--;
      if (share.tasks === 0) this.#byText.delete(share.text);
    }
  }

  /** A lease for it begins (1), at this time, or ends (−1). */
  ran(innermost: Share, change: 1 | -1, nowMs?: number): void {
    for (let share: Share | undefined = innermost; share !== undefined; share = share.parent) {
      share.running += change;
      if (nowMs !== undefined) share.servedMs = nowMs;
      this.#reclaim(share);
    }
  }

  #open(text: string, id: string, parent: Share | undefined): Share {
    const known = this.#byText.get(text);
    if (known !== undefined) return known;
    const counts = { weight: 1, running: 0, tasks: 0, claim: 0, servedMs: Number.NEGATIVE_INFINITY };
    const share: Share = { id, parent, text, ...counts, pointsPerMs: this.#pointsPerMs, queues: new Set() };
    this.#byText.set(text, share);
    return share;
  }

  #reclaim(share: Share): void {
    share.claim = this.#pointsPerDoubling * Math.log2((share.running + 1) / share.weight);
    for (const queue of share.queues) queue.claimChanged(share);
  }
}

/** Whether it is sooner the turn of the first share than of the second, for what was queued then: where their paths part. */
export function goesBefore(first: Share, second: Share, queuedAtMs: number): boolean {
  const path = pathOf(second);
  const parted = pathOf(first).findIndex((share, level) => share !== path[level]);
  const [mine, theirs] = [pathOf(first)[parted], path[parted]];
  if (mine === undefined || theirs === undefined) return false;
  return mine.claim + putBackOf(mine, queuedAtMs) < theirs.claim + putBackOf(theirs, queuedAtMs);
}

/** From the outermost to the innermost. */
export function pathOf(innermost: Share): readonly Share[] {
  const path: Share[] = [];
  for (let share: Share | undefined = innermost; share !== undefined; share = share.parent) path.unshift(share);
  return path;
}
