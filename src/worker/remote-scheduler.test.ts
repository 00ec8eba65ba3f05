import assert from 'node:assert/strict';
import { testServers } from '../../test/support/test-server.ts';
import { digestToWire } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { isKind, ReapiError } from '../errors.ts';
import { ExecuteResponse } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  type CurrentState_Executing,
  OperationQueueDefinition,
  SynchronizeRequest,
  SynchronizeResponse,
} from '../gen/pkg/proto/remoteworker/remoteworker.ts';
import type { Method } from '../rpc/methods.ts';
import { unary } from '../rpc/methods.ts';
import { RemoteScheduler } from './remote-scheduler.ts';

const never = new AbortController().signal;
const actionDigest = digestToWire(digestOf('sha256', Buffer.from('action')));
const ANSWER = SynchronizeResponse.fromPartial({
  nextSynchronizationAt: { seconds: 7n },
  desiredState: { workerState: { $case: 'idle', value: {} } },
});

const idle = SynchronizeRequest.fromPartial({
  workerId: { node: 'n', thread: '0' },
  currentState: { workerState: { $case: 'idle', value: {} } },
});

function executing(executionState: CurrentState_Executing['executionState']): SynchronizeRequest {
  const value = { actionDigest, executionState };
  return SynchronizeRequest.fromPartial({ ...idle, currentState: { workerState: { $case: 'executing', value } } });
}

const running = executing({ $case: 'running', value: {} });
const completed = executing({
  $case: 'completed',
  value: ExecuteResponse.fromPartial({ result: { exitCode: 3 }, status: { code: 0 } }),
});

describe('RemoteScheduler', () => {
  const servers = testServers();

  type Answer = (request: SynchronizeRequest, signal: AbortSignal) => Promise<SynchronizeResponse>;
  const serving = (answer: Answer): Method =>
    unary(OperationQueueDefinition, OperationQueueDefinition.methods.synchronize, (request, call) =>
      answer(request, call.signal),
    );

  async function scheduler(answer: Answer, patience = { idleTimeoutMs: 600_000, busyTimeoutMs: 600_000 }) {
    const server = await servers.start([serving(answer)]);
    return { server, remote: new RemoteScheduler(server.client, patience) };
  }

  /** A server that never answers; `left` resolves when the call is broken off. */
  function holding(): { readonly answer: Answer; readonly entered: Promise<void>; readonly left: Promise<void> } {
    const entered = Promise.withResolvers<void>();
    const left = Promise.withResolvers<void>();
    const answer: Answer = (_request, signal) => {
      entered.resolve();
      return new Promise((_, reject) =>
        signal.addEventListener('abort', () => {
          left.resolve();
          reject(new ReapiError('cancelled', 'left'));
        }),
      );
    };
    return { answer, entered: entered.promise, left: left.promise };
  }

  it('says what the slot does and learns what it should do, over the wire', async () => {
    const seen: SynchronizeRequest[] = [];
    const { remote } = await scheduler((request) => {
      seen.push(request);
      return Promise.resolve(ANSWER);
    });
    assert.deepEqual(await remote.synchronize(completed, never), ANSWER);
    assert.deepEqual(seen, [completed]);
  });

  it('reports the same end again when asked to: the server may not have heard it', async () => {
    const seen: unknown[] = [];
    const { remote } = await scheduler((request) => {
      seen.push(request.currentState);
      return seen.length === 1 ? Promise.reject(new ReapiError('unavailable', 'restarting')) : Promise.resolve(ANSWER);
    });
    await assert.rejects(remote.synchronize(completed, never), (error) => isKind(error, 'unavailable'));
    await remote.synchronize(completed, never);
    assert.deepEqual(seen, [completed.currentState, completed.currentState]);
  });

  it('holds a slot with something to say to a short deadline', async () => {
    const { answer } = holding();
    const { remote } = await scheduler(answer, { idleTimeoutMs: 600_000, busyTimeoutMs: 1 });
    await assert.rejects(remote.synchronize(running, never), (error) => isKind(error, 'timed-out'));
  });

  for (const [what, request] of Object.entries({ idle, completed })) {
    it(`lets the server hold back a slot that is ${what} (R-BB-02, R-BB-07)`, async () => {
      const { answer } = holding();
      const { remote } = await scheduler(answer, { idleTimeoutMs: 1, busyTimeoutMs: 600_000 });
      await assert.rejects(remote.synchronize(request, never), (error) => isKind(error, 'timed-out'));
    });
  }

  it('breaks a long poll off when told to, and the server learns of it', async () => {
    const { answer, entered, left } = holding();
    const { remote } = await scheduler(answer);
    const abort = new AbortController();
    const pending = remote.synchronize(idle, abort.signal);
    await entered;
    abort.abort();
    await assert.rejects(pending, (error) => isKind(error, 'cancelled'));
    await left;
  });

  it('fails as unavailable when the server goes away during a long poll', async () => {
    const entered = Promise.withResolvers<void>();
    const { remote, server } = await scheduler(() => {
      entered.resolve();
      return new Promise(() => undefined);
    });
    const pending = assert.rejects(remote.synchronize(idle, never), (error) => isKind(error, 'unavailable'));
    await entered.promise;
    server.server.force();
    await pending;
  });
});
