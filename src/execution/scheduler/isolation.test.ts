import assert from 'node:assert/strict';
import { SchedulerDriver } from '../../../test/support/scheduler-driver.ts';
import type { Verdict } from './events.ts';
import { DEFAULT_OPTIONS, type IsolationOptions } from './options.ts';

/** Runs actions on machines that a test names, one after the other. */
class Fleet extends SchedulerDriver {
  #leases = 1;

  constructor(isolation: Partial<IsolationOptions> = {}) {
    super({
      isolation: { faultsInARow: 2, window: 40, maxShare: 0.5, forMs: 10_000, ...isolation },
      retries: { ...DEFAULT_OPTIONS.retries, maxFaults: 0, maxExhausted: 0 },
      slotTimeoutMs: 1e9,
      leaseTimeoutMs: 1e9,
    });
    for (const node of ['a', 'b', 'c', 'd']) this.sync(node, { node, prefersIdle: true });
    // Somebody else takes work, and is busy.
    this.sync('other', { node: 'other' });
    this.submit('endless', { action: 'f' });
  }

  /** One attempt of this action on this node. */
  run(node: string, action: string, verdict: Verdict): readonly string[] {
    this.submit(`${action} on ${node} ${this.#leases}`, { action, merge: 'never' });
    this.sync(node, { node });
    const lease = `lease-${this.#leases++}`;
    const ended = this.sync(node, { node, action, lease, completed: 'x', verdict, prefersIdle: true });
    const isolated = this.notices.map((notice) => (notice.kind === 'node-isolated' ? notice.node : notice.kind));
    // A node that gets nothing must not keep the work of the next.
    if (ended.some((line) => line.startsWith('record'))) this.apply({ type: 'recorded', lease });
    return isolated;
  }

  get isolatedNodes(): readonly string[] {
    return this.view.isolated().map(({ node }) => node);
  }
}

describe('Isolation', () => {
  it('counts a fault of the machinery at once', () => {
    const fleet = new Fleet();
    fleet.run('a', '1', 'success');
    assert.deepEqual(fleet.run('b', '2', 'worker-fault'), []);
    assert.deepEqual(fleet.run('b', '3', 'worker-fault'), ['b']);
  });

  it('takes the failure of an action for its own until the same action succeeds elsewhere', () => {
    const fleet = new Fleet();
    fleet.run('a', '1', 'success');
    for (const action of ['2', '3', '4', '5']) assert.deepEqual(fleet.run('b', action, 'failure'), []);
    assert.deepEqual(fleet.run('a', '2', 'success'), []);
    assert.deepEqual(fleet.run('a', '3', 'success'), ['b']);
  });

  it('has nothing against a node whose failures are failures elsewhere too, or that mends them itself', () => {
    const fleet = new Fleet();
    fleet.run('a', '1', 'success');
    for (const action of ['2', '3', '4']) {
      fleet.run('b', action, 'failure');
      fleet.run('a', action, 'failure');
      fleet.run('a', action, 'success');
    }
    for (const action of ['5', '6', '7']) {
      fleet.run('b', action, 'failure');
      fleet.run('b', action, 'success');
    }
    assert.deepEqual(fleet.isolatedNodes, []);
  });

  it('has nothing against a machine that is too small', () => {
    const fleet = new Fleet();
    fleet.run('a', '1', 'success');
    for (const action of ['2', '3', '4']) assert.deepEqual(fleet.run('b', action, 'exhausted'), []);
  });

  it('isolates no more than its share of the nodes', () => {
    const fleet = new Fleet({ maxShare: 0.2 });
    fleet.run('a', '1', 'success');
    fleet.run('b', '2', 'worker-fault');
    fleet.run('b', '3', 'worker-fault');
    fleet.run('a', '4', 'success');
    for (let action = 10; action < 16; action++) fleet.run('a', String(action), 'success');
    fleet.run('c', '5', 'worker-fault');
    fleet.run('c', '6', 'worker-fault');
    assert.deepEqual(fleet.isolatedNodes, ['b']);
  });

  it('isolates nobody when all fail alike', () => {
    const fleet = new Fleet();
    let action = 10;
    for (const node of ['a', 'b', 'c', 'd', 'a', 'b', 'c', 'd']) fleet.run(node, String(action++), 'worker-fault');
    assert.deepEqual(fleet.isolatedNodes, []);
  });
});
