import assert from 'node:assert/strict';
import descriptors from 'google-protobuf/google/protobuf/descriptor_pb.js';
import { fakeCall } from '../../test/support/fake-call.ts';
import { DescriptorPool } from '../descriptors/descriptor-pool.ts';
import { isKind } from '../errors.ts';
import { Code } from '../gen/google/rpc/code.ts';
import { ServerReflectionRequest, ServerReflectionResponse } from '../gen/grpc/reflection/v1/reflection.ts';
import { HealthState } from '../system/health-state.ts';
import { healthMethods } from './health-service.ts';
import { reflectionMethods } from './reflection-service.ts';

type Question = NonNullable<ServerReflectionRequest['messageRequest']>;

describe('reflectionMethods', () => {
  const methods = reflectionMethods(DescriptorPool.builtIn(), healthMethods(new HealthState()));

  async function ask(messageRequest: Question | undefined, version = 'v1'): Promise<ServerReflectionResponse> {
    const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
    const method = methods.find((one) => one.path === path);
    assert.ok(method?.kind === 'bidi-streaming');
    async function* requests(): AsyncIterable<Uint8Array> {
      yield ServerReflectionRequest.encode({ host: 'here', messageRequest }).finish();
    }
    const answers: ServerReflectionResponse[] = [];
    for await (const bytes of method.handle(requests(), fakeCall())) {
      answers.push(ServerReflectionResponse.decode(bytes));
    }
    assert.equal(answers.length, 1);
    assert.ok(answers[0]);
    return answers[0];
  }

  async function fileNames(question: Question): Promise<readonly (string | undefined)[]> {
    const { messageResponse } = await ask(question);
    assert.ok(messageResponse?.$case === 'fileDescriptorResponse', JSON.stringify(messageResponse));
    return messageResponse.value.fileDescriptorProto.map((bytes) =>
      descriptors.FileDescriptorProto.deserializeBinary(bytes).getName(),
    );
  }

  async function errorCode(question: Question): Promise<number | undefined> {
    const { messageResponse } = await ask(question);
    return messageResponse?.$case === 'errorResponse' ? messageResponse.value.errorCode : undefined;
  }

  for (const version of ['v1', 'v1alpha']) {
    it(`lists what is served, itself included, over ${version}`, async () => {
      const { messageResponse } = await ask({ $case: 'listServices', value: '' }, version);
      assert.ok(messageResponse?.$case === 'listServicesResponse');
      assert.deepEqual(
        messageResponse.value.service.map((service) => service.name),
        ['grpc.health.v1.Health', 'grpc.reflection.v1.ServerReflection', 'grpc.reflection.v1alpha.ServerReflection'],
      );
    });
  }

  it('echoes the host and the question', async () => {
    const question: Question = { $case: 'fileByFilename', value: 'google/rpc/code.proto' };
    const answer = await ask(question);
    assert.equal(answer.validHost, 'here');
    assert.deepEqual(answer.originalRequest, { host: 'here', messageRequest: question });
  });

  it('answers with a file and then all it imports', async () => {
    assert.deepEqual(await fileNames({ $case: 'fileByFilename', value: 'google/rpc/status.proto' }), [
      'google/rpc/status.proto',
      'google/protobuf/any.proto',
    ]);
  });

  const symbols: readonly (readonly [string, string])[] = [
    ['grpc.health.v1.Health', 'grpc/health/v1/health.proto'],
    ['grpc.health.v1.Health.Watch', 'grpc/health/v1/health.proto'],
    ['google.rpc.Code', 'google/rpc/code.proto'],
    ['google.bytestream.ReadRequest.read_limit', 'google/bytestream/bytestream.proto'],
  ];
  for (const [symbol, file] of symbols) {
    it(`finds the file of ${symbol}`, async () => {
      assert.equal((await fileNames({ $case: 'fileContainingSymbol', value: symbol }))[0], file);
    });
  }

  const unknown: readonly Question[] = [
    { $case: 'fileByFilename', value: 'nowhere.proto' },
    { $case: 'fileContainingSymbol', value: 'no.Such' },
    { $case: 'fileContainingExtension', value: { containingType: 'google.rpc.Status', extensionNumber: 7 } },
    { $case: 'allExtensionNumbersOfType', value: 'no.Such' },
  ];
  for (const question of unknown) {
    it(`answers NOT_FOUND inside the stream to an unknown ${question.$case}`, async () => {
      assert.equal(await errorCode(question), Code.NOT_FOUND);
    });
  }

  it('knows that a message has no extensions', async () => {
    const { messageResponse } = await ask({ $case: 'allExtensionNumbersOfType', value: 'google.rpc.Status' });
    assert.deepEqual(messageResponse, {
      $case: 'allExtensionNumbersResponse',
      value: { baseTypeName: 'google.rpc.Status', extensionNumber: [] },
    });
  });

  it('refuses a request that asks nothing', async () => {
    await assert.rejects(ask(undefined), (error) => isKind(error, 'invalid-argument'));
  });
});
