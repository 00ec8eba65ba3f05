import assert from 'node:assert/strict';
import { callUnary } from '../../test/support/call-method.ts';
import { turns } from '../../test/support/deferred.ts';
import { ofKind } from '../../test/support/expectations.ts';
import { fakeCall } from '../../test/support/fake-call.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { type Authorizer, OpenAuthorizer } from '../auth/authorizer.ts';
import { digestToWire } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { MemoryEntryStore } from '../entries/memory-entry-store.ts';
import { ReapiError } from '../errors.ts';
import {
  ExecuteOperationMetadata,
  ExecuteResponse,
  RequestMetadata,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { OperationAttempts } from '../gen/gantry/v1/operation_record.ts';
import { type Operation, OperationsDefinition } from '../gen/google/longrunning/operations.ts';
import { NO_LOG } from '../system/log.ts';
import { SystemRandom } from '../system/random.ts';
import { OperationArchive } from './operations/operation-archive.ts';
import { Operations } from './operations.ts';
import { operationMessage, operationsMethods } from './operations-service.ts';

const { methods } = OperationsDefinition;
const action = digestOf('sha256', Buffer.from('action'));
const main = parseInstanceName('main');
const response = ExecuteResponse.encode(ExecuteResponse.fromPartial({ message: 'done' })).finish();
const requestMetadata = RequestMetadata.fromPartial({ toolInvocationId: 'inv', actionMnemonic: 'CppCompile' });
const notFound = ofKind('operation-not-found');

function metadataOf(operation: Operation): ExecuteOperationMetadata {
  assert.match(operation.metadata?.typeUrl ?? '', /\/build\.bazel\.remote\.execution\.v2\.ExecuteOperationMetadata$/);
  return ExecuteOperationMetadata.decode(operation.metadata?.value ?? new Uint8Array());
}

function responseOf(operation: Operation): ExecuteResponse {
  assert.ok(operation.done);
  assert.ok(operation.result?.$case === 'response', 'never an error (R-EX-02)');
  return ExecuteResponse.decode(operation.result.value.value);
}

/** A server whose executions are played by the test. `restart` keeps only what was stored. */
class Service {
  readonly clock = new FakeClock();
  readonly #entries = new MemoryEntryStore({ clock: this.clock, maxBytes: 1_000_000, maxEntryBytes: 10_000 });
  readonly stopping = new AbortController();
  readonly cancelled: string[] = [];
  authorizer: Authorizer = new OpenAuthorizer();
  archive = this.#openArchive();
  operations = this.#openOperations();

  async restart(): Promise<void> {
    await this.archive.settle(1_000);
    this.archive = this.#openArchive();
    this.operations = this.#openOperations();
  }

  create(instance = main): string {
    const { name } = this.operations.create({ instance, action }, { requestMetadata });
    this.operations.advance(name, 'queued', '');
    return name;
  }

  finished(instance = main): string {
    const name = this.create(instance);
    this.operations.finish(name, response);
    return name;
  }

  call<Res>(method: Parameters<typeof callUnary<object, Res>>[1], request: object, call = fakeCall()): Promise<Res> {
    const parts = { operations: this.operations, authorizer: this.authorizer, clock: this.clock };
    const executions = { cancel: (name: string) => void this.cancelled.push(name) };
    const served = operationsMethods({ ...parts, executions, stopping: this.stopping.signal });
    return callUnary(served, method, request, call);
  }

  get = (name: string) => this.call(methods.getOperation, { name });
  cancel = (name: string) => this.call(methods.cancelOperation, { name });
  delete = (name: string) => this.call(methods.deleteOperation, { name });
  list = (request: object = {}) => this.call(methods.listOperations, request);
  wait = (name: string, seconds?: bigint) =>
    this.call(methods.waitOperation, seconds === undefined ? { name } : { name, timeout: { seconds, nanos: 0 } });

  #openArchive(): OperationArchive {
    return new OperationArchive(this.#entries, this.clock, NO_LOG, { retentionMs: 60_000 });
  }

  #openOperations(): Operations {
    const limits = { maxLive: 100, maxFinished: 100, finishedRetentionMs: 60_000, heartbeatMs: 30_000 };
    return new Operations(this.clock, new SystemRandom(), limits, this.archive);
  }
}

describe('operationMessage', () => {
  it('says which action it is, and how far it is (R-EX-03, R-EX-27)', () => {
    const { operations } = new Service();
    const { name } = operations.create({ instance: main, action });
    const message = operationMessage(operations.get(name));
    const metadata = metadataOf(message);
    assert.deepEqual([message.name, message.done, message.result], [name, false, undefined]);
    assert.deepEqual([metadata.actionDigest, metadata.digestFunction], [digestToWire(action), 1]);
    const stages = [metadata.stage];
    const look = () => stages.push(metadataOf(operationMessage(operations.get(name))).stage);
    operations.advance(name, 'queued', '');
    look();
    operations.advance(name, 'executing', '');
    look();
    operations.finish(name, response);
    look();
    assert.deepEqual(stages, [1, 2, 3, 4]);
    assert.equal(responseOf(operationMessage(operations.get(name))).message, 'done');
  });

  it('tells of the worker while the action runs and afterwards, not while it is queued again (R-EX-29, R-EX-50)', () => {
    const { operations, clock } = new Service();
    const { name, createdAtMs } = operations.create({ instance: main, action });
    const seen: unknown[] = [];
    const look = () => {
      const partial = metadataOf(operationMessage(operations.get(name))).partialExecutionMetadata;
      seen.push([partial?.worker, partial?.workerStartTimestamp?.nanos]);
      assert.equal(Number(partial?.queuedTimestamp?.seconds) * 1000, createdAtMs);
    };
    look();
    clock.advance(1);
    operations.advance(name, 'executing', '', 'slot-1');
    look();
    operations.advance(name, 'queued', 'its worker was lost');
    look();
    clock.advance(1);
    operations.advance(name, 'executing', '', 'slot-2');
    operations.finish(name, response);
    look();
    assert.deepEqual(seen, [
      ['', undefined],
      ['slot-1', 1_000_000],
      ['', undefined],
      ['slot-2', 2_000_000],
    ]);
  });

  it('adds attempts and request metadata for whoever asks by name, not to streams (R-EX-53)', () => {
    const { operations } = new Service();
    const { name } = operations.create({ instance: main, action }, { requestMetadata });
    const end = { atMs: 2_000, how: 'worker-lost', cause: 'silent' };
    operations.finish(name, response, [{ attempt: 1, slot: 's', node: 'n', startedAtMs: 1_000, end }]);
    const state = operations.get(name);
    const auxiliary = (detail: 'stream' | 'full') =>
      metadataOf(operationMessage(state, detail)).partialExecutionMetadata?.auxiliaryMetadata ?? [];
    assert.deepEqual(auxiliary('stream'), []);
    const [metadata, attempts] = auxiliary('full');
    assert.match(metadata?.typeUrl ?? '', /\/build\.bazel\.remote\.execution\.v2\.RequestMetadata$/);
    assert.deepEqual(RequestMetadata.decode(metadata?.value ?? new Uint8Array()), requestMetadata);
    assert.match(attempts?.typeUrl ?? '', /\/gantry\.v1\.OperationAttempts$/);
    assert.deepEqual(OperationAttempts.decode(attempts?.value ?? new Uint8Array()).attempts, [
      {
        ...{ attempt: 1, slot: 's', node: 'n', end: 'worker-lost', cause: 'silent' },
        startTime: { seconds: 1n, nanos: 0 },
        endTime: { seconds: 2n, nanos: 0 },
      },
    ]);
  });
});

describe('google.longrunning.Operations', () => {
  it('tells the state of an operation, and its response when it is done (R-OP-01)', async () => {
    const service = new Service();
    const name = service.create();
    assert.equal(metadataOf(await service.get(name)).stage, 2);
    service.operations.finish(name, response);
    assert.equal(responseOf(await service.get(name)).message, 'done');
    await assert.rejects(service.get('x'), notFound);
    await assert.rejects(service.get(''), ofKind('invalid-argument'));
  });

  it('answers for what finished before a restart, until its retention is over (R-EX-09, R-OP-01, R-OP-05)', async () => {
    const service = new Service();
    const name = service.finished();
    await service.restart();
    assert.equal(responseOf(await service.get(name)).message, 'done');
    assert.equal(responseOf(await service.wait(name, 5n)).message, 'done');
    await service.cancel(name);
    assert.deepEqual(service.cancelled, []);
    assert.deepEqual((await service.list()).operations, [], 'but lists only what is in memory');
    service.clock.advance(60_000);
    await assert.rejects(service.get(name), notFound);
  });

  it('cancels what runs, and leaves alone what is done (R-OP-02)', async () => {
    const service = new Service();
    const name = service.create();
    await service.cancel(name);
    assert.deepEqual(service.cancelled, [name]);
    await service.cancel(service.finished());
    assert.deepEqual(service.cancelled, [name]);
    await assert.rejects(service.cancel('x'), notFound);
  });

  it('forgets a deleted operation without cancelling it, also after a restart (R-OP-04)', async () => {
    const service = new Service();
    const names = [service.create(), service.finished()];
    for (const name of names) await service.delete(name);
    assert.deepEqual(service.cancelled, []);
    for (const restart of [false, true]) {
      if (restart) await service.restart();
      for (const name of names) {
        for (const ask of [service.get, service.wait, service.delete]) await assert.rejects(ask(name), notFound);
      }
    }
  });

  it('waits until an operation is done, or as long as it is told to (R-OP-05)', async () => {
    const service = new Service();
    const name = service.create();
    const early = service.wait(name, 5n);
    await turns(3);
    service.clock.advance(5_000);
    assert.equal((await early).done, false);
    for (const seconds of [0n, -5n]) assert.equal((await service.wait(name, seconds)).done, false);
    const late = service.wait(name);
    await turns(3);
    service.operations.finish(name, response);
    assert.equal((await late).done, true);
    assert.equal(service.clock.armed, 0);
  });

  it('answers whoever waits before the deadline of the call (R-OP-05)', async () => {
    const service = new Service();
    const request = { name: service.create(), timeout: { seconds: 3_600n, nanos: 0 } };
    const call = fakeCall({ deadlineMs: service.clock.nowMs() + 10_000 });
    const answer = service.call(methods.waitOperation, request, call);
    await turns(3);
    service.clock.advance(9_000);
    assert.equal((await answer).done, false);
    assert.equal(service.clock.armed, 0);
  });

  it('tells whoever waits UNAVAILABLE when the server stops (R-XC-11)', async () => {
    const service = new Service();
    const name = service.create();
    const before = service.wait(name);
    await turns(3);
    service.stopping.abort(new ReapiError('unavailable', 'the server is stopping'));
    await assert.rejects(before, ofKind('unavailable'));
    await assert.rejects(service.wait(name, 5n), ofKind('unavailable'));
  });

  it('lists with filter and pages, the newest first (R-OP-03)', async () => {
    const service = new Service();
    const done = [service.finished(), service.finished(), service.finished()].toReversed();
    service.create();
    const request = { name: 'main', filter: 'done=true AND mnemonic=CppCompile', pageSize: 2 };
    const first = await service.list(request);
    const second = await service.list({ ...request, pageToken: first.nextPageToken });
    assert.deepEqual(
      [...first.operations, ...second.operations].map(({ name }) => name),
      done,
    );
    assert.equal(second.nextPageToken, '');
    for (const operation of first.operations) assert.equal(metadataOf(operation).stage, 4);
  });

  it('refuses what it cannot do in a list, rather than answer something else (R-OP-03)', async () => {
    const service = new Service();
    await assert.rejects(service.list({ returnPartialSuccess: true }), ofKind('unimplemented'));
    for (const request of [{ filter: 'done' }, { pageSize: -1 }, { pageToken: 'gone' }, { name: 'a//b' }]) {
      await assert.rejects(service.list(request), ofKind('invalid-argument'));
    }
  });

  it('asks for the right to execute under the instance name, for each of them (R-OP-06)', async () => {
    const service = new Service();
    const live = service.create();
    const stored = service.finished();
    const other = service.finished(parseInstanceName('other'));
    await service.restart();
    const again = service.create();
    const others = service.create(parseInstanceName('other'));
    service.authorizer = { allows: async (_, what, where) => what === 'execute' && where === 'other' };
    await assert.rejects(service.get(live), notFound);
    for (const name of [stored, again]) {
      for (const ask of [service.get, service.wait, service.cancel, service.delete]) {
        await assert.rejects(ask(name), ofKind('denied'));
      }
    }
    assert.equal((await service.get(other)).name, other);
    assert.deepEqual(
      (await service.list()).operations.map(({ name }) => name),
      [others],
    );
    await assert.rejects(service.list({ name: 'main' }), ofKind('denied'));
  });
});
