import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { ShareKey } from './events.ts';
import { FairQueue, firstOf, type Queueable } from './fair-queue.ts';
import { pathOf, type Share, Shares } from './shares.ts';

interface Item extends Queueable {
  readonly arrival: number;
  order: number;
  seniority: number;
  readonly queue: FairQueue<Item>;
}

const FAIRNESS = { pointsPerDoubling: 100, ageingMsPerPoint: 60_000 };

/** What `firstOf` is to answer, from the words of its comment and nothing else. */
function naiveFirst(items: readonly Item[]): Item | undefined {
  let candidates = items;
  for (let level = 0; ; level++) {
    const shares = new Set(candidates.map((item) => pathOf(item.share)[level]).filter((share) => share !== undefined));
    if (shares.size === 0) return headOf(candidates);
    const below = (share: Share): readonly Item[] => candidates.filter((item) => pathOf(item.share)[level] === share);
    const ranked = [...shares].flatMap((share) => {
      // In each queue the first task below a share speaks for it.
      const queues = [...new Set(below(share).map(({ queue }) => queue))];
      return queues.map((queue) => {
        const own = below(share).filter((item) => item.queue === queue);
        const head = naiveFirstBelow(own, level + 1);
        return { share, claim: claimOf(share, head), arrival: head.arrival };
      });
    });
    const [first] = ranked.sort((a, b) => a.claim - b.claim || a.arrival - b.arrival);
    assert.ok(first);
    candidates = below(first.share);
  }
}

/** The task of one queue that goes first among those below one share. */
function naiveFirstBelow(items: readonly Item[], level: number): Item {
  const shares = new Set(items.map((item) => pathOf(item.share)[level]).filter((share) => share !== undefined));
  const heads = [...shares].map((share) => {
    const first = naiveFirstBelow(
      items.filter((item) => pathOf(item.share)[level] === share),
      level + 1,
    );
    return { first, claim: claimOf(share, first) };
  });
  const [best] = heads.sort((a, b) => a.claim - b.claim || a.first.arrival - b.first.arrival);
  const first = best?.first ?? headOf(items);
  assert.ok(first);
  return first;
}

function headOf(items: readonly Item[]): Item | undefined {
  return [...items].sort((a, b) => a.order - b.order || a.arrival - b.arrival)[0];
}

function claimOf({ running, weight, servedMs }: Share, { seniority, queuedAtMs }: Item): number {
  const claim = FAIRNESS.pointsPerDoubling * Math.log2((running + 1) / weight);
  return claim + seniority + Math.max(0, servedMs - queuedAtMs) * (1 / FAIRNESS.ageingMsPerPoint);
}

const PATHS: readonly (readonly ShareKey[])[] = ['aa', 'ab', 'ba', 'bb', 'bc'].map((ids) =>
  [...ids].map((id) => ({ id, weight: id === 'c' ? 2 : 1 })),
);

interface Step {
  readonly type: 'push' | 'remove' | 'change' | 'run' | 'rest' | 'take';
  readonly at: number;
  readonly queue: number;
  readonly points: number;
  readonly longer: number;
}

const STEPS: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.record({
    type: fc.constantFrom('push', 'push', 'push', 'remove', 'change', 'run', 'rest', 'take'),
    at: fc.nat(30),
    queue: fc.nat(2),
    points: fc.integer({ min: -150, max: 150 }),
    longer: fc.nat(5),
  }),
  { maxLength: 60 },
);

class World {
  readonly shares = new Shares(FAIRNESS);
  readonly queues = [new FairQueue<Item>(), new FairQueue<Item>(), new FairQueue<Item>()];
  items: Item[] = [];
  nowMs = 0;
  #arrivals = 0;

  push(path: readonly ShareKey[], points: number, { queue = 0, longer = 0 } = {}): Item {
    const into = this.queues[queue] ?? new FairQueue<Item>();
    const arrival = this.#arrivals++;
    const facts = { order: points - longer, seniority: points, arrival, queue: into, queuedAtMs: this.nowMs };
    const item: Item = { heapIndex: -1, share: this.shares.enter(path), ...facts };
    into.push(item);
    this.items.push(item);
    return item;
  }

  remove(item: Item): void {
    item.queue.remove(item);
    assert.equal(item.heapIndex, -1);
    this.items = this.items.filter((other) => other !== item);
    this.shares.leave(item.share);
  }

  do({ type, at, queue, points, longer }: Step): void {
    const chosen = this.items[at % Math.max(1, this.items.length)];
    this.nowMs += at * 60_000;
    if (type === 'push') this.push(PATHS[at % PATHS.length] ?? [], points, { queue, longer });
    else if (chosen === undefined) return;
    else if (type === 'remove') this.remove(chosen);
    else if (type === 'change') {
      chosen.seniority = points;
      chosen.order = points - longer;
      chosen.queue.update(chosen);
    } else if (type === 'run') this.shares.ran(chosen.share, 1, this.nowMs);
    else if (type === 'rest' && chosen.share.running > 0) this.shares.ran(chosen.share, -1);
    else if (type === 'take') {
      const first = firstOf(this.queues);
      if (first !== undefined) this.remove(first);
    }
  }

  check(): void {
    for (const queue of this.queues) {
      const own = this.items.filter((item) => item.queue === queue);
      assert.equal(queue.size, own.length);
      assert.deepEqual(new Set(queue.items()), new Set(own));
      assert.equal(firstOf([queue]), naiveFirst(own));
    }
    assert.equal(firstOf(this.queues), naiveFirst(this.items));
  }
}

const alice = [{ id: 'alice', weight: 1 }];
const bob = [{ id: 'bob', weight: 1 }];

describe('FairQueue', () => {
  it('law: gives what a naive search gives, in one queue and in several, after any changes of tasks and claims', () => {
    fc.assert(
      fc.property(STEPS, (steps) => {
        const world = new World();
        for (const step of steps) {
          world.do(step);
          world.check();
        }
      }),
    );
  });

  it('law: taking one after the other empties it, and leaves no trace in the shares', () => {
    fc.assert(
      fc.property(STEPS, (steps) => {
        const world = new World();
        for (const step of steps) world.do(step);
        const kept = [...world.items];
        for (let first = firstOf(world.queues); first !== undefined; first = firstOf(world.queues)) world.remove(first);
        assert.deepEqual(world.items, []);
        for (const { share } of kept) assert.equal(share.queues.size, 0);
        assert.deepEqual([...world.shares.all()], []);
      }),
    );
  });

  it('shares alternate while neither runs more: what one starts makes its claim worse (R-BB-29)', () => {
    const world = new World();
    const items = [alice, alice, bob, bob].map((path) => world.push(path, 0));
    const order: number[] = [];
    for (let first = firstOf(world.queues); first !== undefined; first = firstOf(world.queues)) {
      order.push(items.indexOf(first));
      world.shares.ran(first.share, 1);
      first.queue.remove(first);
    }
    assert.deepEqual(order, [0, 2, 1, 3]);
  });

  it('shares take turns also where all run nothing in between: what was served is put back', () => {
    const world = new World();
    const items = [alice, alice, bob, bob].map((path) => world.push(path, 0));
    const order: number[] = [];
    for (let first = firstOf(world.queues); first !== undefined; first = firstOf(world.queues)) {
      order.push(items.indexOf(first));
      world.nowMs += 60_000;
      first.queue.remove(first);
      world.shares.ran(first.share, 1, world.nowMs);
      world.shares.ran(first.share, -1);
    }
    assert.deepEqual(order, [0, 2, 1, 3]);
  });

  it('100 points of priority are worth as much as a doubling of what runs (R-BB-29)', () => {
    const world = new World();
    const mine = world.push(alice, 0);
    const theirs = world.push(bob, 99);
    world.shares.ran(mine.share, 1);
    assert.equal(firstOf(world.queues), theirs);
    theirs.seniority = 101;
    theirs.order = 101;
    theirs.queue.update(theirs);
    assert.equal(firstOf(world.queues), mine);
  });

  it('counts a share once, however many queues it has tasks in', () => {
    const world = new World();
    world.push(alice, 5, { queue: 0 });
    world.push(alice, 4, { queue: 1 });
    const third = world.push(alice, 3, { queue: 2 });
    assert.equal(firstOf(world.queues), third);
    const theirs = world.push(bob, 2.5, { queue: 1 });
    assert.equal(firstOf(world.queues), theirs);
    world.shares.ran(theirs.share, 1);
    assert.equal(firstOf(world.queues), third);
  });

  it('puts the longer one first inside a share only, not before other shares', () => {
    const world = new World();
    world.push(alice, 0);
    const long = world.push(alice, 0, { longer: 50 });
    const other = world.push(bob, -1);
    assert.equal(firstOf(world.queues), other);
    world.remove(other);
    assert.equal(firstOf(world.queues), long);
  });

  it('does nothing when something that is not queued is removed, or belongs to an unknown share', () => {
    const world = new World();
    const item = world.push(alice, 0);
    world.remove(item);
    const [queue] = world.queues;
    assert.ok(queue);
    queue.remove(item);
    queue.claimChanged(item.share);
    assert.deepEqual([queue.size, firstOf([queue]), firstOf<Item>([])], [0, undefined, undefined]);
  });
});
