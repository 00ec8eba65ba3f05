/** What an order of use needs of its members; only the order writes these fields. */
export interface Placed<T> {
  older: T | undefined;
  newer: T | undefined;
  /** Rises towards the newer end. */
  place: number;
}

/** A walk that is under way. */
interface Walk<T> {
  readonly towards: 'older' | 'newer';
  next: T | undefined;
}

/**
 * Members from the least to the most recently used, as a chain through the members themselves.
 *
 * Walks may pause for as long as they like while members come, go and move. A walk gives each member once that stays where it is;
 * one that leaves or moves to the newest end before the walk gets to it is not given, nor is one that was added since it began.
 * `sort` during a walk voids that. Pure.
 */
export class UseOrder<T extends Placed<T>> {
  #oldest: T | undefined;
  #newest: T | undefined;
  #lastPlace = 0;
  /** Few: removing a member looks at all of them. */
  readonly #walks = new Set<Walk<T>>();

  get oldest(): T | undefined {
    return this.#oldest;
  }

  /** Puts a member that is not in the order at its newest end. */
  add(member: T): void {
    member.older = this.#newest;
    member.newer = undefined;
    member.place = ++this.#lastPlace;
    if (this.#newest === undefined) this.#oldest = member;
    else this.#newest.newer = member;
    this.#newest = member;
  }

  /** Takes a member out. */
  remove(member: T): void {
    for (const walk of this.#walks) {
      if (walk.next === member) walk.next = member[walk.towards];
    }
    if (member.older === undefined) this.#oldest = member.newer;
    else member.older.newer = member.newer;
    if (member.newer === undefined) this.#newest = member.older;
    else member.newer.older = member.older;
    member.older = undefined;
    member.newer = undefined;
  }

  /** Makes a member the newest. */
  renew(member: T): void {
    this.remove(member);
    this.add(member);
  }

  /** Walks from the newest to the oldest, or the other way. Whoever stops early calls `return`, as `for … of` does. */
  *walk(towards: 'older' | 'newer'): Generator<T, void> {
    const lastPlace = this.#lastPlace;
    const walk: Walk<T> = { towards, next: towards === 'older' ? this.#newest : this.#oldest };
    this.#walks.add(walk);
    try {
      for (let member = walk.next; member !== undefined && member.place <= lastPlace; member = walk.next) {
        walk.next = member[towards];
        yield member;
      }
    } finally {
      this.#walks.delete(walk);
    }
  }

  /** Puts all members in another order; those that compare equal stay as they were. Takes time for all of them. */
  sort(compare: (a: T, b: T) => number): void {
    const members = [...this.walk('newer')].sort(compare);
    this.#oldest = undefined;
    this.#newest = undefined;
    this.#lastPlace = 0;
    for (const member of members) this.add(member);
  }
}
