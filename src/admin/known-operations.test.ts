import assert from 'node:assert/strict';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { ActionKey } from '../digest/action-key.ts';
import { digestOf } from '../digest/hasher.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { ReapiError } from '../errors.ts';
import { Operations } from '../execution/operations.ts';
import { ExecuteResponse } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { SystemRandom } from '../system/random.ts';
import { knownOperations } from './known-operations.ts';

const ACTION = digestOf('sha256', Buffer.from('action'));
const KEY: ActionKey = { instance: parseInstanceName('main'), action: ACTION };

function encoded(response: object): Uint8Array {
  return ExecuteResponse.encode(ExecuteResponse.fromPartial(response)).finish();
}

describe('knownOperations', () => {
  let clock: FakeClock;
  let operations: Operations;

  beforeEach(() => {
    clock = new FakeClock();
    const limits = { maxLive: 10_000, maxFinished: 10_000, finishedRetentionMs: 60_000, heartbeatMs: 1_000 };
    operations = new Operations(clock, new SystemRandom(), limits);
  });

  const finish = (response: object, key = KEY): string => {
    const { name } = operations.create(key);
    operations.finish(name, encoded(response), []);
    return name;
  };
  const howOf = async (response: object) =>
    (await knownOperations(operations).findOperation(finish(response), noAbort()))?.ended?.how;

  it('knows unfinished ones by name, and not those that never were', async () => {
    const { name } = operations.create(KEY);
    const known = knownOperations(operations);
    assert.deepEqual(await known.findOperation(name, noAbort()), { name, key: KEY, createdAtMs: clock.nowMs() });
    assert.equal(await known.findOperation('operations/none', noAbort()), undefined);
  });

  it('does not take a failure for absence', async () => {
    const failing = {
      find: () => Promise.reject(new ReapiError('unavailable', 'no store')),
      list: () => operations.list(),
    };
    await assert.rejects(knownOperations(failing).findOperation('x', noAbort()), ofKind('unavailable'));
  });

  for (const [response, how] of [
    [{ result: { exitCode: 0 } }, 'exit code 0'],
    [{ result: { exitCode: 3 }, cachedResult: true }, 'exit code 3, answered from the cache'],
    [{ status: { code: 9, message: 'no such worker' } }, 'FAILED_PRECONDITION, no such worker'],
    [{ status: { code: 4 }, result: { exitCode: -1 } }, 'DEADLINE_EXCEEDED'],
    [{ status: { code: 77 } }, 'code 77'],
  ] as const) {
    it(`says that one ended with ${how}`, async () => assert.equal(await howOf(response), how));
  }

  it('finds the newest finished ones of an action', async () => {
    const names = [1, 2, 3].map((exitCode) => finish({ result: { exitCode } }));
    finish({}, { ...KEY, instance: parseInstanceName('other') });
    operations.create(KEY);
    const found = await knownOperations(operations).finishedOf(KEY, 2, noAbort());
    assert.deepEqual(
      found.map(({ name, ended }) => [name, ended?.how]),
      [
        [names[2], 'exit code 3'],
        [names[1], 'exit code 2'],
      ],
    );
  });

  it('lets others have their turn, and stops when nobody waits', async () => {
    for (let index = 0; index < 1_500; index++) operations.create(KEY);
    const caller = new AbortController();
    const found = knownOperations(operations).finishedOf(KEY, 1, caller.signal);
    caller.abort();
    await assert.rejects(found, ofKind('cancelled'));
  });
});
