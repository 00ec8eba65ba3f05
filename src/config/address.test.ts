import assert from 'node:assert/strict';
import { dialTarget, grpcAddress, httpAddress, parseAddress, serverUrl } from './address.ts';

describe('parseAddress', () => {
  it('reads a host with a port', () => {
    assert.deepEqual(parseAddress('127.0.0.1:8980'), { kind: 'tcp', host: '127.0.0.1', port: 8980 });
    assert.deepEqual(parseAddress('build.example.org:0'), { kind: 'tcp', host: 'build.example.org', port: 0 });
    assert.deepEqual(parseAddress('[::1]:1'), { kind: 'tcp', host: '::1', port: 1 });
  });

  it('reads a socket file with an absolute path', () => {
    assert.deepEqual(parseAddress('unix:/run/gantry.sock'), { kind: 'unix', path: '/run/gantry.sock' });
  });

  for (const text of [
    '',
    'host',
    'host:',
    ':1',
    'host:65536',
    'host:1x',
    '::1:1',
    'unix:relative',
    'http://host:1',
    'a b:1',
  ]) {
    it(`refuses "${text}"`, () => assert.equal(parseAddress(text), undefined));
  }
});

describe('dialTarget', () => {
  it('takes what people paste and leaves what a client dials', () => {
    assert.equal(dialTarget('grpc://host:1/'), 'host:1');
    assert.equal(dialTarget('host:1'), 'host:1');
    assert.equal(dialTarget('unix:/a'), 'unix:/a');
  });

  it('refuses TLS, other schemes and a port nobody listens on', () => {
    for (const text of ['grpcs://host:1', 'http://host:1', 'host:0', 'host'])
      assert.equal(dialTarget(text), undefined, text);
  });
});

describe('addresses in the schema', () => {
  it('lets gRPC listen on a port or a socket file, HTTP on a port only', () => {
    assert.equal(grpcAddress.safeParse('unix:/a').success, true);
    assert.equal(httpAddress.safeParse('unix:/a').success, false);
    assert.equal(httpAddress.safeParse('[::]:1').success, true);
    assert.equal(serverUrl.safeParse('grpc://a:1').success, true);
    assert.equal(serverUrl.safeParse('grpcs://a:1').success, false);
  });
});
