import assert from 'node:assert/strict';
import { isKind } from '../errors.ts';
import { ExecuteResponse } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { encodeResponse } from './encode-response.ts';

const LIMIT = 20_000;
const digest = { hash: 'a'.repeat(64), sizeBytes: 5n };
const bulk = Buffer.alloc(LIMIT, 'x');
const long = 'm'.repeat(LIMIT);

function sent(fields: Parameters<typeof ExecuteResponse.fromPartial>[0]): ExecuteResponse {
  const bytes = encodeResponse(ExecuteResponse.fromPartial(fields), LIMIT);
  assert.ok(bytes.length <= LIMIT);
  return ExecuteResponse.decode(bytes);
}

describe('encodeResponse', () => {
  it('changes nothing of a response that fits, to the byte', () => {
    const response = {
      result: { exitCode: 1, stdoutRaw: bulk.subarray(0, 10_000), stdoutDigest: digest },
      message: 'why',
    };
    const message = ExecuteResponse.fromPartial(response);
    const size = ExecuteResponse.encode(message).finish().length;
    assert.deepEqual(Buffer.from(encodeResponse(message, size)), Buffer.from(ExecuteResponse.encode(message).finish()));
    assert.equal(encodeResponse(message, size).buffer.byteLength, size, 'nothing around it is kept');
  });

  it('leaves out what is a copy of a blob, and keeps what has no other (R-XC-05)', () => {
    const outputFiles = [
      { path: 'a', digest, contents: bulk },
      { path: 'b', contents: Buffer.from('only here') },
    ];
    const { result } = sent({
      result: { stdoutRaw: bulk, stdoutDigest: digest, stderrRaw: bulk.subarray(0, 9), outputFiles },
    });
    assert.deepEqual([result?.stdoutRaw.length, result?.stderrRaw.length], [0, 9]);
    assert.deepEqual(result?.stdoutDigest, digest);
    assert.deepEqual(
      result?.outputFiles.map(({ path, contents }) => [path, contents.length]),
      [
        ['a', 0],
        ['b', 9],
      ],
    );
  });

  it('cuts texts of workers', () => {
    const { message, status, result } = sent({
      message: long,
      status: { code: 3, message: long },
      result: { exitCode: 2 },
    });
    assert.deepEqual([message.length, status?.message.length, status?.code, result?.exitCode], [4097, 4097, 3, 2]);
  });

  it('says how an action failed also if nothing else fits', () => {
    const details = [{ typeUrl: 'a/b', value: bulk }];
    const { message, status, result } = sent({
      message: 'why',
      status: { code: 4, message: 'late', details },
      result: {},
    });
    assert.deepEqual(status, { code: 4, message: 'late', details: [] });
    assert.deepEqual([message, result], ['why', undefined]);
  });

  it('refuses a result that no client can receive, naming the limit', () => {
    assert.throws(
      () => sent({ result: { outputFiles: [{ path: long, digest }] } }),
      (error) => isKind(error, 'too-large') && /20\d{3} bytes, at most 20000 .*maxSendMessageBytes/.test(error.message),
    );
  });
});
