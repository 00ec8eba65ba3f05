import assert from 'node:assert/strict';
import { drivenNeeds, drivenOffer, SchedulerDriver } from '../../../test/support/scheduler-driver.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import type { PoolOptions, SchedulerOptions } from './options.ts';

const LINUX = 'OSFamily=linux';

function pool(name: string, waitMs: number, platform = LINUX): PoolOptions {
  const prefix = parseInstanceName('');
  return { name, prefix, offer: drivenOffer(platform), needs: drivenNeeds(platform), waitMs };
}

/** Past the start-up grace, in which everything waits. */
function started(pools: readonly PoolOptions[], options: Partial<SchedulerOptions> = {}): SchedulerDriver {
  const driver = new SchedulerDriver({ pools, platformGraceMs: 1_000, adoptionGraceMs: 0, ...options });
  driver.tickAt(0);
  driver.tickAt(1_000);
  driver.nowMs = 100_000;
  return driver;
}

describe('a configured pool without workers', () => {
  it('lets tasks wait as long as it says, naming it, then fails them as unavailable', () => {
    const driver = started([pool('linux', 300_000)]);
    assert.deepEqual(driver.submit('one', { platform: LINUX }), ['one queued']);
    assert.deepEqual(driver.messages, ['waiting for a worker of pool linux']);
    assert.deepEqual(driver.tickAt(399_999), []);
    assert.deepEqual(driver.tickAt(400_000), ['one failed: unavailable']);
    assert.equal(driver.errors[0]?.message, 'pool linux had no worker for 300 s');
    assert.equal(driver.errors[0]?.facts.retryAfterMs, 1_000);
  });

  it('refuses nothing else: what no pool fits fails at once', () => {
    const driver = started([pool('linux', 300_000)]);
    assert.deepEqual(driver.submit('one', { platform: 'OSFamily=macos' }), ['one failed: no-such-platform']);
  });

  it('fails each task when its own time is over', () => {
    const driver = started([pool('linux', 10_000)]);
    driver.submit('one', { platform: LINUX });
    driver.nowMs = 104_000;
    driver.submit('two', { action: 'b', platform: LINUX });
    assert.deepEqual(driver.tickAt(110_000), ['one failed: unavailable']);
    assert.equal(driver.wakeMs, 114_000);
    assert.deepEqual(driver.tickAt(114_000), ['two failed: unavailable']);
  });

  it('waits for the most patient of those that fit, and names them all', () => {
    const driver = started([pool('small', 10_000), pool('large', 50_000, 'OSFamily=linux cores=8')]);
    driver.submit('one', { platform: LINUX });
    assert.deepEqual(driver.messages, ['waiting for a worker of the pools small, large']);
    assert.deepEqual(driver.tickAt(149_999), []);
    assert.deepEqual(driver.tickAt(150_000), ['one failed: unavailable']);
  });

  it('wakes from zero: its first worker takes what waits', () => {
    const driver = started([pool('linux', 300_000)]);
    driver.submit('one', { platform: LINUX });
    driver.nowMs = 350_000;
    assert.deepEqual(driver.sync('s', { platform: LINUX })[0], 'one executing');
    assert.deepEqual(driver.tickAt(400_000), []);
  });

  it('counts from the moment its last worker went, not from when the task came', () => {
    const driver = started([pool('linux', 10_000)]);
    driver.sync('s', { platform: LINUX, prefersIdle: true });
    driver.submit('one', { platform: LINUX });
    driver.nowMs = 150_000;
    driver.sync('s', { platform: LINUX, prefersIdle: true });
    driver.apply({ type: 'leave', slot: 's' });
    assert.deepEqual(driver.tickAt(159_999), []);
    assert.deepEqual(driver.tickAt(160_000), ['one failed: unavailable']);
  });

  it('counts so also when that worker offered more than the configuration says', () => {
    const driver = started([pool('linux', 60_000)]);
    driver.submit('one', { platform: LINUX });
    driver.nowMs = 110_000;
    const larger = { platform: 'OSFamily=linux cores=8', prefersIdle: true };
    driver.sync('s', larger);
    assert.deepEqual(
      [...driver.view.pools()].map(({ name, isConfigured, slots }) => [name, isConfigured, slots]),
      [
        ['linux', true, 0],
        ['linux', false, 1],
      ],
    );
    driver.nowMs = 155_000;
    driver.apply({ type: 'leave', slot: 's' });
    assert.deepEqual(driver.tickAt(160_000), [], 'the time before the worker came does not count');
    assert.deepEqual(driver.tickAt(214_999), []);
    assert.deepEqual(driver.tickAt(215_000), ['one failed: unavailable']);
  });

  it('is explained, with the time until which it is waited for', () => {
    const driver = started([pool('linux', 300_000)]);
    driver.submit('one', { platform: LINUX });
    assert.deepEqual(driver.explain('one').blocks, [{ kind: 'pool-empty', pool: 'linux', untilMs: 400_000 }]);
  });

  it('is not waited for while another worker that fits is there, busy or not', () => {
    const driver = started([pool('linux', 10_000)]);
    driver.sync('s', { platform: 'OSFamily=linux libc=musl', prefersIdle: true });
    driver.submit('one', { platform: LINUX });
    assert.deepEqual(driver.messages, [undefined]);
    assert.deepEqual(driver.tickAt(150_000), []);
  });

  it('takes back what was queued again after its only worker was lost', () => {
    const driver = started([pool('linux', 10_000)]);
    driver.submit('one', { platform: LINUX });
    driver.sync('s', { platform: LINUX });
    driver.nowMs = 120_000;
    assert.deepEqual(driver.apply({ type: 'leave', slot: 's' }), ['one queued']);
    assert.deepEqual(driver.tickAt(129_999), []);
    assert.deepEqual(driver.tickAt(130_000), ['one failed: unavailable']);
  });
});
