import assert from 'node:assert/strict';
import { testServers } from '../../test/support/test-server.ts';
import { digestOf } from '../digest/hasher.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { isKind, ReapiError } from '../errors.ts';
import {
  ActionCacheDefinition,
  ActionResult,
  DigestFunction_Value,
  type UpdateActionResultRequest,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { unary } from '../rpc/methods.ts';
import { RemoteActionCache } from './remote-action-cache.ts';

describe('RemoteActionCache', () => {
  const servers = testServers();
  const never = new AbortController().signal;
  const key = { instance: parseInstanceName('main/a'), action: digestOf('sha256', Buffer.from('action')) };
  const result = ActionResult.fromPartial({ exitCode: 0, stdoutRaw: Buffer.from('said') });

  async function cache(
    answer: (request: UpdateActionResultRequest) => Promise<ActionResult>,
    callTimeoutMs = 600_000,
  ): Promise<RemoteActionCache> {
    const method = unary(ActionCacheDefinition, ActionCacheDefinition.methods.updateActionResult, answer);
    const { client } = await servers.start([method]);
    return new RemoteActionCache(client, { callTimeoutMs });
  }

  it('writes the result under the instance name, digest and function of the action', async () => {
    const seen: UpdateActionResultRequest[] = [];
    const remote = await cache((request) => {
      seen.push(request);
      return Promise.resolve(result);
    });
    await remote.record(key, result, never);
    const [request] = seen;
    assert.equal(request?.instanceName, 'main/a');
    assert.equal(request.actionDigest?.hash, key.action.hash);
    assert.equal(request.digestFunction, DigestFunction_Value.SHA256);
    assert.equal(Buffer.from(request.actionResult?.stdoutRaw ?? []).toString(), 'said');
  });

  it('passes the refusal of a server on', async () => {
    const remote = await cache(() => Promise.reject(new ReapiError('denied', 'read only')));
    await assert.rejects(remote.record(key, result, never), (error) => isKind(error, 'denied'));
  });

  it('does not wait for ever, and not at all once cancelled', async () => {
    const remote = await cache(() => new Promise(() => undefined), 1);
    await assert.rejects(remote.record(key, result, never), (error) => isKind(error, 'timed-out'));
    await assert.rejects(remote.record(key, result, AbortSignal.abort()), (error) => isKind(error, 'cancelled'));
  });
});
