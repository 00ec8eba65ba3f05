import assert from 'node:assert/strict';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { FakeSchedulerView } from '../../test/support/scheduler-view.ts';
import type { Authorizer } from '../auth/authorizer.ts';
import { FleetPages } from './fleet-pages.ts';
import { FleetSnapshots, MAX_LISTED } from './fleet-snapshots.ts';

describe('FleetPages', () => {
  let view: FakeSchedulerView<string>;
  let demanded: string[];
  let isAllowed: boolean;
  let limits: number[];
  let pages: FleetPages;

  beforeEach(() => {
    view = new FakeSchedulerView();
    demanded = [];
    limits = [];
    isAllowed = true;
    const times = { nowMs: () => 1_000, wallMs: (ms: number) => ms };
    const authorizer: Authorizer = {
      allows: async ({ kind }, what, where) => {
        demanded.push(`${kind} ${what} "${where}"`);
        return isAllowed;
      },
    };
    const snapshots = new FleetSnapshots({ view, ...times, title: (work) => work });
    const limited: Pick<typeof snapshots, 'get'> = {
      get: (selection) => {
        limits.push(selection.limit);
        return snapshots.get(selection);
      },
    };
    const finishedOf = async () => [];
    pages = new FleetPages(limited, { view, ...times, findOperation: async () => undefined, finishedOf }, authorizer);
  });

  it('shows a snapshot of the fleet', async () => {
    view.addPool({ name: 'mac' });
    const { pools, unixSeconds } = JSON.parse(await pages.fleet({ limit: undefined, hasNodes: false }));
    assert.deepEqual([pools[0].name, unixSeconds], ['mac', 1]);
    await pages.fleet({ limit: 7, hasNodes: true });
    await pages.fleet({ limit: 1e9, hasNodes: true });
    assert.deepEqual(limits, [1_000, 7, MAX_LISTED]);
    assert.equal(demanded[0], 'anonymous operate ""');
  });

  it('explains an operation', async () => {
    view.addTask({ operations: ['main/operations/1'], instance: 'main' });
    const { text, action } = JSON.parse(await pages.explain('main/operations/1', noAbort()));
    assert.deepEqual([text, action.instanceName], ['In line.', 'main']);
    assert.deepEqual(demanded, ['anonymous operate "main"']);
    await assert.rejects(pages.explain('operations/none', noAbort()), ofKind('operation-not-found'));
  });

  it('tells nothing to those who may not operate', async () => {
    isAllowed = false;
    view.addTask({ operations: ['one'] });
    await assert.rejects(pages.explain('one', noAbort()), ofKind('denied'));
    await assert.rejects(pages.fleet({ limit: 1, hasNodes: false }), ofKind('denied'));
  });
});
