import assert from 'node:assert/strict';
import { SchedulerDriver } from '../../../test/support/scheduler-driver.ts';
import { DEFAULT_OPTIONS, type HedgingOptions, type SchedulerOptions } from './options.ts';

const HEDGING: HedgingOptions = { isOn: true, factor: 4, minMs: 30_000, maxShare: 0.5 };
const HEDGE = 'notice hedge-started';

function driverOf(hedging: Partial<HedgingOptions> = {}, options: Partial<SchedulerOptions> = {}): SchedulerDriver {
  const times = { adoptionGraceMs: 0, leaseTimeoutMs: 1_000_000, slotTimeoutMs: 1_000_000 };
  return new SchedulerDriver({ ...times, ...options, hedging: { ...HEDGING, ...hedging } });
}

/** One task runs on `a`, which is expected to take 10 s. */
function running(hedging: Partial<HedgingOptions> = {}, options: Partial<SchedulerOptions> = {}): SchedulerDriver {
  const driver = driverOf(hedging, options);
  driver.sync('a', { node: 'a' });
  driver.submit('one', { expectedMs: 10_000 });
  driver.sync('a', { node: 'a', lease: 'lease-0' });
  return driver;
}

describe('a straggler', () => {
  it('is run a second time on a waiting slot when it takes `factor` times what was expected', () => {
    const driver = running();
    driver.sync('b', { node: 'b' });
    assert.deepEqual(driver.tickAt(39_999), []);
    assert.deepEqual(driver.tickAt(40_000), [HEDGE, 'b: lease-1 attempt 2, work of one']);
    assert.equal(
      driver.notices[0]?.text,
      'the action takes far longer than expected; a second attempt begins on worker b',
    );
    assert.equal(driver.view.taskOf('one')?.attempts.length, 2);
  });

  it('is left alone for `minMs`', () => {
    const driver = running({ minMs: 60_000 });
    driver.sync('b', { node: 'b' });
    assert.deepEqual(driver.tickAt(59_999), []);
    assert.deepEqual(driver.tickAt(60_000)[0], HEDGE);
  });

  it('gives everyone the first good result, and the other attempt is told to stop', () => {
    const driver = running();
    driver.submit('two', { expectedMs: 10_000 });
    driver.sync('b', { node: 'b' });
    driver.tickAt(40_000);
    const done = driver.sync('b', { node: 'b', lease: 'lease-1', completed: 'quick' });
    assert.deepEqual(done, ['record lease-1 quick', 'b: wait']);
    assert.deepEqual(driver.sync('a', { node: 'a', lease: 'lease-0' }), ['a: nothing']);
    assert.deepEqual(driver.sync('a', { node: 'a', lease: 'lease-0', completed: 'slow' }), ['a: wait']);
    const finished = driver.apply({ type: 'recorded', lease: 'lease-1' });
    assert.deepEqual(finished, ['one result quick', 'two result quick']);
    assert.deepEqual(
      driver.attempts.map(({ end }) => [end?.how, end?.cause]),
      [
        ['superseded', 'attempt 2 ended first'],
        ['success', ''],
      ],
    );
  });

  it('keeps the first attempt when the second one is lost or at fault', () => {
    for (const [what, ends] of [
      ['lost', (driver: SchedulerDriver) => driver.apply({ type: 'leave', slot: 'b' })],
      [
        'at fault',
        (driver: SchedulerDriver) =>
          driver.sync('b', {
            ...{ node: 'b', lease: 'lease-1', completed: 'x', verdict: 'worker-fault', prefersIdle: true },
          }),
      ],
    ] as const) {
      const driver = running();
      driver.sync('b', { node: 'b' });
      driver.tickAt(40_000);
      ends(driver);
      const done = driver.sync('a', { node: 'a', lease: 'lease-0', completed: 'slow' });
      assert.deepEqual(done, ['record lease-0 slow', 'a: wait'], what);
    }
  });

  it('keeps the second attempt when the first one is lost', () => {
    const driver = running();
    driver.sync('b', { node: 'b' });
    driver.tickAt(40_000);
    assert.deepEqual(driver.apply({ type: 'leave', slot: 'a' }), []);
    assert.deepEqual(driver.sync('b', { node: 'b', lease: 'lease-1', completed: 'quick' })[0], 'record lease-1 quick');
  });

  it('waits for a slot that becomes idle, the longest overdue first', () => {
    const driver = running();
    driver.sync('b', { node: 'b' });
    driver.nowMs = 5_000;
    driver.submit('two', { action: 'b', expectedMs: 10_000 });
    driver.tickAt(100_000);
    assert.deepEqual(driver.sync('c', { node: 'c' }), [HEDGE, 'c: lease-2 attempt 2, work of one']);
  });

  it('is found by a slot that becomes idle behind many that run twice already, or do not fit it', () => {
    const driver = driverOf({ maxShare: 1 });
    for (let number = 0; number < 20; number++) {
      driver.sync(`a${number}`, { node: `a${number}`, platform: 'os=linux' });
      driver.submit(`linux ${number}`, { action: `1${number}`, platform: 'os=linux', expectedMs: 10_000 });
    }
    driver.sync('mac', { node: 'mac', platform: 'os=macos' });
    driver.submit('mac', { action: 'b', platform: 'os=macos', expectedMs: 11_000 });
    driver.tickAt(50_000);
    assert.equal(driver.sync('idle mac', { node: 'idle', platform: 'os=macos' })[0], HEDGE);
    for (let number = 0; number < 20; number++) {
      const idle = driver.sync(`b${number}`, { node: `b${number}`, platform: 'os=linux' });
      assert.equal(idle[0], HEDGE, `slot ${number}`);
    }
  });

  it('comes after everything that is queued', () => {
    const driver = running();
    driver.submit('two', { action: 'b' });
    driver.tickAt(100_000);
    assert.deepEqual(driver.sync('b', { node: 'b' })[0], 'two executing');
  });

  it('is never run twice on one node, nor where it does not fit', () => {
    const driver = running();
    driver.tickAt(100_000);
    assert.deepEqual(driver.sync('a2', { node: 'a' }), ['a2: wait']);
    driver.submit('mac', { action: 'b', platform: 'os=macos' });
    const linux = driverOf();
    linux.sync('a', { node: 'a', platform: 'os=linux' });
    linux.submit('one', { platform: 'os=linux', expectedMs: 1 });
    linux.tickAt(100_000);
    assert.deepEqual(linux.sync('b', { node: 'b', platform: 'os=macos' }), ['b: wait']);
  });

  it('is never run a third time', () => {
    const driver = running({ maxShare: 1 });
    driver.sync('b', { node: 'b' });
    driver.tickAt(40_000);
    assert.deepEqual(driver.sync('c', { node: 'c' }), ['c: wait']);
    assert.deepEqual(driver.tickAt(500_000), []);
  });

  it('does not go above the attempts that a task may have', () => {
    const driver = running({}, { retries: { ...DEFAULT_OPTIONS.retries, maxAttempts: 1 } });
    driver.sync('b', { node: 'b' });
    assert.deepEqual(driver.tickAt(40_000), []);
  });

  it('is nothing that has no history, nor what must not be shared (do_not_cache)', () => {
    const driver = driverOf();
    driver.sync('a', { node: 'a' });
    driver.sync('b', { node: 'b' });
    driver.submit('one');
    driver.submit('two', { action: 'b', expectedMs: 10, merge: 'never' });
    driver.sync('c', { node: 'c' });
    assert.deepEqual(driver.tickAt(900_000), []);
  });

  it('is nothing where hedging is not configured', () => {
    const driver = running({ isOn: false });
    driver.sync('b', { node: 'b' });
    assert.deepEqual(driver.tickAt(900_000), []);
  });
});

describe('hedges', () => {
  it('are no more at a time than their share of the slots, but always one', () => {
    const driver = driverOf({ maxShare: 0.3 });
    for (const node of ['a', 'b', 'c', 'd']) driver.sync(node, { node });
    driver.submit('one', { expectedMs: 10 });
    driver.submit('two', { action: 'b', expectedMs: 10 });
    assert.deepEqual(driver.tickAt(30_000), [HEDGE, 'c: lease-2 attempt 2, work of one']);
    assert.deepEqual(driver.sync('d', { node: 'd' }), ['d: wait']);
    const done = driver.sync('a', { node: 'a', lease: 'lease-0', completed: 'done' });
    assert.deepEqual(done.slice(1), [HEDGE, 'a: lease-3 attempt 2, work of two']);
  });

  it('take room on their node like any attempt', () => {
    const driver = driverOf();
    driver.sync('a', { node: 'a', platform: 'cores=2' });
    driver.submit('one', { platform: 'cores=2', expectedMs: 10 });
    driver.sync('b1', { node: 'b', platform: 'cores=2' });
    driver.submit('two', { action: 'b', platform: 'cores=1' });
    driver.sync('b2', { node: 'b', platform: 'cores=2' });
    assert.deepEqual(driver.tickAt(30_000), []);
    driver.sync('c', { node: 'c', platform: 'cores=2' });
    assert.equal(driver.view.slot('c')?.hold?.lease, 'lease-2');
    driver.submit('three', { action: 'c', platform: 'cores=1' });
    assert.equal(driver.view.slot('b2')?.hold?.work, 'work of three');
  });
});
