import assert from 'node:assert/strict';
import type { ReadyInfo } from '../compose/roles.ts';
import { readyBlock, readyLine } from './ready-block.ts';

const info: ReadyInfo = {
  grpcAddress: '127.0.0.1:8980',
  httpAddress: '127.0.0.1:8981',
  dataFolder: '/var/lib/gantry',
  maxSizeBytes: 20 * 1024 ** 3,
  workerProperties: [
    { name: 'OSFamily', value: 'linux' },
    { name: 'ISA', value: 'x86-64' },
  ],
  slots: 4,
  notes: ['blobs do not survive a crash of the machine (store.sync is none)'],
};
const options = { hostName: 'build-1', isReadOnly: false };

describe('readyBlock', () => {
  it('says where, how much, and what the worker offers', () => {
    const text = readyBlock(info, options);
    for (const part of ['127.0.0.1:8980', '/var/lib/gantry', '20 GiB', 'OSFamily=linux ISA=x86-64', 'slots       4']) {
      assert.ok(text.includes(part), part);
    }
    assert.match(text, /note {8}blobs do not survive/);
  });

  it('gives settings to paste for Bazel, Buck2 and BuildStream', () => {
    const lines = readyBlock(info, options)
      .split('\n')
      .map((line) => line.trim());
    for (const line of [
      'build --remote_executor=grpc://127.0.0.1:8980',
      'engine_address = grpc://127.0.0.1:8980',
      'cas_address = grpc://127.0.0.1:8980',
      'digest_algorithms = SHA256',
      "storage-service: { url: 'http://127.0.0.1:8980' }",
    ]) {
      assert.ok(lines.includes(line), line);
    }
  });

  it('gives the name of the machine for a listener on all its addresses', () => {
    for (const grpcAddress of ['0.0.0.0:8980', '[::]:8980']) {
      assert.match(readyBlock({ ...info, grpcAddress }, options), /--remote_executor=grpc:\/\/build-1:8980\n/);
    }
  });

  it('offers a cache without uploads when it is read-only', () => {
    const text = readyBlock(info, { ...options, isReadOnly: true });
    assert.match(text, /build --remote_cache=grpc:\/\/127.0.0.1:8980\n {2}build --noremote_upload_local_results\n/);
    assert.doesNotMatch(text, /remote_executor|Buck2/);
  });

  it('gives only Bazel a socket file', () => {
    const text = readyBlock({ ...info, grpcAddress: 'unix:/run/gantry.sock' }, options);
    assert.match(text, /--remote_executor=unix:\/run\/gantry.sock\n/);
    assert.doesNotMatch(text, /Buck2|BuildStream/);
  });

  it('has no settings for a worker', () => {
    const text = readyBlock({ dataFolder: '/d', slots: 2, notes: [] }, options);
    assert.doesNotMatch(text, /Bazel/);
    assert.match(text, /slots {7}2/);
  });

  it('ends with the line for programs', () => {
    assert.ok(readyBlock(info, options).endsWith(`\n${readyLine(info)}\n`));
  });
});

describe('readyLine', () => {
  it('names what there is', () => {
    assert.equal(readyLine(info), 'READY grpc=127.0.0.1:8980 http=127.0.0.1:8981 data=/var/lib/gantry');
    assert.equal(readyLine({ dataFolder: '/a b', notes: [] }), 'READY data=/a b');
  });
});
