import assert from 'node:assert/strict';
import { Metadata } from '@grpc/grpc-js';
import { RequestMetadata } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { headerText, requestMetadataOf } from './request-headers.ts';

const V2 = 'build.bazel.remote.execution.v2.requestmetadata-bin';
const PANTS = 'google.devtools.remoteexecution.v1test.requestmetadata-bin';
const BYTES = Buffer.from(
  RequestMetadata.encode(
    RequestMetadata.fromPartial({
      toolDetails: { toolName: 'bazel', toolVersion: '9.0.0' },
      actionId: 'abc',
      toolInvocationId: 'invocation-1',
    }),
  ).finish(),
);

/** Headers as they arrive: text, base64 in names that end in `-bin`. */
function headersOf(fields: Readonly<Record<string, string>>): Metadata {
  return Metadata.fromHttp2Headers(fields);
}

describe('requestMetadataOf', () => {
  it('reads what the build tool says of itself (R-XC-01)', () => {
    const metadata = requestMetadataOf(headersOf({ [V2]: BYTES.toString('base64') }));
    assert.equal(metadata?.toolDetails?.toolName, 'bazel');
    assert.equal(metadata?.toolInvocationId, 'invocation-1');
    assert.equal(metadata?.actionMnemonic, '');
  });

  it('takes base64 with and without padding, also of the URL alphabet (R-XC-01)', () => {
    assert.notEqual(BYTES.length % 3, 0, 'the example has padding');
    for (const text of [BYTES.toString('base64').replaceAll('=', ''), BYTES.toString('base64url')]) {
      assert.equal(requestMetadataOf(headersOf({ [V2]: text }))?.actionId, 'abc');
    }
  });

  it('takes the header of the first API version, which Pants sends, but prefers the current one', () => {
    const old = Buffer.from(RequestMetadata.encode(RequestMetadata.fromPartial({ actionId: 'old' })).finish());
    assert.equal(requestMetadataOf(headersOf({ [PANTS]: old.toString('base64') }))?.actionId, 'old');
    const both = headersOf({ [PANTS]: old.toString('base64'), [V2]: BYTES.toString('base64') });
    assert.equal(requestMetadataOf(both)?.actionId, 'abc');
  });

  it('is undefined without the header, and for garbage in it (R-XC-01)', () => {
    assert.equal(requestMetadataOf(headersOf({})), undefined);
    assert.equal(requestMetadataOf(headersOf({ [V2]: Buffer.from([0x0a, 0xff]).toString('base64') })), undefined);
    assert.equal(requestMetadataOf(headersOf({ [V2]: Buffer.from([0xff]).toString('base64') })), undefined);
  });

  it('is undefined for far too much: it is kept with every operation that waits', () => {
    const read = (targetId: string) => {
      const bytes = RequestMetadata.encode(RequestMetadata.fromPartial({ targetId })).finish();
      return requestMetadataOf(headersOf({ [V2]: Buffer.from(bytes).toString('base64') }));
    };
    assert.equal(read('x'.repeat(16_000))?.targetId.length, 16_000);
    assert.equal(read('x'.repeat(17_000)), undefined);
  });
});

describe('headerText', () => {
  it('gives the first value of a header as text, or undefined', () => {
    const headers = new Metadata();
    headers.add('x-team', 'first');
    headers.add('x-team', 'second');
    headers.add('x-raw-bin', Buffer.from('größe'));
    assert.equal(headerText(headers, 'x-team'), 'first');
    assert.equal(headerText(headers, 'x-raw-bin'), 'größe');
    assert.equal(headerText(headers, 'x-absent'), undefined);
  });
});
