import assert from 'node:assert/strict';
import { callUnary } from '../../test/support/call-method.ts';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { fakeCall } from '../../test/support/fake-call.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { OpenAuthorizer, ReadOnlyAuthorizer } from '../auth/authorizer.ts';
import { MemoryBlobStore } from '../cas/memory-blob-store.ts';
import { type Digest, digestToWire } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { InstanceNames, parseInstanceName } from '../digest/instance-name.ts';
import { MemoryEntryStore } from '../entries/memory-entry-store.ts';
import {
  Action,
  ActionCacheDefinition,
  ActionResult,
  Command,
  RequestMetadata,
  UpdateActionResultRequest,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Method } from '../rpc/methods.ts';
import { Semaphore } from '../system/semaphore.ts';
import { type ActionCacheOptions, actionCacheMethods } from './action-cache-service.ts';
import { CompleteActionStore } from './complete-action-store.ts';
import { EntryActionStore } from './entry-action-store.ts';
import { MissHistory } from './misses/miss-history.ts';

const clock = new FakeClock();
const { getActionResult, updateActionResult } = ActionCacheDefinition.methods;

const COMMAND = Buffer.from(Command.encode(Command.fromPartial({ arguments: ['true'] })).finish());
const ACTION = Buffer.from(
  Action.encode(Action.fromPartial({ commandDigest: digestToWire(digestOf('sha256', COMMAND)) })).finish(),
);
const ACTION_DIGEST = digestToWire(digestOf('sha256', ACTION));
const OUT = Buffer.from('out');
const OUT_DIGEST = digestToWire(digestOf('sha256', OUT));

describe('actionCacheMethods', () => {
  let blobs: MemoryBlobStore;
  let methods: readonly Method[];
  let history: MissHistory;

  const serve = (overrides: Partial<ActionCacheOptions> = {}): void => {
    const limits = {
      maxTreeBytes: 1000,
      maxTreeDirectories: 10,
      maxTreeDepth: 5,
      maxDirectoryBytes: 1000,
      treeCacheBytes: 10_000,
    };
    const entries = new EntryActionStore(new MemoryEntryStore({ clock, maxBytes: 100_000, maxEntryBytes: 50_000 }), {
      clock,
      maxAgeMs: 0,
    });
    methods = actionCacheMethods(new CompleteActionStore(entries, blobs, new Semaphore(4), limits), blobs, {
      authorizer: new OpenAuthorizer(),
      instances: new InstanceNames(),
      maxMessageBytes: 10_000,
      maxResultBytes: 5000,
      requireAction: true,
      maxActionBytes: 1000,
      observer: history,
      ...overrides,
    });
  };
  const put = (bytes: Uint8Array): Promise<void> => blobs.putBytes(digestOf('sha256', bytes), bytes, noAbort());
  const get = (request: object = {}): Promise<ActionResult> =>
    callUnary(methods, getActionResult, { actionDigest: ACTION_DIGEST, ...request });
  const update = (actionResult: object = {}, request: object = {}): Promise<ActionResult> =>
    callUnary(methods, updateActionResult, { actionDigest: ACTION_DIGEST, actionResult, ...request });

  beforeEach(async () => {
    blobs = new MemoryBlobStore({ maxBytes: 1_000_000 });
    for (const bytes of [COMMAND, ACTION, OUT]) await put(bytes);
    history = new MissHistory(clock, { maxActions: 10 });
    serve();
  });

  it('answers what was stored, byte for byte of what clients see (R-AC-10)', async () => {
    const stored = await update({ outputFiles: [{ path: 'a', digest: OUT_DIGEST }], exitCode: 1 });
    assert.deepEqual(await get(), stored);
    assert.equal(stored.exitCode, 1);
  });

  it('answers a miss with result-not-found, and with nothing else (R-AC-01)', async () => {
    await assert.rejects(get(), ofKind('result-not-found'));
  });

  it('answers a miss once something of the result is gone (R-AC-02)', async () => {
    const gone = { ...OUT_DIGEST, hash: OUT_DIGEST.hash.replace(/^./, (char) => (char === '0' ? '1' : '0')) };
    await update({ stdoutDigest: gone });
    await assert.rejects(get(), ofKind('result-not-found'));
  });

  it('inlines on request only (R-AC-04, R-AC-05)', async () => {
    await update({ outputFiles: [{ path: 'a', digest: OUT_DIGEST }], stdoutDigest: OUT_DIGEST });
    assert.equal((await get()).stdoutRaw.length, 0);
    const inlined = await get({ inlineStdout: true, inlineStderr: true, inlineOutputFiles: ['a', 'b'] });
    assert.equal(Buffer.from(inlined.stdoutRaw).toString(), 'out');
    assert.equal(Buffer.from(inlined.outputFiles[0]?.contents ?? []).toString(), 'out');
    assert.deepEqual(inlined.stdoutDigest, OUT_DIGEST);
  });

  it('keeps fields of a result that our schema does not know', async () => {
    const unknown = Buffer.of(0xa0, 0x06, 0x07);
    const request = UpdateActionResultRequest.fromPartial({ actionDigest: ACTION_DIGEST });
    const result = Buffer.concat([ActionResult.encode(ActionResult.fromPartial({ exitCode: 2 })).finish(), unknown]);
    const encoded = Buffer.concat([
      UpdateActionResultRequest.encode(request).finish(),
      Buffer.of(0x1a, result.length),
      result,
    ]);
    const [getMethod, updateMethod] = methods;
    assert.ok(getMethod?.kind === 'unary' && updateMethod?.kind === 'unary');
    assert.ok(Buffer.from(await updateMethod.handle(encoded, fakeCall())).includes(unknown));
    assert.ok(
      Buffer.from(await getMethod.handle(UpdateActionResultRequest.encode(request).finish(), fakeCall())).includes(
        unknown,
      ),
    );
  });

  it('names the tool where the result names no worker (R-AC-14, T-35)', async () => {
    const requestMetadata = RequestMetadata.fromPartial({ toolDetails: { toolName: 'bazel' } });
    const request = { actionDigest: ACTION_DIGEST, actionResult: {} };
    const named = await callUnary(methods, updateActionResult, request, fakeCall({ requestMetadata }));
    assert.equal(named.executionMetadata?.worker, 'bazel');
    assert.notEqual((await update()).executionMetadata?.worker, '');
  });

  it('keeps instances apart (R-AC-15)', async () => {
    await update({}, { instanceName: 'main' });
    await assert.rejects(get(), ofKind('result-not-found'));
    await get({ instanceName: 'main' });
  });

  it('wants Action and Command in the CAS first, if told to (R-AC-07, R-AC-08)', async () => {
    const missingHash = (digest: Digest) => (error: unknown) =>
      ofKind('missing-inputs')(error) && String(error).includes(digest.hash);
    blobs = new MemoryBlobStore({ maxBytes: 100_000 });
    serve();
    await assert.rejects(update(), missingHash(digestOf('sha256', ACTION)));
    await put(ACTION);
    await assert.rejects(update(), missingHash(digestOf('sha256', COMMAND)));
    await put(COMMAND);
    await update();
    blobs = new MemoryBlobStore({ maxBytes: 100_000 });
    serve({ requireAction: false });
    await update();
  });

  it('refuses an action digest that names no Action, and an Action that is too large', async () => {
    const actionDigest = OUT_DIGEST;
    await assert.rejects(update({}, { actionDigest }), ofKind('invalid-argument'));
    await assert.rejects(update({}, { actionDigest: { ...ACTION_DIGEST, sizeBytes: 1001n } }), ofKind('too-large'));
  });

  it('refuses requests that are not valid (R-AC-17, R-DIG-01, R-DIG-03, R-XC-03)', async () => {
    const wrong = [
      { actionDigest: undefined },
      { actionDigest: { hash: 'x', sizeBytes: 1n } },
      { digestFunction: 9 },
      { instanceName: '/a' },
    ];
    for (const request of wrong) {
      await assert.rejects(get(request), ofKind('invalid-argument'));
      await assert.rejects(update({}, request), ofKind('invalid-argument'));
    }
    await assert.rejects(update({}, { actionResult: undefined }), ofKind('invalid-argument'));
    await assert.rejects(update({ outputDirectories: [{ path: 'd' }] }), ofKind('invalid-argument'));
  });

  it('refuses a result that is too large to be served (R-AC-06, T-22)', async () => {
    await assert.rejects(update({ outputFiles: [{ path: 'x'.repeat(5000) }] }), ofKind('too-large'));
  });

  it('refuses writing without the right, and instances that are not served (R-AC-09, R-CAP-13)', async () => {
    serve({ authorizer: new ReadOnlyAuthorizer(new OpenAuthorizer()) });
    await assert.rejects(update(), ofKind('denied'));
    await assert.rejects(get(), ofKind('result-not-found'));
    serve({ instances: new InstanceNames([parseInstanceName('main')]) });
    await assert.rejects(get(), ofKind('invalid-argument'));
  });

  it('tells the history of hits, misses, results that are stored and results that are not', async () => {
    const requestMetadata = RequestMetadata.fromPartial({ targetId: '//a', actionMnemonic: 'Link' });
    const key = { instance: parseInstanceName(''), action: digestOf('sha256', ACTION) };
    const call = (): ReturnType<typeof fakeCall> => fakeCall({ requestMetadata });
    const request = { actionDigest: ACTION_DIGEST };
    await assert.rejects(callUnary(methods, getActionResult, request, call()), ofKind('result-not-found'));
    assert.deepEqual(history.find(key)?.miss, { reason: 'never-seen' });
    assert.equal(history.find(key)?.group?.mnemonic, 'Link');
    const tooLarge = { ...request, actionResult: { outputFiles: [{ path: 'x'.repeat(5000) }] } };
    await assert.rejects(callUnary(methods, updateActionResult, tooLarge, call()), ofKind('too-large'));
    await assert.rejects(get(), ofKind('result-not-found'));
    const because = { kind: 'too-large' };
    assert.deepEqual(history.find(key)?.miss, { reason: 'not-cached', because, atMs: clock.nowMs() });
    await update();
    assert.equal(history.find(key)?.storedMs, clock.nowMs());
    clock.advance(5);
    await get();
    assert.equal(history.find(key)?.seenMs, clock.nowMs());
  });
});
