import assert from 'node:assert/strict';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { ActionStore, StoredResult } from '../action-cache/action-store.ts';
import { MissHistory } from '../action-cache/misses/miss-history.ts';
import { MemoryBlobStore } from '../cas/memory-blob-store.ts';
import { digestOf } from '../digest/hasher.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { isKind } from '../errors.ts';
import { Action, ActionResult, ExecuteResponse } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { kindOfCode } from '../rpc/status.ts';
import { recordResult } from './record-result.ts';

const key = { instance: parseInstanceName(''), action: digestOf('sha256', Buffer.from('action')) };

interface Case {
  readonly exitCode?: number;
  readonly code?: number;
  readonly doNotCache?: boolean;
  readonly isRecordedByWorker?: boolean;
  readonly hasNoResult?: boolean;
}

async function record(given: Case, maxResultBytes = 1_000, history?: MissHistory): Promise<readonly StoredResult[]> {
  const stored: StoredResult[] = [];
  const actions: ActionStore = {
    get: async () => undefined,
    put: async (_, result) => {
      stored.push(result);
    },
    remove: async () => false,
  };
  const blobs = new MemoryBlobStore({ maxBytes: 10_000 });
  const result = ActionResult.fromPartial({ exitCode: given.exitCode ?? 0, executionMetadata: { worker: 'w' } });
  const response = ExecuteResponse.fromPartial({
    ...(!given.hasNoResult && { result }),
    ...(given.code !== undefined && { status: { code: given.code } }),
  });
  const action = Action.fromPartial({ doNotCache: given.doNotCache ?? false });
  const work = { key, action, timeoutMs: 1, requestMetadata: undefined };
  const report = { response, isRecordedByWorker: given.isRecordedByWorker ?? false };
  const observed = history && { observer: history, kindOfCode };
  await recordResult({ actions, blobs, maxResultBytes, ...(observed && { observed }) }, work, report);
  return stored;
}

describe('recordResult', () => {
  it('files the result of a command that succeeded', async () => {
    assert.equal((await record({}))[0]?.message.executionMetadata?.worker, 'w');
    assert.equal((await record({ code: 0 })).length, 1);
  });

  for (const [title, given] of [
    ['a command that failed (R-AC-12)', { exitCode: 1 }],
    ['a status that is not OK (R-AC-13)', { code: 4 }],
    ['an action that must not be cached (R-AC-13)', { doNotCache: true }],
    ['a worker that did it itself (R-BW-07)', { isRecordedByWorker: true }],
    ['a response without a result', { hasNoResult: true }],
  ] as const) {
    it(`files nothing for ${title}`, async () => {
      assert.deepEqual(await record(given), []);
    });
  }

  it('fails if the result is larger than could be served (R-AC-06)', async () => {
    await assert.rejects(record({}, 1), (error) => isKind(error, 'too-large'));
  });

  describe('tells the history', () => {
    const toldOf = async (given: Case, maxResultBytes?: number): Promise<unknown> => {
      const history = new MissHistory(new FakeClock(), { maxActions: 10 });
      await record(given, maxResultBytes, history).catch(() => undefined);
      const miss = history.explain(key, { reason: 'absent' });
      return miss.reason === 'not-cached' ? miss.because : miss.reason;
    };

    for (const [title, given, told] of [
      ['of a result that was stored', {}, 'lost'],
      ['of a command that failed', { exitCode: 3 }, { kind: 'exit-code', exitCode: 3 }],
      ['of a command that ran too long', { code: 4 }, { kind: 'timed-out' }],
      ['of a worker that failed', { code: 13 }, { kind: 'worker-failed' }],
      ['of a response without a result', { hasNoResult: true }, { kind: 'worker-failed' }],
      ['of an action that must not be cached', { doNotCache: true }, { kind: 'do-not-cache' }],
      ['nothing where the worker stores the result itself', { isRecordedByWorker: true }, 'never-seen'],
    ] as const) {
      it(title, async () => assert.deepEqual(await toldOf(given), told));
    }

    it('of a result that is too large', async () => {
      assert.deepEqual(await toldOf({}, 1), { kind: 'too-large' });
    });
  });
});
