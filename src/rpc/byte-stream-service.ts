import { ReapiError } from '../errors.ts';
import {
  ByteStreamDefinition,
  QueryWriteStatusRequest,
  QueryWriteStatusResponse,
  ReadRequest,
  WriteResponse,
} from '../gen/google/bytestream/bytestream.ts';
import type { ByteRange } from '../system/byte-stream.ts';
import type { ByteResource, WritePart } from './byte-resource.ts';
import { decodeWriteRequest, encodeReadResponse } from './byte-stream-wire.ts';
import type { Call } from './call.ts';
import { decode, type Messages, type Method, methodPath } from './methods.ts';

/** Bytes in one ReadResponse: the size that was measured, and far below what every client receives (R-BS-17). */
const READ_RESPONSE_BYTES = 64 * 1024;

/** Sent by some clients for routing; if present it has to say the same as the request (R-BS-06). */
const NAME_HEADER = 'build.bazel.remote.execution.v2.resource-name';

const { methods } = ByteStreamDefinition;

/** ByteStream Read, Write and QueryWriteStatus over what names can stand for (R-BS). */
export function byteStreamMethods(resources: readonly ByteResource[]): Method[] {
  return [
    {
      kind: 'server-streaming',
      path: methodPath(ByteStreamDefinition, methods.read),
      handle: (request, call) => read(resources, decode(ReadRequest, request), call),
    },
    {
      kind: 'client-streaming',
      path: methodPath(ByteStreamDefinition, methods.write),
      handle: (requests, call) => write(resources, requests, call),
    },
    {
      kind: 'unary',
      path: methodPath(ByteStreamDefinition, methods.queryWriteStatus),
      handle: async (request, call) => {
        const { resourceName } = decode(QueryWriteStatusRequest, request);
        const status = await find(resources, resourceName, call).status(resourceName, call);
        const answer = { committedSize: BigInt(status.committedBytes), complete: status.isComplete };
        return QueryWriteStatusResponse.encode(answer).finish();
      },
    },
  ];
}

async function* read(resources: readonly ByteResource[], request: ReadRequest, call: Call): Messages {
  const { resourceName: name } = request;
  const resource = find(resources, name, call);
  for await (const chunk of resource.read(name, rangeOf(request), call)) {
    if (chunk.length === 0) yield encodeReadResponse(chunk);
    for (let at = 0; at < chunk.length; at += READ_RESPONSE_BYTES) {
      yield encodeReadResponse(chunk.subarray(at, at + READ_RESPONSE_BYTES));
    }
  }
}

function rangeOf(request: ReadRequest): ByteRange {
  const offset = Number(request.readOffset);
  const limit = Number(request.readLimit);
  if (offset < 0) throw new ReapiError('out-of-range', `read_offset is ${offset}`, { field: 'read_offset' });
  if (limit < 0) throw new ReapiError('invalid-argument', `read_limit is ${limit}`, { field: 'read_limit' });
  return limit === 0 ? { offset } : { offset, limit };
}

async function write(resources: readonly ByteResource[], requests: Messages, call: Call): Promise<Uint8Array> {
  const messages = requests[Symbol.asyncIterator]();
  const first = await messages.next();
  if (first.done === true) throw new ReapiError('invalid-argument', 'the call ended without a message');
  const nameBytes = decodeWriteRequest(first.value).name;
  const name = nameBytes.toString('utf8');
  const resource = find(resources, name, call);
  const committedBytes = await resource.write(name, parts(first.value, messages), call);
  return WriteResponse.encode({ committedSize: BigInt(committedBytes) }).finish();
}

/** @throws invalid-argument: another name (R-BS-30), an offset that leaves a gap (R-BS-31), a message after the last (R-BS-34). */
async function* parts(first: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<WritePart, void> {
  const { name } = decodeWriteRequest(first);
  let expectedOffset: number | undefined;
  let isFinished = false;
  for (let message: Uint8Array | undefined = first; message !== undefined; message = await nextOf(rest)) {
    const request = decodeWriteRequest(message);
    if (isFinished) throw new ReapiError('invalid-argument', 'a message came after finish_write');
    if (request.name.length > 0 && !request.name.equals(name)) {
      throw new ReapiError('invalid-argument', 'resource_name changed within the call', { field: 'resource_name' });
    }
    const offset = request.writeOffset;
    if (offset < 0 || (expectedOffset !== undefined && offset !== expectedOffset)) {
      const message = `write_offset is ${offset}; expected ${expectedOffset ?? 'no negative number'}`;
      throw new ReapiError('invalid-argument', message, { field: 'write_offset' });
    }
    expectedOffset = offset + request.data.length;
    isFinished = request.finishWrite;
    yield { offset, data: request.data, isLast: isFinished };
  }
}

async function nextOf(messages: AsyncIterator<Uint8Array>): Promise<Uint8Array | undefined> {
  const next = await messages.next();
  return next.done === true ? undefined : next.value;
}

function find(resources: readonly ByteResource[], name: string, call: Call): ByteResource {
  const header = call.header(NAME_HEADER);
  if (header !== undefined && header !== name) {
    throw new ReapiError('invalid-argument', `the header ${NAME_HEADER} names another resource`, {
      field: 'resource_name',
    });
  }
  const resource = resources.find((candidate) => candidate.claims(name));
  if (resource !== undefined) return resource;
  throw new ReapiError('invalid-argument', 'the resource name is neither that of a blob nor of a log stream', {
    field: 'resource_name',
  });
}
