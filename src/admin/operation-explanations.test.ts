import assert from 'node:assert/strict';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { FakeSchedulerView } from '../../test/support/scheduler-view.ts';
import type { ActionKey } from '../digest/action-key.ts';
import { digestOf } from '../digest/hasher.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import type { Block, Explanation } from '../execution/scheduler/view.ts';
import { type KnownOperation, MAX_EXPLAINED, OperationExplanations } from './operation-explanations.ts';

const NOW = 100_000;
const WALL = Date.UTC(2026, 10, 21, 12);
const ACTION = digestOf('sha256', Buffer.from('action'));
const KEY: ActionKey = { instance: parseInstanceName('main'), action: ACTION };
const NAME = 'main/operations/1';
const LOST = {
  ...{ attempt: 1, slot: 'a/1', node: 'a', startedAtMs: NOW - 50_000 },
  end: { atMs: NOW - 20_000, how: 'worker-lost' as const, cause: '' },
};

describe('OperationExplanations', () => {
  let view: FakeSchedulerView<string>;
  let known: KnownOperation[];
  let explanations: OperationExplanations;

  beforeEach(() => {
    view = new FakeSchedulerView();
    known = [];
    explanations = new OperationExplanations({
      view,
      nowMs: () => NOW,
      wallMs: (ms) => WALL + ms - NOW,
      findOperation: async (name) => known.find((operation) => operation.name === name),
      finishedOf: async (key, limit) => known.filter((operation) => operation.key === key).slice(0, limit),
    });
  });

  const explain = async (name = NAME) => (await explanations.find(name, noAbort())).explain();

  function addQueued(explanation: Partial<Explanation> = {}) {
    view.addTask({
      ...{ action: ACTION, instance: 'main', operations: [NAME, 'main/operations/2'], shares: ['alice', 'build'] },
      ...{ queuedAtMs: NOW - 60_000, expectedMs: 4_000, priority: -5 },
    });
    view.addExplanation(NAME, {
      ...{ state: 'queued', rank: 3, competitors: 40, blocks: [{ kind: 'all-busy', slots: 12 }] },
      ...{ expectedStartMs: NOW + 120_000, attempts: [LOST], text: 'It waits.' },
      ...explanation,
    });
  }

  it('says where a queued operation is in line, what it waits for and what it went through', async () => {
    addQueued();
    const { blocks, ...rest } = await explain();
    assert.deepEqual(rest, {
      operation: NAME,
      action: {
        ...{ instanceName: 'main', digestFunction: 'sha256', hash: ACTION.hash, sizeBytes: BigInt(ACTION.sizeBytes) },
      },
      ...{ state: 'queued', text: 'It waits.', rank: 3, competitors: 40, expectedStartSeconds: 120 },
      attempts: [
        {
          ...{ attempt: 1, slot: 'a/1', node: 'a', startedUnixSeconds: (WALL - 50_000) / 1000, ranSeconds: 30 },
          ...{ how: 'worker-lost', cause: '' },
        },
      ],
      ...{ ageSeconds: 60, priority: -5, shares: ['alice', 'build'], expectedSeconds: 4, operations: 2, ending: '' },
    });
    assert.deepEqual(
      [blocks[0]?.kind, blocks[0]?.slots, blocks[0]?.text],
      ['all-busy', 12, 'all 12 slots that fit are busy'],
    );
  });

  it('gives the facts of every kind of block', async () => {
    const given: readonly Block[] = [
      { kind: 'no-such-worker', text: 'none fits' },
      { kind: 'pool-empty', pool: 'mac', untilMs: NOW + 5_000 },
      { kind: 'drained', slots: 2, reason: 'kernel' },
      { kind: 'resource', resource: 'cores', wanted: 8, mostFree: 3 },
      { kind: 'avoids-nodes', nodes: ['a'] },
      { kind: 'turn', share: 'bob', running: 1 },
    ];
    addQueued({ blocks: given });
    const { blocks } = await explain();
    const none = { slots: 0, pool: '', waitSeconds: 0, resource: '', wanted: 0, mostFree: 0, nodes: [], share: '' };
    const facts = [
      {},
      { pool: 'mac', waitSeconds: 5 },
      { slots: 2 },
      { resource: 'cores', wanted: 8, mostFree: 3 },
      { nodes: ['a'] },
      { share: 'bob', running: 1 },
    ];
    assert.deepEqual(
      blocks.map(({ text, ...rest }) => rest),
      facts.map((fact, index) => ({ ...none, running: 0, kind: given[index]?.kind, ...fact })),
    );
    assert.ok(blocks.every(({ text }) => text !== ''));
  });

  it('says how a finished one ended, also without the scheduler', async () => {
    const attempts = [
      { ...LOST, startedAtMs: WALL - 70_000, end: { ...LOST.end, atMs: WALL - 40_000 } },
      {
        ...{ attempt: 2, slot: 'b/1', node: 'b', startedAtMs: WALL - 40_000 },
        end: { atMs: WALL - 30_000, how: 'success' as const, cause: '' },
      },
    ];
    known.push({
      name: NAME,
      key: KEY,
      createdAtMs: WALL - 80_000,
      ended: { atMs: WALL, how: 'exit code 0.', attempts },
    });
    const { state, text, ending, ageSeconds, attempts: told } = await explain();
    assert.deepEqual([state, ending, ageSeconds], ['finished', 'exit code 0.', 80]);
    assert.equal(
      text,
      'It finished at 2026-11-21T12:00:00.000Z: exit code 0. Attempt 1 was lost: worker a fell silent. Attempt 2 succeeded on worker b.',
    );
    assert.deepEqual(
      told.map(({ startedUnixSeconds, ranSeconds, how }) => [startedUnixSeconds, ranSeconds, how]),
      [
        [WALL / 1000 - 70, 30, 'worker-lost'],
        [WALL / 1000 - 40, 10, 'success'],
      ],
    );
  });

  it('knows operations that are not in the queue yet', async () => {
    known.push({ name: NAME, key: KEY, createdAtMs: WALL - 2_000 });
    const { state, text, ageSeconds } = await explain();
    assert.deepEqual([state, text, ageSeconds], ['preparing', 'The cache and its inputs are being looked up.', 2]);
  });

  it('tells of an operation as it is when it is told, not when it was found', async () => {
    const task = view.addTask({ action: ACTION, instance: 'main', operations: [NAME] });
    const found = await explanations.find(NAME, noAbort());
    view.removeTask(task);
    await assert.rejects(found.explain(), ofKind('operation-not-found'));
    known.push({ name: NAME, key: KEY, createdAtMs: WALL, ended: { atMs: WALL, how: 'exit code 0', attempts: [] } });
    assert.equal((await found.explain()).state, 'finished');
  });

  it('does not know others', async () => {
    await assert.rejects(explain('operations/none'), ofKind('operation-not-found'));
  });

  it('tells of all that is known of an action', async () => {
    addQueued();
    view.addTask({ action: ACTION, instance: 'main', operations: [], attempts: [{ ...LOST, attempt: 1 }] });
    view.addTask({ action: ACTION, instance: 'other' });
    view.addQuarantined({ key: KEY, reason: 'it took down 3 workers', untilMs: NOW + 59_500 });
    const ended = { atMs: WALL, how: 'exit code 1', attempts: [] };
    known.push({ name: 'main/operations/0', key: KEY, createdAtMs: WALL - 9_000, ended });
    const { operations, quarantine, text } = await explanations.ofAction(KEY, noAbort());
    assert.deepEqual(
      operations.map(({ operation, state }) => [operation, state]),
      [
        [NAME, 'queued'],
        ['', 'queued'],
        ['main/operations/0', 'finished'],
      ],
    );
    assert.equal(quarantine?.reason, 'it took down 3 workers');
    assert.deepEqual(text.split('\n'), [
      `Action ${ACTION.hash}/6, instance name "main"`,
      'It is refused for another 60 s: it took down 3 workers',
      `${NAME}: It waits.`,
      'work of a former server: In line. Attempt 1 was lost: worker a fell silent.',
      'main/operations/0: It finished at 2026-11-21T12:00:00.000Z: exit code 1.',
    ]);
  });

  it('says that nothing is known of an action', async () => {
    const instance = parseInstanceName('');
    const { operations, text } = await explanations.ofAction({ ...KEY, instance }, noAbort());
    assert.deepEqual(operations, []);
    assert.equal(text, `Action ${ACTION.hash}/6\nIt is not in the queue, and no finished operation of it is retained.`);
  });

  it('lets others have their turn between the operations of an action, and leaves out what has gone by then', async () => {
    const [first, second] = ['main/operations/1', 'main/operations/2'].map((name) =>
      view.addTask({ action: ACTION, instance: 'main', operations: [name] }),
    );
    assert.ok(first && second);
    setImmediate(() => view.removeTask(second));
    const { operations } = await explanations.ofAction(KEY, noAbort());
    assert.deepEqual(
      operations.map(({ operation }) => operation),
      ['main/operations/1'],
    );
  });

  it('has an end, however often an action is asked for', async () => {
    for (let index = 0; index < 15; index++) {
      view.addTask({ action: ACTION, instance: 'main' });
      const ended = { atMs: WALL, how: '', attempts: [] };
      known.push({ name: `main/operations/${index}`, key: KEY, createdAtMs: WALL, ended });
    }
    const { operations } = await explanations.ofAction(KEY, noAbort());
    assert.equal(operations.length, MAX_EXPLAINED);
    assert.deepEqual(operations.filter(({ state }) => state === 'queued').length, 15);
  });
});
