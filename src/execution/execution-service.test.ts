import assert from 'node:assert/strict';
import { callServerStreaming } from '../../test/support/call-method.ts';
import { ExecutionWorld, never } from '../../test/support/execution-world.ts';
import { fakeCall } from '../../test/support/fake-call.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { InlineHints } from '../action-cache/inline-outputs.ts';
import { type Authorizer, OpenAuthorizer, ReadOnlyAuthorizer } from '../auth/authorizer.ts';
import type { ActionKey } from '../digest/action-key.ts';
import { digestToWire } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { InstanceNames, parseInstanceName } from '../digest/instance-name.ts';
import { MemoryEntryStore } from '../entries/memory-entry-store.ts';
import { type ErrorKind, isKind, ReapiError } from '../errors.ts';
import {
  ExecuteOperationMetadata,
  ExecuteRequest,
  ExecuteResponse,
  ExecutionDefinition,
  WaitExecutionRequest,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  CancelOperationRequest,
  DeleteOperationRequest,
  GetOperationRequest,
  ListOperationsRequest,
  ListOperationsResponse,
  Operation,
  WaitOperationRequest,
} from '../gen/google/longrunning/operations.ts';
import { NO_LOG } from '../system/log.ts';
import { SystemRandom } from '../system/random.ts';
import { executionMethods } from './execution-service.ts';
import { OperationArchive } from './operations/operation-archive.ts';
import { Operations } from './operations.ts';
import { operationsMethods } from './operations-service.ts';

class Service extends ExecutionWorld {
  readonly stopping = new AbortController();
  readonly hints: InlineHints[] = [];
  authorizer: Authorizer = new OpenAuthorizer();

  #method(path: string) {
    const parts = { operations: this.operations, executions: this.executions, authorizer: this.authorizer };
    const methods = [
      ...executionMethods({
        ...parts,
        instances: new InstanceNames(),
        stopping: this.stopping.signal,
        inline: async (result, hints) => {
          this.hints.push(hints);
          return result;
        },
      }),
      ...operationsMethods({ ...parts, clock: this.clock, stopping: this.stopping.signal }),
    ];
    const found = methods.find((method) => method.path.endsWith(`/${path}`));
    assert.ok(found, path);
    return found;
  }

  async call(path: string, request: Uint8Array, signal = never): Promise<Uint8Array> {
    const method = this.#method(path);
    assert.ok(method.kind === 'unary');
    return method.handle(request, fakeCall({ signal }));
  }

  async *stream(path: string, request: Uint8Array, signal = never): AsyncGenerator<Operation, void> {
    const method = this.#method(path);
    assert.ok(method.kind === 'server-streaming');
    for await (const message of method.handle(request, fakeCall({ signal }))) yield Operation.decode(message);
  }

  execute(key: ActionKey, fields: Partial<ExecuteRequest> = {}): AsyncGenerator<Operation, void> {
    const request = { instanceName: key.instance, actionDigest: digestToWire(key.action), ...fields };
    return this.stream('Execute', ExecuteRequest.encode(ExecuteRequest.fromPartial(request)).finish());
  }

  get(name: string): Promise<Operation> {
    return this.call('GetOperation', GetOperationRequest.encode({ name }).finish()).then((bytes) =>
      Operation.decode(bytes),
    );
  }

  async list(fields: Partial<ListOperationsRequest> = {}): Promise<ListOperationsResponse> {
    const request = ListOperationsRequest.encode(ListOperationsRequest.fromPartial(fields)).finish();
    return ListOperationsResponse.decode(await this.call('ListOperations', request));
  }
}

const next = async (stream: AsyncGenerator<Operation, void>): Promise<Operation> => {
  const { value } = await stream.next();
  assert.ok(value, 'there is an operation');
  return value;
};

function metadataOf(operation: Operation): ExecuteOperationMetadata {
  assert.match(operation.metadata?.typeUrl ?? '', /\/build\.bazel\.remote\.execution\.v2\.ExecuteOperationMetadata$/);
  return ExecuteOperationMetadata.decode(operation.metadata?.value ?? new Uint8Array());
}

function responseOf(operation: Operation): ExecuteResponse {
  assert.ok(operation.result?.$case === 'response', 'never an error (R-EX-02)');
  return ExecuteResponse.decode(operation.result.value.value);
}

const refuses = (kind: ErrorKind) => (error: unknown) => isKind(error, kind);

describe('Execution', () => {
  it('sends the operation at once, each stage as it comes, and the response last (R-EX-03, R-EX-05, R-EX-27)', async () => {
    const service = new Service();
    const key = await service.action('a');
    const stream = service.execute(key);
    const first = await next(stream);
    assert.equal(metadataOf(first).stage, 1);
    assert.deepEqual(metadataOf(first).actionDigest, digestToWire(key.action));
    assert.equal(metadataOf(first).digestFunction, 1);
    assert.equal(first.done, false);
    assert.equal(metadataOf(await next(stream)).stage, 2);
    await service.work();
    const rest: Operation[] = [];
    for await (const operation of stream) rest.push(operation);
    const last = rest.at(-1);
    assert.ok(last?.done);
    assert.equal(metadataOf(last).stage, 4);
    assert.equal(responseOf(last).status?.code ?? 0, 0);
  });

  it('refuses a malformed request before there is an operation (R-EX-01, T-32)', async () => {
    const service = new Service();
    await assert.rejects(next(service.stream('Execute', new Uint8Array())), refuses('invalid-argument'));
    const key = await service.action('a');
    await assert.rejects(next(service.execute(key, { digestFunction: 9 })), refuses('invalid-argument'));
    await assert.rejects(next(service.execute(key, { instanceName: 'a//b' })), refuses('invalid-argument'));
    assert.deepEqual((await service.list()).operations, []);
  });

  it('refuses callers who may not execute', async () => {
    const service = new Service();
    service.authorizer = new ReadOnlyAuthorizer(service.authorizer);
    await assert.rejects(next(service.execute(await service.action('a'))), refuses('denied'));
  });

  it('hands on what the caller wants inlined (R-EX-26)', async () => {
    const service = new Service();
    const stream = service.execute(await service.action('a'), { inlineStdout: true, inlineOutputFiles: ['x'] });
    await next(stream);
    await next(stream);
    await service.work();
    await next(stream);
    await service.quiet();
    assert.deepEqual(service.hints, [{ stdout: true, stderr: false, files: ['x'] }]);
  });

  it('lets a client that was cut off go on with WaitExecution, also after the end (R-EX-07, R-EX-08, R-EX-09)', async () => {
    const service = new Service();
    const stream = service.execute(await service.action('a'));
    const { name } = await next(stream);
    await service.quiet();
    await stream.return();
    const request = WaitExecutionRequest.encode({ name }).finish();
    const again = service.stream('WaitExecution', request);
    assert.equal(metadataOf(await next(again)).stage, 2);
    await service.work();
    await service.quiet();
    for await (const operation of again) if (operation.done) assert.equal(operation.name, name);
    assert.equal((await next(service.stream('WaitExecution', request))).done, true);
  });

  it('does not know other operations (R-EX-08)', async () => {
    const service = new Service();
    const wait = (name: string) =>
      next(service.stream('WaitExecution', WaitExecutionRequest.encode({ name }).finish()));
    await assert.rejects(wait('main/operations/none'), refuses('operation-not-found'));
    await assert.rejects(wait(''), refuses('invalid-argument'));
  });

  it('ends streams with UNAVAILABLE when the server stops, and takes no new work (R-XC-11)', async () => {
    const service = new Service();
    const stream = service.execute(await service.action('a'));
    await next(stream);
    await next(stream);
    const pending = stream.next();
    service.stopping.abort(new ReapiError('unavailable', 'the server is stopping'));
    await assert.rejects(pending, refuses('unavailable'));
    await assert.rejects(next(service.execute(await service.action('b'))), refuses('unavailable'));
  });
});

describe('WaitExecution after a restart', () => {
  it('answers for what the former server finished, to those who may execute, within its retention (R-EX-08, R-EX-09)', async () => {
    const clock = new FakeClock();
    const entries = new MemoryEntryStore({ clock, maxBytes: 100_000, maxEntryBytes: 10_000 });
    const open = () => {
      const archive = new OperationArchive(entries, clock, NO_LOG, { retentionMs: 60_000 });
      const limits = { maxLive: 9, maxFinished: 9, finishedRetentionMs: 60_000, heartbeatMs: 30_000 };
      return { archive, operations: new Operations(clock, new SystemRandom(), limits, archive) };
    };
    const former = open();
    const key = { instance: parseInstanceName('main'), action: digestOf('sha256', Buffer.from('action')) };
    const { name } = former.operations.create(key);
    former.operations.finish(name, ExecuteResponse.encode(ExecuteResponse.fromPartial({ message: 'kept' })).finish());
    await former.archive.settle(1_000);

    const { operations } = open();
    const wait = (authorizer: Authorizer) =>
      callServerStreaming(
        executionMethods({
          ...{ operations, authorizer, instances: new InstanceNames(), stopping: never },
          executions: { start: () => assert.fail('nothing is to be executed') },
          inline: () => assert.fail('nothing is to be inlined'),
        }),
        ExecutionDefinition.methods.waitExecution,
        { name },
      );
    const [only, ...rest] = await wait(new OpenAuthorizer());
    assert.deepEqual([only && responseOf(only).message, rest.length], ['kept', 0]);
    await assert.rejects(wait(new ReadOnlyAuthorizer(new OpenAuthorizer())), refuses('denied'));
    clock.advance(60_000);
    await assert.rejects(wait(new OpenAuthorizer()), refuses('operation-not-found'));
  });
});

describe('Operations service', () => {
  async function running() {
    const service = new Service();
    const stream = service.execute(await service.action('a'));
    const { name } = await next(stream);
    await next(stream);
    return { service, stream, name };
  }

  it('tells the state of an operation, and its response when it is done (R-OP-01)', async () => {
    const { service, name } = await running();
    assert.equal(metadataOf(await service.get(name)).stage, 2);
    await service.work();
    await service.quiet();
    const done = await service.get(name);
    assert.deepEqual([done.done, responseOf(done).result?.exitCode], [true, 0]);
    await assert.rejects(service.get('x'), refuses('operation-not-found'));
    await assert.rejects(service.get(''), refuses('invalid-argument'));
  });

  it('cancels with CANCELLED in the response; a done operation is left as it is (R-OP-02)', async () => {
    const { service, name } = await running();
    const request = CancelOperationRequest.encode({ name }).finish();
    await service.call('CancelOperation', request);
    await service.quiet();
    assert.equal(responseOf(await service.get(name)).status?.code, 1);
    await service.call('CancelOperation', request);
    const unknown = CancelOperationRequest.encode({ name: 'x' }).finish();
    await assert.rejects(service.call('CancelOperation', unknown), refuses('operation-not-found'));
  });

  it('forgets a deleted operation (R-OP-04)', async () => {
    const { service, name } = await running();
    await service.call('DeleteOperation', DeleteOperationRequest.encode({ name }).finish());
    await assert.rejects(service.get(name), refuses('operation-not-found'));
  });

  it('waits until an operation is done, or as long as it is told to (R-OP-05)', async () => {
    const { service, name } = await running();
    const wait = (seconds: bigint) =>
      service.call('WaitOperation', WaitOperationRequest.encode({ name, timeout: { seconds, nanos: 0 } }).finish());
    const early = wait(5n);
    await service.quiet();
    service.clock.advance(5_000);
    assert.equal(Operation.decode(await early).done, false);
    const late = wait(3_600n);
    await service.quiet();
    await service.work();
    assert.equal(Operation.decode(await late).done, true);
  });

  it('tells whoever waits UNAVAILABLE when the server stops (R-XC-11)', async () => {
    const { service, name } = await running();
    const wait = () =>
      service.call('WaitOperation', WaitOperationRequest.encode({ name, timeout: undefined }).finish());
    const before = wait();
    await service.quiet();
    service.stopping.abort(new ReapiError('unavailable', 'the server is stopping'));
    await assert.rejects(before, refuses('unavailable'));
    await assert.rejects(wait(), refuses('unavailable'));
  });

  it('asks for the right to execute on each of them (R-OP-06)', async () => {
    const { service, name } = await running();
    service.authorizer = new ReadOnlyAuthorizer(new OpenAuthorizer());
    await assert.rejects(service.get(name), refuses('denied'));
    await assert.rejects(
      service.call('CancelOperation', CancelOperationRequest.encode({ name }).finish()),
      refuses('denied'),
    );
    assert.deepEqual((await service.list()).operations, []);
  });
});
