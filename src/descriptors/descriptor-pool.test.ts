import assert from 'node:assert/strict';
import { isKind } from '../errors.ts';
import { DescriptorPool } from './descriptor-pool.ts';

const V2 = 'build.bazel.remote.execution.v2';
const V2_FILE = 'build/bazel/remote/execution/v2/remote_execution.proto';

describe('DescriptorPool', () => {
  const pool = DescriptorPool.builtIn();

  it('finds messages, nested ones too, with their fields', () => {
    assert.deepEqual(pool.message(`${V2}.Digest`)?.fields, [
      {
        name: 'hash',
        number: 1,
        type: 'string',
        isRepeated: false,
        typeName: undefined,
        oneof: undefined,
        hasPresence: false,
      },
      {
        name: 'size_bytes',
        number: 2,
        type: 'int64',
        isRepeated: false,
        typeName: undefined,
        oneof: undefined,
        hasPresence: false,
      },
    ]);
    assert.equal(pool.message(`${V2}.Platform.Property`)?.fields.length, 2);
  });

  it('knows enums by number', () => {
    assert.equal(pool.enum(`${V2}.DigestFunction.Value`)?.names.get(9), 'BLAKE3');
  });

  it('knows which methods stream', () => {
    const methods = pool.service('google.bytestream.ByteStream')?.methods ?? [];
    assert.deepEqual(
      methods.map((method) => [method.name, method.isClientStreaming, method.isServerStreaming]),
      [
        ['Read', false, true],
        ['Write', true, false],
        ['QueryWriteStatus', false, false],
      ],
    );
  });

  it('tells a oneof from a proto3 optional', () => {
    const result = pool.message('google.longrunning.Operation')?.fields.find((field) => field.name === 'response');
    assert.equal(result?.oneof, 'result');
    const quota = pool
      .message('google.rpc.QuotaFailure.Violation')
      ?.fields.find((field) => field.name === 'future_quota_value');
    assert.equal(quota?.oneof, undefined);
    assert.equal(quota?.hasPresence, true);
  });

  it('recognises map entries', () => {
    assert.equal(pool.message(`${V2}.ExecuteResponse.ServerLogsEntry`)?.isMapEntry, true);
    assert.equal(pool.message(`${V2}.ExecuteResponse`)?.isMapEntry, false);
  });

  for (const symbol of [
    `${V2}.Digest`,
    `${V2}.Digest.hash`,
    `${V2}.Command.EnvironmentVariable`,
    `${V2}.DigestFunction.Value`,
    `${V2}.DigestFunction.SHA256`,
    `${V2}.Execution`,
    `${V2}.Execution.Execute`,
  ]) {
    it(`finds the file of ${symbol}`, () => {
      assert.equal(pool.fileOf(symbol)?.name, V2_FILE);
    });
  }

  it('orders a file before all it imports, each once', () => {
    const file = pool.file(V2_FILE);
    assert.ok(file);
    const names = pool.withDependencies(file).map((one) => one.name);
    assert.equal(names[0], V2_FILE);
    assert.equal(new Set(names).size, names.length);
    assert.ok(names.includes('google/protobuf/empty.proto'), 'an import of an import');
  });

  it('holds every file its files import', () => {
    for (const service of pool.services()) {
      const file = pool.fileOf(service.fullName);
      assert.ok(file);
      for (const one of pool.withDependencies(file)) {
        for (const name of one.dependencies) assert.ok(pool.file(name), name);
      }
    }
  });

  it('answers undefined to unknown names', () => {
    assert.equal(pool.file('nowhere.proto'), undefined);
    assert.equal(pool.fileOf('no.Such'), undefined);
    assert.equal(pool.message(`${V2}.Execution`), undefined);
    assert.equal(pool.enum(`${V2}.Digest`), undefined);
    assert.equal(pool.service(`${V2}.Digest`), undefined);
  });

  it('refuses bytes that are no descriptor set', () => {
    assert.throws(
      () => new DescriptorPool(Uint8Array.of(0x0a, 0xff, 0x01)),
      (error) => isKind(error, 'invalid-argument'),
    );
  });
});
