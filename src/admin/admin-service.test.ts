import assert from 'node:assert/strict';
import { callServerStreaming, callUnary } from '../../test/support/call-method.ts';
import { ofKind } from '../../test/support/expectations.ts';
import { fakeCall } from '../../test/support/fake-call.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeStoreControl, SOME_BUCKET_STATS, SOME_STATS } from '../../test/support/fake-store-control.ts';
import { testServers } from '../../test/support/test-server.ts';
import type { MissQuery, MissReport } from '../action-cache/misses/miss-report.ts';
import { type Authorizer, OpenAuthorizer, type Permission, ReadOnlyAuthorizer } from '../auth/authorizer.ts';
import type { BucketStats } from '../cas/s3/bucket-stats.ts';
import type { ActionKey } from '../digest/action-key.ts';
import { digestToWire } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { InstanceNames, parseInstanceName } from '../digest/instance-name.ts';
import { ReapiError } from '../errors.ts';
import { AdminDefinition } from '../gen/gantry/v1/admin.ts';
import type { Method } from '../rpc/methods.ts';
import { adminMethods } from './admin-service.ts';
import { statsFromWire } from './store-messages.ts';

const { getStoreStats, checkStore, pruneStore, removeActionResult, explainMiss } = AdminDefinition.methods;

const ACTION = digestOf('sha256', Buffer.from('action'));
const ACTION_WIRE = digestToWire(ACTION);
const REPORT = { blobs: 3, entries: 1, bytes: 100, damaged: 0, damage: [] };

const MISS: MissReport = {
  action: ACTION,
  instance: 'main',
  isCached: false,
  history: { sinceMs: 5, actions: 1, maxActions: 10 },
};

describe('adminMethods', () => {
  let control: FakeStoreControl;
  let removed: ActionKey[];
  let asked: MissQuery[];
  let demanded: string[];
  let bucket: BucketStats | undefined;

  const servers = testServers();

  const methodsWith = (inner: Authorizer = new OpenAuthorizer(), stopping?: AbortSignal): readonly Method[] => {
    const authorizer: Authorizer = {
      allows: (who, what: Permission, where) => {
        demanded.push(`${what} under "${where}"`);
        return inner.allows(who, what, where);
      },
    };
    const given = bucket;
    return adminMethods({
      control,
      actions: {
        remove: async (key) => {
          removed.push(key);
          return key.instance === 'main';
        },
      },
      misses: {
        explain: async (query) => {
          asked.push(query);
          return MISS;
        },
      },
      renderMiss: (report) => `missed under ${report.instance}`,
      authorizer,
      instances: new InstanceNames([parseInstanceName('main'), parseInstanceName('other')]),
      clock: new FakeClock(),
      ...(given && { bucketStats: () => given }),
      ...(stopping !== undefined && { stopping }),
    });
  };

  beforeEach(() => {
    control = new FakeStoreControl();
    removed = [];
    asked = [];
    demanded = [];
    bucket = undefined;
  });

  it('gives the statistics of the store', async () => {
    const stats = await callUnary(methodsWith(), getStoreStats, {});
    assert.deepEqual(statsFromWire(stats), SOME_STATS);
    assert.deepEqual(demanded, ['operate under ""']);
  });

  it('gives those of the bucket, too, if there is one', async () => {
    bucket = SOME_BUCKET_STATS;
    const stats = await callUnary(methodsWith(), getStoreStats, {});
    assert.deepEqual(statsFromWire(stats), { ...SOME_STATS, bucket });
  });

  it('checks the store, telling how far it is and what it found', async () => {
    const updates = callServerStreaming(methodsWith(), checkStore, {});
    await control.started();
    control.checks[0]?.onProgress({ doneBytes: 10, totalBytes: 100 });
    control.checks[0]?.end.resolve({
      ...REPORT,
      damaged: 1,
      damage: [{ what: 'entry', name: 'ac/x', reason: 'its checksum is wrong' }],
    });
    assert.deepEqual(
      (await updates).map(({ update }) => update?.$case),
      ['progress', 'report'],
    );
    assert.deepEqual(demanded, ['operate under ""']);
  });

  it('prunes the store to the target', async () => {
    const updates = callServerStreaming(methodsWith(), pruneStore, { targetBytes: 1_000n });
    await control.started();
    assert.equal(control.prunes[0]?.targetBytes, 1_000);
    control.prunes[0]?.end.resolve({ freedBytes: 5, evictedBlobs: 1, evictedEntries: 0, sizeBytes: 900 });
    const [only] = await updates;
    assert.deepEqual(only?.update, {
      $case: 'report',
      value: { freedBytes: 5n, evictedBlobs: 1n, evictedEntries: 0n, sizeBytes: 900n },
    });
    assert.deepEqual(demanded, ['admin under ""']);
  });

  it('refuses a target below nothing', async () => {
    await assert.rejects(callServerStreaming(methodsWith(), pruneStore, {}), /target_bytes is required/);
    const call = callServerStreaming(methodsWith(), pruneStore, { targetBytes: -1n });
    await assert.rejects(call, ofKind('invalid-argument'));
    assert.equal(control.prunes.length, 0);
  });

  it('refuses a second job of a kind while one runs, not one of another kind, and not one after it', async () => {
    const methods = methodsWith();
    const first = callServerStreaming(methods, checkStore, {});
    await control.started();
    await assert.rejects(callServerStreaming(methods, checkStore, {}), {
      kind: 'precondition',
      message: 'a check of this store is running already; wait for it or cancel it',
    });
    const prune = callServerStreaming(methods, pruneStore, { targetBytes: 0n });
    control.checks[0]?.end.resolve(REPORT);
    await first;
    const third = callServerStreaming(methods, checkStore, {});
    await control.started(3);
    control.checks[1]?.end.resolve(REPORT);
    control.prunes[0]?.end.resolve({ freedBytes: 0, evictedBlobs: 0, evictedEntries: 0, sizeBytes: 0 });
    assert.equal((await third).length, 1);
    assert.equal((await prune).length, 1);
  });

  it('lets the next job start after one that failed or was cancelled', async () => {
    const methods = methodsWith();
    const caller = new AbortController();
    const cancelled = callServerStreaming(methods, checkStore, {}, fakeCall({ signal: caller.signal }));
    await control.started();
    caller.abort();
    await assert.rejects(cancelled, ofKind('cancelled'));
    assert.equal(control.checks[0]?.signal.aborted, true);
    const next = callServerStreaming(methods, checkStore, {});
    await control.started(2);
    control.checks[1]?.end.resolve(REPORT);
    assert.equal((await next).length, 1);
  });

  it('stops the job of a caller that vanishes, over a real connection', async () => {
    const { client } = await servers.start(methodsWith());
    const caller = new AbortController();
    const updates = client.serverStream(AdminDefinition, checkStore, {}, { signal: caller.signal });
    const first = updates[Symbol.asyncIterator]().next();
    await control.started();
    const [job] = control.checks;
    assert.ok(job);
    caller.abort();
    await assert.rejects(first, ofKind('cancelled'));
    await assert.rejects(job.end.promise, ofKind('cancelled'));
  });

  it('ends its jobs when the server stops, and says so', async () => {
    const stopping = new AbortController();
    const updates = callServerStreaming(methodsWith(undefined, stopping.signal), checkStore, {});
    await control.started();
    stopping.abort(new ReapiError('unavailable', 'the server is stopping'));
    await assert.rejects(updates, { kind: 'unavailable', message: 'the server is stopping' });
  });

  it('removes a result and says whether there was one', async () => {
    const methods = methodsWith();
    const request = { instanceName: 'main', actionDigest: ACTION_WIRE };
    assert.deepEqual(await callUnary(methods, removeActionResult, request), { removed: true });
    const other = await callUnary(methods, removeActionResult, { ...request, instanceName: 'other' });
    assert.deepEqual(other, { removed: false });
    assert.deepEqual(removed, [
      { instance: 'main', action: ACTION },
      { instance: 'other', action: ACTION },
    ]);
    assert.deepEqual(demanded, ['admin under "main"', 'admin under "other"']);
  });

  it('explains a miss in words and in JSON', async () => {
    const methods = methodsWith();
    const answer = await callUnary(methods, explainMiss, { instanceName: 'main', actionDigest: ACTION_WIRE });
    assert.equal(answer.text, 'missed under main');
    assert.deepEqual(JSON.parse(answer.reportJson), MISS);
    await callUnary(methods, explainMiss, { actionDigest: ACTION_WIRE });
    assert.deepEqual(asked, [{ instance: 'main', digest: ACTION }, { digest: ACTION }]);
    assert.deepEqual(demanded, ['operate under "main"', 'operate under ""']);
  });

  it('refuses instance names that are not served and digests that are none', async () => {
    for (const call of [
      (request: object) => callUnary(methodsWith(), removeActionResult, request),
      (request: object) => callUnary(methodsWith(), explainMiss, request),
    ]) {
      for (const request of [
        { instanceName: 'unknown', actionDigest: ACTION_WIRE },
        { instanceName: 'main' },
        { instanceName: 'main', actionDigest: { hash: 'abc', sizeBytes: 1n } },
      ]) {
        await assert.rejects(call(request), ofKind('invalid-argument'));
      }
    }
  });

  it('lets a read-only server be looked at and not be changed', async () => {
    const methods = methodsWith(new ReadOnlyAuthorizer(new OpenAuthorizer()));
    await callUnary(methods, getStoreStats, {});
    await callUnary(methods, explainMiss, { actionDigest: ACTION_WIRE });
    const request = { instanceName: 'main', actionDigest: ACTION_WIRE };
    await assert.rejects(callUnary(methods, removeActionResult, request), ofKind('denied'));
    await assert.rejects(callServerStreaming(methods, pruneStore, {}), ofKind('denied'));
    assert.deepEqual([removed.length, control.prunes.length], [0, 0]);
  });

  it('asks before it does anything', async () => {
    const methods = methodsWith({ allows: async () => false });
    const request = { instanceName: 'main', actionDigest: ACTION_WIRE };
    for (const call of [
      () => callUnary(methods, getStoreStats, {}),
      () => callUnary(methods, removeActionResult, request),
      () => callUnary(methods, explainMiss, request),
      () => callServerStreaming(methods, checkStore, {}),
      () => callServerStreaming(methods, pruneStore, {}),
    ]) {
      await assert.rejects(call, ofKind('denied'));
    }
    assert.deepEqual([removed, asked, control.checks, control.prunes], [[], [], [], []]);
  });
});
