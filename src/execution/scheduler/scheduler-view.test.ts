import assert from 'node:assert/strict';
import { drivenKey, drivenNeeds, drivenOffer, SchedulerDriver } from '../../../test/support/scheduler-driver.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';

/** A task in every state, and slots of every kind. */
function busy(): SchedulerDriver {
  const pool = { name: 'linux', prefix: parseInstanceName(''), waitMs: 1_000 };
  const platform = 'os=linux';
  const driver = new SchedulerDriver({
    pools: [{ ...pool, offer: drivenOffer(platform), needs: drivenNeeds(platform) }],
    platformGraceMs: 1_000_000,
    adoptionGraceMs: 0,
  });
  driver.nowMs = 10;
  driver.sync('s', { node: 'n', platform: 'os=linux libc=musl' });
  driver.submit('recording', { action: 'a', shares: ['alice', 'one'] });
  driver.sync('s', { node: 'n', platform: 'os=linux libc=musl', lease: 'lease-0', completed: 'x', prefersIdle: true });
  driver.sync('t', { node: 'n', platform, labels: { host: 'n', thread: '1' } });
  driver.submit('running', { action: 'b', platform, priority: 3, shares: ['alice', 'two'], expectedMs: 5_000 });
  driver.nowMs = 20;
  driver.submit('also running', { action: 'b', platform, priority: -1 });
  driver.sync('u', { node: 'm', platform: 'os=macos' });
  driver.drain({ node: 'm' }, { reason: 'disk' });
  driver.nowMs = 30;
  driver.submit('queued', { action: 'c', platform: 'os=macos', sizeClass: 0 });
  return driver;
}

describe('the view of a scheduler', () => {
  it('counts tasks by state, and slots', () => {
    assert.deepEqual(busy().view.counts, {
      operations: 4,
      queuedTasks: 1,
      executingTasks: 1,
      recordingTasks: 1,
      slots: 3,
      busySlots: 1,
      waitingSlots: 0,
      drainedSlots: 1,
    });
    const idle = new SchedulerDriver();
    idle.sync('s');
    assert.deepEqual([idle.view.counts.waitingSlots, idle.view.counts.busySlots], [1, 0]);
    idle.apply({ type: 'answered', slot: 's' });
    assert.equal(idle.view.counts.waitingSlots, 0);
  });

  it('shows the task of an operation, and the one that newcomers would join', () => {
    const { view } = busy();
    const task = view.taskOf('running');
    assert.deepEqual(task, view.taskFor(drivenKey('b')));
    assert.deepEqual(
      { ...task, attempts: task?.attempts.length },
      {
        key: drivenKey('b'),
        needs: drivenNeeds('os=linux'),
        work: 'work of running',
        state: 'executing',
        priority: -1,
        queuedAtMs: 10,
        expectedMs: 5_000,
        operations: ['running', 'also running'],
        shares: [
          { id: 'alice', weight: 1 },
          { id: 'two', weight: 1 },
        ],
        pool: view.slot('t')?.pool,
        demand: task?.demand,
        sizeClass: 0,
        attempts: 1,
      },
    );
    assert.equal(view.taskOf('queued')?.pool, undefined);
    assert.equal(view.taskOf('recording')?.state, 'recording');
    assert.equal(view.taskOf('nobody'), undefined);
    assert.equal(view.taskFor(drivenKey('f')), undefined);
    assert.deepEqual([...view.tasks()].map(({ state }) => state).sort(), ['executing', 'queued', 'recording']);
  });

  it('shows each slot: what it is and holds, until when it may be silent, and what it ran last', () => {
    const { view } = busy();
    const slot = view.slot('t');
    assert.deepEqual(
      { ...slot, task: slot?.task?.operations, pool: undefined },
      {
        name: 't',
        node: 'n',
        labels: { host: 'n', thread: '1' },
        pool: undefined,
        hold: { lease: 'lease-1', key: drivenKey('b'), attempt: 1, queuedAtMs: 10, work: 'work of running' },
        task: ['running', 'also running'],
        isPolling: false,
        prefersIdle: false,
        isDrained: false,
        isTerminating: false,
        lastHeardMs: 10,
        expiresAtMs: 60_010,
        lastShares: [
          { id: 'alice', weight: 1 },
          { id: 'two', weight: 1 },
        ],
      },
    );
    assert.deepEqual(
      [...view.slots()].map(({ name, prefersIdle, isDrained, isPolling, expiresAtMs, lastShares }) => [
        ...[name, prefersIdle, isDrained, isPolling, expiresAtMs],
        lastShares.at(-1)?.id,
      ]),
      [
        ['s', true, false, false, 90_010, 'one'],
        ['t', false, false, false, 60_010, 'two'],
        ['u', false, true, true, 90_020, undefined],
      ],
    );
    assert.equal(view.slot('nobody'), undefined);
  });

  it('shows pools with what they are counted with, and configured ones without slots', () => {
    const { view } = busy();
    assert.deepEqual(
      [...view.pools()].map((pool) => ({ ...pool, id: typeof pool.id, offer: undefined })),
      [
        { name: 'linux', isConfigured: true, slots: 1, busySlots: 1, waitingSlots: 0, drainedSlots: 0, nodes: 1 },
        { name: 'linux', isConfigured: false, slots: 1, busySlots: 0, waitingSlots: 0, drainedSlots: 0, nodes: 1 },
        { name: '', isConfigured: false, slots: 1, busySlots: 0, waitingSlots: 0, drainedSlots: 1, nodes: 1 },
      ].map((pool) => ({ id: 'string', prefix: '', offer: undefined, ...pool })),
    );
    assert.equal(new Set([...view.pools()].map(({ id }) => id)).size, 3);
  });

  it('shows what is queued by demand, and the pools that could run it', () => {
    const driver = busy();
    driver.nowMs = 40;
    driver.submit('another', { action: 'd', platform: 'os=macos', expectedMs: 2_000 });
    const [demand, ...rest] = driver.view.demands();
    assert.deepEqual(rest, []);
    assert.deepEqual(
      { ...demand, id: undefined },
      {
        id: undefined,
        instance: '',
        needs: drivenNeeds('os=macos'),
        sizeClass: 0,
        queued: 2,
        queuedWorkMs: 12_000,
        oldestQueuedAtMs: 30,
        pools: [driver.view.slot('u')?.pool],
      },
    );
    assert.equal(driver.view.taskOf('another')?.demand, demand?.id);
  });

  it('shows shares from the outermost, with unfinished tasks and leases', () => {
    const shares = [...busy().view.shares()].map(({ path, tasks, running }) => [
      ...[path.map(({ id }) => id).join('/'), tasks, running],
    ]);
    assert.deepEqual(shares, [
      ['alice', 2, 1],
      ['alice/one', 1, 0],
      ['alice/two', 1, 1],
      ['', 1, 0],
    ]);
  });

  it('shows drains, isolated nodes and quarantined actions', () => {
    const { view } = busy();
    assert.deepEqual(view.drains(), [{ pattern: { node: 'm' }, reason: 'disk', isTermination: false, sinceMs: 20 }]);
    assert.deepEqual([view.isolated(), view.quarantined()], [[], []]);
  });

  it('is empty for a scheduler that has seen nothing, and shows what goes away no more', () => {
    const driver = new SchedulerDriver();
    const { view } = driver;
    const sizes = () => [view.tasks(), view.slots(), view.demands(), view.shares()].map((all) => [...all].length);
    assert.deepEqual(sizes(), [0, 0, 0, 0]);
    driver.sync('s');
    driver.submit('one');
    driver.submit('two', { action: 'b' });
    assert.deepEqual(sizes(), [2, 1, 1, 1]);
    for (const operation of ['one', 'two']) driver.apply({ type: 'cancel', operation });
    driver.apply({ type: 'leave', slot: 's' });
    assert.deepEqual(sizes(), [0, 0, 0, 0]);
  });
});
