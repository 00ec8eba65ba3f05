import assert from 'node:assert/strict';
import { ofKind } from '../../test/support/expectations.ts';
import { fakeCall } from '../../test/support/fake-call.ts';
import {
  HealthCheckRequest,
  HealthCheckResponse,
  HealthCheckResponse_ServingStatus,
  HealthDefinition,
} from '../gen/grpc/health/v1/health.ts';
import { bidiStreaming, decode, type Messages, methodPath, serverStreaming, unary } from './methods.ts';

const { check, watch } = HealthDefinition.methods;
const SERVING = { status: HealthCheckResponse_ServingStatus.SERVING };
const request = (service: string): Uint8Array => HealthCheckRequest.encode({ service }).finish();
const NOT_PROTOBUF = new Uint8Array([0xff, 0xff, 0xff]);

async function responsesOf(messages: Messages): Promise<HealthCheckResponse[]> {
  const responses: HealthCheckResponse[] = [];
  for await (const message of messages) responses.push(HealthCheckResponse.decode(message));
  return responses;
}

describe('methodPath', () => {
  it('joins package, service and method as HTTP/2 carries it', () => {
    assert.equal(methodPath(HealthDefinition, check), '/grpc.health.v1.Health/Check');
  });
});

describe('unary', () => {
  it('decodes the request, hands over the call, encodes the response', async () => {
    const call = fakeCall();
    const method = unary(HealthDefinition, check, async (decoded, given) => {
      assert.equal(decoded.service, 'cas');
      assert.equal(given, call);
      return SERVING;
    });
    assert.equal(method.path, '/grpc.health.v1.Health/Check');
    assert.ok(method.kind === 'unary');
    assert.deepEqual(HealthCheckResponse.decode(await method.handle(request('cas'), call)), SERVING);
  });

  it('rejects an undecodable request as undecodable without calling the handler (R-XC-13)', async () => {
    const method = unary(HealthDefinition, check, () => assert.fail('not called'));
    assert.ok(method.kind === 'unary');
    await assert.rejects(method.handle(NOT_PROTOBUF, fakeCall()), ofKind('undecodable'));
  });
});

describe('serverStreaming', () => {
  it('encodes each response as it comes, and ends the source when the reader leaves', async () => {
    let isEnded = false;
    const method = serverStreaming(HealthDefinition, watch, async function* () {
      try {
        for (;;) yield SERVING;
      } finally {
        isEnded = true;
      }
    });
    assert.ok(method.kind === 'server-streaming');
    for await (const message of method.handle(request(''), fakeCall())) {
      assert.deepEqual(HealthCheckResponse.decode(message), SERVING);
      break;
    }
    assert.equal(isEnded, true);
  });
});

describe('bidiStreaming', () => {
  async function* echo(requests: AsyncIterable<HealthCheckRequest>): AsyncIterable<HealthCheckResponse> {
    for await (const { service } of requests) yield { status: service.length > 0 ? 1 : 0 };
  }

  it('decodes and encodes on the way', async () => {
    const method = bidiStreaming(HealthDefinition, watch, echo);
    assert.ok(method.kind === 'bidi-streaming');
    const requests = (async function* () {
      yield request('x');
      yield request('');
    })();
    assert.deepEqual(await responsesOf(method.handle(requests, fakeCall())), [{ status: 1 }, { status: 0 }]);
  });

  it('fails at an undecodable request in the middle, and ends the source', async () => {
    const method = bidiStreaming(HealthDefinition, watch, echo);
    assert.ok(method.kind === 'bidi-streaming');
    let isEnded = false;
    const requests = (async function* () {
      try {
        yield request('x');
        yield NOT_PROTOBUF;
        yield request('never pulled');
      } finally {
        isEnded = true;
      }
    })();
    await assert.rejects(responsesOf(method.handle(requests, fakeCall())), ofKind('undecodable'));
    assert.equal(isEnded, true);
  });
});

describe('decode', () => {
  it('keeps what the decoder said as the cause, not in the message', () => {
    const codec = {
      encode: () => assert.fail('not used'),
      decode: (): never => {
        throw new RangeError('index out of range: secret');
      },
    };
    assert.throws(
      () => decode(codec, new Uint8Array()),
      (error) =>
        ofKind('undecodable')(error) &&
        error instanceof Error &&
        !error.message.includes('secret') &&
        error.cause instanceof RangeError,
    );
  });
});
