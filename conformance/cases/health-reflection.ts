import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import { HealthCheckResponse_ServingStatus, HealthDefinition } from '../../src/gen/grpc/health/v1/health.ts';
import {
  ServerReflectionDefinition,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from '../../src/gen/grpc/reflection/v1/reflection.ts';
import { ServerReflectionDefinition as AlphaDefinition } from '../../src/gen/grpc/reflection/v1alpha/reflection.ts';
import { type CaseContext, type ConformanceCase, conformanceCase, type Level } from '../case.ts';
import { expectEnd, expectFailure, onlyMessage } from '../expect.ts';
import type { Feature } from '../profile.ts';

const { SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;

type Head = readonly [id: string, level: Level, requirements: string, rule: string];

function caseNeeding(feature: Feature, head: Head, test: (context: CaseContext) => Promise<void>): ConformanceCase {
  const [id, level, requirements, rule] = head;
  return conformanceCase({ id, level, requirements, rule, needs: [feature] }, test);
}

const healthCases = [
  caseNeeding(
    'health',
    ['health.check.server', 'MUST', 'R-XC-14', 'The server as a whole is SERVING.'],
    async ({ endpoint }) => {
      const answer = await endpoint.unary(HealthDefinition, HealthDefinition.methods.check, { service: '' });
      assert.equal(answer.status, SERVING);
    },
  ),
  caseNeeding(
    'health',
    ['health.check.service', 'SHOULD', 'R-XC-14', 'A service that is served is SERVING under its full name.'],
    async ({ endpoint }) => {
      const service = 'build.bazel.remote.execution.v2.Capabilities';
      const answer = await endpoint.unary(HealthDefinition, HealthDefinition.methods.check, { service });
      assert.equal(answer.status, SERVING);
    },
  ),
  caseNeeding(
    'health',
    ['health.check.unknown', 'MUST', 'R-XC-14', 'A service that does not exist is NOT_FOUND.'],
    async ({ endpoint }) => {
      const call = endpoint.unary(HealthDefinition, HealthDefinition.methods.check, { service: 'no.such.Service' });
      await expectFailure(call, status.NOT_FOUND);
    },
  ),
  caseNeeding(
    'health',
    ['health.watch.first', 'MUST', 'R-XC-14', 'Watching answers the state of now at once.'],
    async ({ endpoint }) => {
      const { watch } = HealthDefinition.methods;
      const streamed = await endpoint.stream(HealthDefinition, watch, { service: '' }, { takeMessages: 1 });
      assert.deepEqual(streamed.messages, [{ status: SERVING }]);
    },
  ),
  caseNeeding(
    'health',
    [
      'health.watch.unknown',
      'MUST',
      'R-XC-14',
      'Watching a service that does not exist answers SERVICE_UNKNOWN and stays open.',
    ],
    async ({ endpoint }) => {
      const { watch } = HealthDefinition.methods;
      const request = { service: 'no.such.Service' };
      const streamed = await endpoint.stream(HealthDefinition, watch, request, { takeMessages: 1 });
      assert.deepEqual(streamed.messages, [{ status: SERVICE_UNKNOWN }]);
      expectEnd(streamed, status.CANCELLED);
    },
  ),
];

type Question = NonNullable<ServerReflectionRequest['messageRequest']>;

async function ask(context: CaseContext, question: Question): Promise<ServerReflectionResponse['messageResponse']> {
  const { serverReflectionInfo } = ServerReflectionDefinition.methods;
  const request = { host: '', messageRequest: question };
  return onlyMessage(await context.endpoint.stream(ServerReflectionDefinition, serverReflectionInfo, request))
    .messageResponse;
}

const CAS_SERVICE = 'build.bazel.remote.execution.v2.ContentAddressableStorage';

const reflectionCases = [
  caseNeeding(
    'reflection',
    ['reflection.list', 'MUST', 'R-XC-16', 'The list of services names those that are served.'],
    async (context) => {
      const answer = await ask(context, { $case: 'listServices', value: '*' });
      assert.equal(answer?.$case, 'listServicesResponse');
      const names = answer.value.service.map(({ name }) => name);
      assert.ok(names.includes(CAS_SERVICE) && names.includes('google.bytestream.ByteStream'), names.join(', '));
    },
  ),
  caseNeeding(
    'reflection',
    ['reflection.symbol', 'MUST', 'R-XC-16', 'The file of a service comes with everything it imports.'],
    async (context) => {
      const answer = await ask(context, { $case: 'fileContainingSymbol', value: CAS_SERVICE });
      assert.equal(answer?.$case, 'fileDescriptorResponse');
      const files = answer.value.fileDescriptorProto.map((bytes) => Buffer.from(bytes).toString('latin1'));
      for (const name of ['remote_execution.proto', 'google/rpc/status.proto', 'google/protobuf/any.proto']) {
        assert.ok(
          files.some((file) => file.slice(0, 200).includes(name)),
          `${name} is not among the files`,
        );
      }
    },
  ),
  caseNeeding(
    'reflection',
    [
      'reflection.unknown',
      'MUST',
      'R-XC-16',
      'A symbol that does not exist is NOT_FOUND in the answer, and the stream goes on.',
    ],
    async (context) => {
      const { serverReflectionInfo } = ServerReflectionDefinition.methods;
      const call = context.endpoint.open(ServerReflectionDefinition, serverReflectionInfo);
      call.send({ host: '', messageRequest: { $case: 'fileContainingSymbol', value: 'no.such.Symbol' } });
      call.send({ host: '', messageRequest: { $case: 'listServices', value: '*' } });
      const streamed = await call.finish();
      expectEnd(streamed, status.OK);
      const [first, second] = streamed.messages.map(({ messageResponse }) => messageResponse);
      assert.equal(first?.$case, 'errorResponse');
      assert.equal(first.value.errorCode, status.NOT_FOUND);
      assert.equal(second?.$case, 'listServicesResponse');
    },
  ),
  caseNeeding(
    'reflection',
    [
      'reflection.v1alpha',
      'SHOULD',
      'R-XC-16',
      'The older version of the service answers too, which most tools still speak.',
    ],
    async ({ endpoint }) => {
      const { serverReflectionInfo } = AlphaDefinition.methods;
      const request: ServerReflectionRequest = { host: '', messageRequest: { $case: 'listServices', value: '*' } };
      const answer = onlyMessage(await endpoint.stream(AlphaDefinition, serverReflectionInfo, request));
      assert.equal(answer.messageResponse?.$case, 'listServicesResponse');
    },
  ),
];

/** grpc.health.v1 and grpc.reflection. */
export const healthReflectionCases = [...healthCases, ...reflectionCases];
