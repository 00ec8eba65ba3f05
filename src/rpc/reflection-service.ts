import type { DescriptorPool } from '../descriptors/descriptor-pool.ts';
import type { FileSchema } from '../descriptors/schema.ts';
import { ReapiError } from '../errors.ts';
import { Code } from '../gen/google/rpc/code.ts';
import {
  ServerReflectionDefinition,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from '../gen/grpc/reflection/v1/reflection.ts';
import { ServerReflectionDefinition as AlphaDefinition } from '../gen/grpc/reflection/v1alpha/reflection.ts';
import { bidiStreaming, type Method } from './methods.ts';

type Question = NonNullable<ServerReflectionRequest['messageRequest']>;
type Answer = NonNullable<ServerReflectionResponse['messageResponse']>;

/**
 * Server reflection, v1 and v1alpha, whose messages are equal (R-XC-16).
 *
 * @param served every other method of the endpoint: reflection lists what is served, not what the schemas know.
 */
export function reflectionMethods(pool: DescriptorPool, served: readonly Method[]): readonly Method[] {
  const versions = [ServerReflectionDefinition, AlphaDefinition] as const;
  const services = new Set([...served.map(serviceOf), ...versions.map((version) => version.fullName)]);
  const names = [...services].sort();

  async function* answerAll(requests: AsyncIterable<ServerReflectionRequest>): AsyncIterable<ServerReflectionResponse> {
    for await (const request of requests) {
      const messageResponse = answer(pool, names, request.messageRequest);
      yield { validHost: request.host, originalRequest: request, messageResponse };
    }
  }

  return versions.map((version) => bidiStreaming(version, version.methods.serverReflectionInfo, answerAll));
}

function answer(pool: DescriptorPool, services: readonly string[], question: Question | undefined): Answer {
  switch (question?.$case) {
    case 'listServices':
      return { $case: 'listServicesResponse', value: { service: services.map((name) => ({ name })) } };
    case 'fileByFilename':
      return files(pool, pool.file(question.value), `the file ${question.value}`);
    case 'fileContainingSymbol':
      return files(pool, pool.fileOf(question.value), `the symbol ${question.value}`);
    case 'fileContainingExtension': {
      // The schemas declare no extensions.
      const { containingType, extensionNumber } = question.value;
      return notFound(`the extension ${extensionNumber} of ${containingType}`);
    }
    case 'allExtensionNumbersOfType': {
      const baseTypeName = question.value;
      if (pool.message(baseTypeName) === undefined) return notFound(`the message ${baseTypeName}`);
      return { $case: 'allExtensionNumbersResponse', value: { baseTypeName, extensionNumber: [] } };
    }
    default:
      throw new ReapiError('invalid-argument', 'the request asks nothing', { field: 'message_request' });
  }
}

/** The file asked for comes first: grpcurl takes the first for the answer, the others for its imports. */
function files(pool: DescriptorPool, file: FileSchema | undefined, what: string): Answer {
  if (file === undefined) return notFound(what);
  const fileDescriptorProto = pool.withDependencies(file).map((one) => one.bytes);
  return { $case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
}

function notFound(what: string): Answer {
  return { $case: 'errorResponse', value: { errorCode: Code.NOT_FOUND, errorMessage: `${what} is not known` } };
}

/** `package.Service` of `/package.Service/Method`. */
function serviceOf(method: Method): string {
  return method.path.slice(1, method.path.lastIndexOf('/'));
}
