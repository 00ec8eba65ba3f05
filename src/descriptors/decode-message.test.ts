import assert from 'node:assert/strict';
import protobuf from 'google-protobuf';
import descriptors from 'google-protobuf/google/protobuf/descriptor_pb.js';
import { type ErrorKind, isKind } from '../errors.ts';
import {
  Command,
  ExecuteOperationMetadata,
  ExecuteResponse,
  FindMissingBlobsRequest,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { Operation } from '../gen/google/longrunning/operations.ts';
import { DoubleValue } from '../gen/google/protobuf/wrappers.ts';
import { decodeMessage } from './decode-message.ts';
import { DescriptorPool } from './descriptor-pool.ts';

const V2 = 'build.bazel.remote.execution.v2';

function failsWith(kind: ErrorKind): (error: unknown) => boolean {
  return (error) => isKind(error, kind);
}

/** A pool with one message, which holds itself: `message Node { Node next = 1; }`. */
function recursivePool(): DescriptorPool {
  const next = new descriptors.FieldDescriptorProto();
  next.setName('next');
  next.setNumber(1);
  next.setType(descriptors.FieldDescriptorProto.Type.TYPE_MESSAGE);
  next.setTypeName('.Node');
  const node = new descriptors.DescriptorProto();
  node.setName('Node');
  node.addField(next);
  const file = new descriptors.FileDescriptorProto();
  file.addMessageType(node);
  const set = new descriptors.FileDescriptorSet();
  set.addFile(file);
  return new DescriptorPool(set.serializeBinary());
}

/** `depth` Nodes within an empty Node. */
function nestedNodes(depth: number): Uint8Array {
  const writer = new protobuf.BinaryWriter();
  const write = (left: number): void => {
    if (left > 0) writer.writeMessage(1, {}, () => write(left - 1));
  };
  write(depth);
  return writer.getResultBuffer();
}

describe('decodeMessage', () => {
  const pool = DescriptorPool.builtIn();

  it('names fields as the schema does and enums by their value names', () => {
    const command = Command.fromPartial({
      arguments: ['cc', '-c'],
      environmentVariables: [{ name: 'PATH', value: '/bin' }],
      outputDirectoryFormat: 2,
    });
    assert.deepEqual(decodeMessage(pool, `${V2}.Command`, Command.encode(command).finish()), {
      arguments: ['cc', '-c'],
      environment_variables: [{ name: 'PATH', value: '/bin' }],
      output_directory_format: 'TREE_AND_DIRECTORY',
    });
  });

  it('keeps 64-bit integers exact', () => {
    const request = FindMissingBlobsRequest.fromPartial({ blobDigests: [{ hash: 'ff', sizeBytes: 2n ** 53n + 1n }] });
    assert.deepEqual(
      decodeMessage(pool, `${V2}.FindMissingBlobsRequest`, FindMissingBlobsRequest.encode(request).finish()),
      {
        blob_digests: [{ hash: 'ff', size_bytes: '9007199254740993' }],
      },
    );
  });

  it('shows bytes in base64 and maps as objects, any key in them', () => {
    const response = ExecuteResponse.fromPartial({ result: { stdoutRaw: Buffer.from('hi') } });
    // Entries with the key `__proto__`, and with neither key nor value.
    const entries = Buffer.from([0x22, 11, 0x0a, 9, ...Buffer.from('__proto__'), 0x22, 0]);
    const decoded = decodeMessage(
      pool,
      `${V2}.ExecuteResponse`,
      Buffer.concat([ExecuteResponse.encode(response).finish(), entries]),
    );
    assert.deepEqual(decoded['result'], { stdout_raw: 'aGk=' });
    const logs = decoded['server_logs'];
    assert.ok(typeof logs === 'object');
    assert.deepEqual(Object.keys(logs), ['__proto__', '']);
    assert.equal(Object.getPrototypeOf(logs), Object.prototype);
  });

  it('reads packed and single values of one repeated field', () => {
    const bytes = Buffer.from([0x0a, 2, 1, 9, 0x08, 8]);
    assert.deepEqual(decodeMessage(pool, `${V2}.CacheCapabilities`, bytes), {
      digest_functions: ['SHA256', 'BLAKE3', 'SHA256TREE'],
    });
  });

  it('keeps the last member of a oneof, and merges what comes in parts', () => {
    // Operation.error {code 1}, Operation.response {}, Operation.error {code 5} {message m}
    const bytes = Buffer.from([0x22, 2, 0x08, 1, 0x2a, 0, 0x22, 2, 0x08, 5, 0x22, 3, 0x12, 1, 0x6d]);
    assert.deepEqual(decodeMessage(pool, 'google.longrunning.Operation', bytes), { error: { code: 5, message: 'm' } });
  });

  it('opens an Any whose type is known', () => {
    const typeUrl = `type.googleapis.com/${V2}.ExecuteOperationMetadata`;
    const metadata = ExecuteOperationMetadata.fromPartial({ stage: 2 });
    const value = ExecuteOperationMetadata.encode(metadata).finish();
    const operation = Operation.fromPartial({ name: 'n', metadata: { typeUrl, value } });
    assert.deepEqual(decodeMessage(pool, 'google.longrunning.Operation', Operation.encode(operation).finish()), {
      name: 'n',
      metadata: { '@type': typeUrl, stage: 'QUEUED' },
    });
  });

  for (const [what, typeUrl, value] of [
    ['whose type is unknown', 'example.com/no.Such', [1]],
    ['whose bytes do not fit its type', `example.com/${V2}.Digest`, [0x0a, 9]],
  ] as const) {
    it(`leaves an Any closed ${what}`, () => {
      const operation = Operation.fromPartial({ metadata: { typeUrl, value: Uint8Array.from(value) } });
      assert.deepEqual(decodeMessage(pool, 'google.longrunning.Operation', Operation.encode(operation).finish()), {
        metadata: { type_url: typeUrl, value: Buffer.from(value).toString('base64') },
      });
    });
  }

  it('lists unknown fields, and known numbers of another wire type', () => {
    const bytes = Buffer.from([0xf8, 1, 5, 0x08, 7, 0xfa, 1, 1, 0x41, 0xfd, 1, 1, 0, 0, 0, 0xfb, 1, 0xfc, 1]);
    assert.deepEqual(decodeMessage(pool, `${V2}.Digest`, bytes), {
      '@unknown': [
        { number: 31, wireType: 'varint', value: '5' },
        { number: 1, wireType: 'varint', value: '7' },
        { number: 31, wireType: 'delimited', value: 'QQ==' },
        { number: 31, wireType: 'fixed32', value: '1' },
        { number: 31, wireType: 'group', value: '' },
      ],
    });
  });

  it('shows an unknown enum value as its number', () => {
    assert.deepEqual(decodeMessage(pool, `${V2}.FindMissingBlobsRequest`, Buffer.from([0x18, 99])), {
      digest_function: 99,
    });
  });

  it('spells numbers that JSON lacks', () => {
    const infinite = DoubleValue.encode({ value: Number.NEGATIVE_INFINITY }).finish();
    assert.deepEqual(decodeMessage(pool, 'google.protobuf.DoubleValue', infinite), { value: '-Infinity' });
  });

  it('decodes no bytes as an empty message', () => {
    assert.deepEqual(decodeMessage(pool, `${V2}.Directory`, new Uint8Array()), {});
  });

  it('takes a list of many values', () => {
    const digests = Array.from({ length: 200_000 }, () => 0);
    const bytes = Buffer.concat([Buffer.from([0x0a, 0xc0, 0x9a, 0x0c]), Buffer.from(digests)]);
    const decoded = decodeMessage(pool, `${V2}.CacheCapabilities`, bytes);
    assert.equal(Object(decoded['digest_functions']).length, 200_000);
  });

  for (const [what, bytes] of [
    ['a length beyond the end', [0x0a, 9, 0x41]],
    ['a number that never ends', [0x10, 0xff, 0xff]],
    ['the field number zero', [0x02, 0]],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.throws(() => decodeMessage(pool, `${V2}.Digest`, Uint8Array.from(bytes)), failsWith('invalid-argument'));
    });
  }

  it('takes a hundred levels of messages and refuses more', () => {
    const nodes = recursivePool();
    assert.doesNotThrow(() => decodeMessage(nodes, 'Node', nestedNodes(100)));
    assert.throws(() => decodeMessage(nodes, 'Node', nestedNodes(101)), failsWith('invalid-argument'));
  });

  it('refuses an unknown message name', () => {
    assert.throws(() => decodeMessage(pool, 'no.Such', new Uint8Array()), failsWith('not-found'));
  });
});
