import assert from 'node:assert/strict';
import { digestOf } from '../../digest/hasher.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { isKind } from '../../errors.ts';
import { Action } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { LeaseState } from '../../gen/google/devtools/remoteworkers/v1test2/bots.ts';
import type { ExecutionWork } from '../execution-work.ts';
import type { LeaseOrder } from '../scheduler/events.ts';
import type { SlotOrders } from '../scheduler-host.ts';
import { formatLeaseId } from './lease-id.ts';
import { LeaseTable, MAX_REPORTED_LEASES, type ReportedLease } from './lease-table.ts';

const { UNSPECIFIED, PENDING, ACTIVE, COMPLETED, CANCELLED } = LeaseState;
const main = parseInstanceName('main');
const key = { instance: main, action: digestOf('sha256', Buffer.from('action')) };
const isInvalid = (error: unknown): boolean => isKind(error, 'invalid-argument');

function order(lease: string, isKnown = true): { readonly hold: LeaseOrder<ExecutionWork> } {
  const action = Action.fromPartial({ salt: Buffer.from(lease) });
  const work = { key, action, timeoutMs: 1000, requestMetadata: undefined };
  return { hold: { lease, key, attempt: 1, queuedAtMs: 0, work: isKnown ? work : undefined } };
}

const idOf = (lease: string, slot = 0): string => formatLeaseId({ lease, slot, key }, main);

function lease(id: string, state: LeaseState): ReportedLease {
  return { id, state, status: undefined, result: undefined, payload: undefined };
}

/** A bot with one slot, and what it is told after each report. */
class OneSlot {
  readonly table = new LeaseTable(main);

  constructor(slots = 1) {
    this.table.resize(slots);
  }

  /** Reports and takes orders; answers ids without their tail, and states, in one line. */
  say(leases: readonly ReportedLease[], orders: SlotOrders = {}): string {
    const report = this.table.read(leases).get(0);
    const answer = this.table.settle(0, report, orders);
    return answer.map(({ id, state }) => `${id.split('.')[0]} ${state}`).join(', ');
  }
}

describe('LeaseTable', () => {
  it('sends a lease as pending, with the action (R-RW-07, R-RW-09)', () => {
    const { table } = new OneSlot();
    const [answer] = table.settle(0, undefined, order('a'));
    assert.deepEqual(answer, {
      id: idOf('a'),
      state: PENDING,
      action: Action.fromPartial({ salt: Buffer.from('a') }),
      payload: undefined,
    });
  });

  it('sends a lease again that the bot does not list (R-RW-08)', () => {
    const bot = new OneSlot();
    assert.equal(bot.say([], order('a')), `a ${PENDING}`);
    assert.equal(bot.say([], order('a')), `a ${PENDING}`);
  });

  it('leaves a lease in the state in which the bot has it', () => {
    const bot = new OneSlot();
    bot.say([], order('a'));
    assert.equal(bot.say([lease(idOf('a'), PENDING)], order('a')), `a ${PENDING}`);
    assert.equal(bot.say([lease(idOf('a'), ACTIVE)], order('a')), `a ${ACTIVE}`);
    assert.equal(bot.say([lease(idOf('a'), ACTIVE)], order('a')), `a ${ACTIVE}`);
  });

  it('leaves out what is completed, and sends what is next (R-RW-11)', () => {
    const bot = new OneSlot();
    bot.say([], order('a'));
    assert.equal(bot.say([lease(idOf('a'), COMPLETED)], order('b')), `b ${PENDING}`);
    assert.equal(bot.say([lease(idOf('b'), COMPLETED)]), '');
  });

  it('tells a bot once that a lease is cancelled, then leaves it out', () => {
    const bot = new OneSlot();
    bot.say([], order('a'));
    assert.equal(bot.say([lease(idOf('a'), ACTIVE)]), `a ${CANCELLED}`);
    assert.equal(bot.say([lease(idOf('a'), ACTIVE)]), '');
    assert.equal(bot.say([]), '');
  });

  it('lets a bot repeat a lease as cancelled that it was told to drop, and be done with it', () => {
    for (const state of [CANCELLED, COMPLETED]) {
      const bot = new OneSlot();
      bot.say([], order('a'));
      bot.say([lease(idOf('a'), ACTIVE)]);
      assert.equal(bot.table.read([lease(idOf('a'), state)]).size, 0, String(state));
    }
  });

  it('gives other work in the place of a lease that is cancelled', () => {
    const bot = new OneSlot();
    bot.say([], order('a'));
    assert.equal(bot.say([lease(idOf('a'), ACTIVE)], order('b')), `a ${CANCELLED}, b ${PENDING}`);
  });

  it('tells apart what was refused from what was taken before it was completed', () => {
    const bot = new OneSlot();
    bot.say([], order('a'));
    assert.equal(bot.table.read([lease(idOf('a'), COMPLETED)]).get(0)?.wasAccepted, false);
    bot.say([lease(idOf('a'), ACTIVE)], order('a'));
    assert.equal(bot.table.read([lease(idOf('a'), COMPLETED)]).get(0)?.wasAccepted, true);
  });

  /** What may follow on what: [before, reported, is allowed] (R-RW-07). */
  for (const [before, state, isAllowed] of [
    ['nothing', ACTIVE, true],
    ['nothing', COMPLETED, true],
    ['nothing', PENDING, true],
    ['nothing', CANCELLED, false],
    ['nothing', UNSPECIFIED, false],
    ['nothing', LeaseState.UNRECOGNIZED, false],
    ['sent', PENDING, true],
    ['sent', ACTIVE, true],
    ['sent', COMPLETED, true],
    ['sent', CANCELLED, false],
    ['sent', UNSPECIFIED, false],
    ['active', PENDING, false],
    ['active', ACTIVE, true],
    ['active', COMPLETED, true],
    ['active', CANCELLED, false],
    ['active', UNSPECIFIED, false],
    ['told to drop', PENDING, true],
    ['told to drop', ACTIVE, true],
    ['told to drop', COMPLETED, true],
    ['told to drop', CANCELLED, true],
    ['told to drop', UNSPECIFIED, false],
  ] as const) {
    it(`${isAllowed ? 'allows' : 'does not allow'} state ${state} after ${before}`, () => {
      const bot = new OneSlot();
      if (before !== 'nothing') bot.say([], order('a'));
      if (before === 'active' || before === 'told to drop') bot.say([lease(idOf('a'), ACTIVE)], order('a'));
      if (before === 'told to drop') bot.say([lease(idOf('a'), ACTIVE)]);
      const step = (): unknown => bot.table.read([lease(idOf('a'), state)]);
      if (isAllowed) assert.doesNotThrow(step);
      else assert.throws(step, isInvalid);
    });
  }

  it('refuses a lease that is there twice, and endless lists', () => {
    const { table } = new OneSlot();
    assert.throws(() => table.read([lease('x', ACTIVE), lease('x', ACTIVE)]), isInvalid);
    const many = Array.from({ length: MAX_REPORTED_LEASES + 1 }, (_, number) => lease(String(number), ACTIVE));
    assert.throws(() => table.read(many), isInvalid);
  });

  describe('with leases of a former server', () => {
    it('puts them on the slots they name, or on free ones', () => {
      const table = new LeaseTable(main);
      table.resize(3);
      table.settle(1, undefined, order('ours'));
      const leases = [
        lease(idOf('old-1', 2), ACTIVE),
        lease(idOf('old-2', 1), COMPLETED),
        lease(idOf('old-3', 7), ACTIVE),
      ];
      const reports = table.read([lease(idOf('ours', 1), ACTIVE), ...leases]);
      const found = [...reports].map(([number, { name }]) => [number, name.lease]).sort();
      assert.deepEqual(found, [
        [0, 'old-2'],
        [1, 'ours'],
        [2, 'old-1'],
      ]);
    });

    it('knows their action and instance', () => {
      const { table } = new OneSlot();
      const name = { lease: 'old', slot: 0, key: { ...key, instance: parseInstanceName('main/sub') } };
      const report = table.read([lease(formatLeaseId(name, main), ACTIVE)]).get(0);
      assert.deepEqual(report?.name, name);
      assert.equal(report?.wasAccepted, true);
    });

    it('lets them go on, with what the bot itself knows of them', () => {
      const { table } = new OneSlot();
      const payload = { typeUrl: 'type.googleapis.com/x', value: Buffer.from('y') };
      const old = { ...lease(idOf('old'), ACTIVE), payload };
      const answer = table.settle(0, table.read([old]).get(0), order('old', false));
      assert.deepEqual(answer, [{ id: idOf('old'), state: ACTIVE, action: undefined, payload }]);
    });

    it('tells the bot to drop those that nobody wants', () => {
      const bot = new OneSlot();
      assert.equal(bot.say([lease(idOf('old'), ACTIVE)]), `old ${CANCELLED}`);
      assert.equal(bot.say([lease(idOf('old'), ACTIVE)]), '');
    });

    it('ignores those that were never taken, and ids that no server of ours made', () => {
      const bot = new OneSlot();
      assert.equal(
        bot.table.read([lease(idOf('old'), PENDING), lease('8a51-4f6e', ACTIVE), lease('x', COMPLETED)]).size,
        0,
      );
    });

    it('does not send work that this server does not know', () => {
      assert.equal(new OneSlot().say([], order('old', false)), '');
    });
  });

  describe('resize', () => {
    it('drops slots from the end, but none that holds something', () => {
      const table = new LeaseTable(main);
      assert.equal(table.resize(4), 0);
      table.settle(1, undefined, order('a'));
      assert.equal(table.resize(1), 4);
      assert.equal(table.size, 2);
      table.settle(1, table.read([lease(idOf('a', 1), COMPLETED)]).get(1), {});
      table.resize(1);
      assert.equal(table.size, 1);
    });
  });
});
