import assert from 'node:assert/strict';
import fc from 'fast-check';
import { drivenNeeds, drivenOffer, SchedulerDriver } from '../../../test/support/scheduler-driver.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { DEFAULT_OPTIONS, type SchedulerOptions } from './options.ts';

const LINUX = 'os=linux';

function driverOf(options: Partial<SchedulerOptions> = {}): SchedulerDriver {
  const patient = { platformGraceMs: 10_000_000, slotTimeoutMs: 10_000_000, leaseTimeoutMs: 10_000_000 };
  return new SchedulerDriver({ adoptionGraceMs: 0, ...patient, ...options });
}

const blocksOf = (driver: SchedulerDriver, operation: string) => driver.explain(operation).blocks;

describe('the explanation of a queued operation', () => {
  it('names the nearest worker and the property that fails when no worker fits', () => {
    const driver = driverOf();
    driver.sync('s', { platform: LINUX });
    driver.submit('one', { platform: 'os=macos' });
    const text = 'no worker satisfies the platform: OSFamily wants macos (on offer: linux); the nearest worker is s';
    assert.deepEqual(blocksOf(driver, 'one'), [{ kind: 'no-such-worker', text }]);
    assert.match(driver.explain('one').text, /OSFamily wants macos/);
    assert.equal(driver.explain('one').expectedStartMs, undefined);
  });

  it('says the same of a worker that was there a short while ago', () => {
    const driver = driverOf();
    driver.sync('s', { platform: LINUX });
    driver.apply({ type: 'leave', slot: 's' });
    driver.submit('one', { platform: LINUX });
    assert.deepEqual(
      blocksOf(driver, 'one').map(({ kind }) => kind),
      ['no-such-worker'],
    );
  });

  it('names the configured pool without workers, and until when it is waited for', () => {
    const prefix = parseInstanceName('');
    const pool = { name: 'mac', prefix, offer: drivenOffer('os=macos'), needs: drivenNeeds('os=macos'), waitMs: 500 };
    const driver = driverOf({ pools: [pool] });
    driver.nowMs = 100;
    driver.submit('one', { platform: 'os=macos' });
    assert.deepEqual(blocksOf(driver, 'one'), [{ kind: 'pool-empty', pool: 'mac', untilMs: 600 }]);
  });

  it('counts the slots that fit and are busy', () => {
    const driver = driverOf();
    for (const slot of ['s', 't']) driver.sync(slot, { platform: LINUX });
    driver.sync('mac', { platform: 'os=macos' });
    for (const action of ['a', 'b', 'c']) driver.submit(action, { action, platform: LINUX });
    assert.deepEqual(blocksOf(driver, 'c'), [{ kind: 'all-busy', slots: 2 }]);
    const { rank, competitors } = driver.explain('c');
    assert.deepEqual([rank, competitors], [1, 1]);
  });

  it('counts the slots that fit and are drained, with the reason', () => {
    const driver = driverOf();
    driver.sync('s');
    driver.sync('t', { node: 'other' });
    driver.drain({ node: 'node' }, { reason: 'new kernel' });
    driver.drain({ node: 'other' }, { reason: 'disk' });
    driver.submit('one');
    assert.deepEqual(blocksOf(driver, 'one'), [{ kind: 'drained', slots: 2, reason: 'new kernel' }]);
  });

  it('says so of slots that want no new work, and of those whose node is isolated', () => {
    const driver = driverOf({ isolation: { ...DEFAULT_OPTIONS.isolation, faultsInARow: 1 } });
    driver.sync('s', { prefersIdle: true });
    driver.submit('one');
    assert.deepEqual(blocksOf(driver, 'one'), [{ kind: 'drained', slots: 1, reason: 'they want no new work' }]);
    driver.submit('good', { action: 'b', priority: -9 });
    driver.sync('u', { node: 'good' });
    driver.sync('u', { node: 'good', action: 'b', lease: 'lease-0', completed: 'x' });
    driver.sync('u', { node: 'good' });
    driver.sync('t', { node: 'bad', prefersIdle: true });
    driver.submit('next', { action: 'c' });
    driver.sync('u', { node: 'good', lease: 'lease-1' });
    driver.sync('t', { node: 'bad' });
    driver.sync('t', { node: 'bad', action: 'c', lease: 'lease-2', completed: 'x', verdict: 'worker-fault' });
    driver.apply({ type: 'leave', slot: 'u' });
    driver.apply({ type: 'leave', slot: 's' });
    const reason = 'it failed 1 times in a row, with different actions';
    assert.deepEqual(blocksOf(driver, 'one'), [{ kind: 'drained', slots: 1, reason }]);
  });

  it('gives what is busy first, then what is closed', () => {
    const driver = driverOf();
    driver.sync('s');
    driver.sync('t', { node: 'other' });
    driver.submit('one');
    driver.drain({ node: 'other' });
    driver.submit('two', { action: 'b' });
    assert.deepEqual(blocksOf(driver, 'two'), [
      { kind: 'all-busy', slots: 1 },
      { kind: 'drained', slots: 1, reason: '' },
    ]);
  });

  it('says what is short on the nodes of idle slots, with the most that is free', () => {
    const driver = driverOf();
    for (const node of ['a', 'b']) {
      driver.sync(`${node}1`, { node, platform: 'cores=4 memory=100' });
      driver.submit(`on ${node}`, { action: node, platform: `cores=${node === 'a' ? 3 : 2}` });
      driver.sync(`${node}2`, { node, platform: 'cores=4 memory=100' });
    }
    driver.submit('one', { action: 'c', platform: 'cores=3 memory=50' });
    assert.deepEqual(blocksOf(driver, 'one'), [{ kind: 'resource', resource: 'cores', wanted: 3, mostFree: 2 }]);
  });

  it('says so of what is left and being kept for another task', () => {
    const driver = driverOf();
    const node = { platform: 'cores=4' };
    driver.sync('s1', node);
    driver.submit('busy', { action: 'a', platform: 'cores=2' });
    driver.submit('big', { action: 'b', platform: 'cores=4' });
    driver.sync('s2', node);
    driver.submit('small', { action: 'c', platform: 'cores=1' });
    assert.equal(driver.view.slot('s2')?.hold, undefined, 'the node is being emptied');
    assert.deepEqual(blocksOf(driver, 'big'), [{ kind: 'resource', resource: 'cores', wanted: 4, mostFree: 2 }]);
    assert.deepEqual(blocksOf(driver, 'small'), [{ kind: 'resource', resource: 'cores', wanted: 1, mostFree: 0 }]);
  });

  it('names the nodes it keeps off', () => {
    const driver = driverOf();
    driver.sync('a', { node: 'a' });
    driver.sync('b', { node: 'b' });
    driver.submit('one');
    driver.submit('two', { action: 'b' });
    driver.sync('a', { node: 'a', lease: 'lease-0', completed: 'x', verdict: 'worker-fault' });
    assert.deepEqual(blocksOf(driver, 'one'), [{ kind: 'avoids-nodes', nodes: ['a'] }]);
  });

  it('says so also beside nodes that have too little left; and that these are short where it has no other', () => {
    const driver = driverOf();
    const node = { platform: 'cores=4' };
    driver.sync('a1', { ...node, node: 'a' });
    driver.submit('one', { platform: 'cores=4' });
    driver.sync('b1', { ...node, node: 'b' });
    driver.submit('two', { action: 'b', platform: 'cores=3' });
    driver.sync('b2', { ...node, node: 'b' });
    driver.sync('a1', { ...node, node: 'a', lease: 'lease-0', completed: 'x', verdict: 'worker-fault' });
    const short = { kind: 'resource', resource: 'cores', wanted: 4, mostFree: 1 };
    assert.deepEqual(blocksOf(driver, 'one'), [short, { kind: 'avoids-nodes', nodes: ['a'] }]);
    driver.apply({ type: 'leave', slot: 'b2' });
    driver.apply({ type: 'leave', slot: 'b1' });
    assert.equal(driver.view.slot('a1')?.hold?.work, 'work of one', 'without another it goes there again');
  });

  it('names the share most of those before it belong to, and what that runs', () => {
    const driver = driverOf();
    driver.sync('s');
    driver.submit('running', { action: 'f', shares: ['team', 'bob'] });
    for (const action of ['a', 'b', 'c']) driver.submit(action, { action, shares: ['team', 'alice'], priority: -50 });
    driver.submit('mine', { action: 'd', shares: ['team', 'bob'] });
    assert.deepEqual(blocksOf(driver, 'mine'), [
      { kind: 'all-busy', slots: 1 },
      { kind: 'turn', share: 'alice', running: 0 },
    ]);
    assert.deepEqual(blocksOf(driver, 'a'), [{ kind: 'all-busy', slots: 1 }]);
  });

  it('calls a share without a name by its outer one, and those without any "others"', () => {
    for (const [shares, name] of [
      [['alice', ''], 'alice'],
      [['', ''], 'others'],
    ] as const) {
      const driver = driverOf();
      driver.submit('first', { action: 'a', shares, priority: -50 });
      driver.submit('mine', { action: 'b', shares: ['bob', 'x'] });
      const turn = driver.explain('mine').blocks.find((block) => block.kind === 'turn');
      driver.sync('s', { prefersIdle: true });
      assert.equal(turn, undefined, 'there is no turn where there is no worker');
      const [, after] = driver.explain('mine').blocks;
      assert.deepEqual(after, { kind: 'turn', share: name, running: 0 });
    }
  });

  it('tells what was tried before', () => {
    const driver = driverOf();
    driver.submit('one');
    driver.sync('s');
    driver.apply({ type: 'leave', slot: 's' });
    const { attempts, text } = driver.explain('one');
    assert.deepEqual(
      attempts.map(({ end }) => end?.how),
      ['worker-lost'],
    );
    assert.match(text, /Attempt 1 was lost/);
  });
});

describe('the explanation of an operation that is not queued', () => {
  it('says that it runs, or is being recorded, and waits for nothing', () => {
    const driver = driverOf();
    driver.submit('one');
    driver.sync('s');
    const running = driver.explain('one');
    assert.deepEqual([running.state, running.rank, running.blocks], ['executing', undefined, []]);
    assert.match(running.text, /^It runs on worker node/);
    driver.sync('s', { lease: 'lease-0', completed: 'done' });
    assert.equal(driver.explain('one').state, 'recording');
  });

  it('is none for unknown ones', () => {
    assert.equal(driverOf().view.explain('nobody', 0), undefined);
  });
});

describe('rank', () => {
  interface Wish {
    readonly share: string;
    readonly priority: number;
    readonly expectedMs: number | undefined;
    readonly afterMs: number;
  }

  const WISHES: fc.Arbitrary<readonly Wish[]> = fc.array(
    fc.record({
      share: fc.constantFrom('alice', 'bob', 'carol'),
      priority: fc.integer({ min: -3, max: 3 }).map((priority) => priority * 40),
      expectedMs: fc.option(fc.nat(600_000), { nil: undefined }),
      afterMs: fc.constantFrom(0, 0, 1_000, 120_000),
    }),
    { minLength: 1, maxLength: 12 },
  );

  /** Queues these, and answers the operations in the order in which they really start on slots that come one by one. */
  function ranksAndStarts(wishes: readonly Wish[], runningOf: readonly string[]) {
    const driver = driverOf();
    for (const [index, share] of runningOf.entries()) {
      driver.submit(`running ${index}`, { action: String(500 + index), shares: [share] });
      driver.sync(`busy ${index}`, { node: `busy ${index}` });
    }
    for (const [index, { share, priority, expectedMs, afterMs }] of wishes.entries()) {
      driver.nowMs += afterMs;
      driver.submit(`op ${index}`, {
        ...{ action: String(100 + index), shares: [share], priority },
        ...(expectedMs !== undefined && { expectedMs }),
      });
    }
    const ranks = wishes.map((_, index) => driver.explain(`op ${index}`).rank);
    const starts: string[] = [];
    for (let slot = 0; slot < wishes.length; slot++) {
      const [started = ''] = driver.sync(`slot ${slot}`, { node: `slot ${slot}` });
      starts.push(started.replace(' executing', ''));
    }
    return { ranks, real: wishes.map((_, index) => starts.indexOf(`op ${index}`) + 1) };
  }

  it('law: is the order in which tasks really start when slots become free one by one', () => {
    const running = fc.array(fc.constantFrom('alice', 'bob', 'carol'), { maxLength: 5 });
    fc.assert(
      fc.property(WISHES, running, (wishes, runningOf) => {
        const { ranks, real } = ranksAndStarts(wishes, runningOf);
        assert.deepEqual(ranks, real);
      }),
    );
  });

  it('breaks ties of shares by arrival', () => {
    const usual = { priority: 0, expectedMs: undefined, afterMs: 0 };
    const wishes = ['alice', 'bob', 'alice', 'bob'].map((share) => ({ ...usual, share }));
    assert.deepEqual(ranksAndStarts(wishes, []).ranks, [1, 2, 3, 4]);
  });

  it('counts what is behind the first of its share only after that one', () => {
    const wish = { priority: 0, afterMs: 0, expectedMs: 0 };
    const { ranks } = ranksAndStarts(
      [
        { ...wish, share: 'alice', priority: -3 },
        { ...wish, share: 'alice', expectedMs: 3_600_000 },
        { ...wish, share: 'bob', priority: -1 },
      ],
      [],
    );
    assert.deepEqual(ranks, [3, 2, 1], 'the long one goes first in its share, and has no better claim than bob');
  });

  it('law: is that order also for shares of shares, and for tasks with different demands', () => {
    const wish = fc.record({
      shares: fc.constantFrom(['p', 'x'], ['p', 'y'], ['q', 'x'], ['q', 'z']),
      platform: fc.constantFrom('', LINUX, 'os=linux libc=musl'),
      priority: fc.integer({ min: -3, max: 3 }).map((priority) => priority * 40),
      expectedMs: fc.nat(600_000),
    });
    fc.assert(
      fc.property(fc.array(wish, { minLength: 1, maxLength: 12 }), (wishes) => {
        const driver = driverOf();
        const platform = 'os=linux libc=musl';
        driver.submit('running', { action: '99', shares: ['p', 'x'] });
        driver.sync('busy', { node: 'busy', platform });
        for (const [index, facts] of wishes.entries()) {
          driver.submit(`op ${index}`, { ...facts, action: String(100 + index) });
        }
        const ranks = wishes.map((_, index) => driver.explain(`op ${index}`).rank);
        const starts = wishes.map((_, index) => driver.sync(`slot ${index}`, { platform })[0]);
        assert.deepEqual(
          ranks,
          wishes.map((_, index) => starts.indexOf(`op ${index} executing`) + 1),
        );
      }),
    );
  });

  it('leaves out tasks that compete for other slots', () => {
    const driver = driverOf();
    driver.sync('l', { platform: LINUX, prefersIdle: true });
    driver.sync('m', { platform: 'os=macos', prefersIdle: true });
    driver.submit('mac', { action: 'a', platform: 'os=macos' });
    driver.submit('any', { action: 'b' });
    driver.submit('linux', { action: 'c', platform: LINUX });
    const of = (operation: string) => {
      const { rank, competitors } = driver.explain(operation);
      return [rank, competitors];
    };
    assert.deepEqual(
      [of('mac'), of('any'), of('linux')],
      [
        [1, 2],
        [2, 3],
        [2, 2],
      ],
    );
  });
});

describe('the expected start', () => {
  const busy = (driver: SchedulerDriver, slots: number, expectedMs: number) => {
    for (let slot = 0; slot < slots; slot++) {
      driver.sync(`s${slot}`, { node: `n${slot}` });
      driver.submit(`running ${slot}`, { action: String(100 + slot), expectedMs });
    }
  };

  it('is when the first slot becomes free, for the first in line', () => {
    const driver = driverOf();
    busy(driver, 2, 60_000);
    driver.nowMs = 10_000;
    driver.submit('one', { expectedMs: 1 });
    assert.equal(driver.explain('one').expectedStartMs, 60_000);
  });

  it('is what runs and what is before it, spread over the slots, for the others', () => {
    const driver = driverOf();
    busy(driver, 2, 60_000);
    for (const action of ['a', 'b']) driver.submit(action, { action, expectedMs: 40_000 });
    driver.submit('one', { action: 'c', expectedMs: 1 });
    assert.equal(driver.explain('one').expectedStartMs, (2 * 60_000 + 2 * 40_000) / 2);
  });

  it('is now when what runs should have been over already', () => {
    const driver = driverOf();
    busy(driver, 1, 1_000);
    driver.nowMs = 50_000;
    driver.submit('one', { expectedMs: 1 });
    assert.equal(driver.explain('one').expectedStartMs, 50_000);
  });

  it('is not known where too little has a history, or no slot is open', () => {
    const driver = driverOf();
    busy(driver, 1, 1_000);
    driver.submit('a', { action: 'a' });
    driver.submit('b', { action: 'b' });
    assert.equal(driver.explain('a').expectedStartMs, undefined);
    driver.submit('c', { action: 'c', expectedMs: 1 });
    driver.submit('d', { action: 'd', expectedMs: 1 });
    assert.equal(typeof driver.explain('a').expectedStartMs, 'number');
    driver.drain({});
    assert.equal(driver.explain('a').expectedStartMs, undefined);
  });
});
