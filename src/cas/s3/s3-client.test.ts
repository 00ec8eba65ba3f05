import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { connect } from 'node:net';
import { ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3';
import { answer, ScriptedHttp } from '../../../test/support/scripted-http.ts';
import { TEST_CERTIFICATE, TEST_KEY } from '../../../test/support/test-certificate.ts';
import { createS3Client } from './s3-client.ts';
import { failureOf } from './s3-errors.ts';
import type { S3Options } from './s3-options.ts';

const OPTIONS: S3Options = {
  bucket: 'our-bucket',
  prefix: '',
  region: 'eu-central-1',
  endpoint: undefined,
  pathStyle: false,
  credentials: { accessKeyId: 'key', secretAccessKey: 'secret', sessionToken: 'session' },
  encryption: { kind: 'bucket-default' },
  storageClass: undefined,
  proxy: undefined,
  certificateAuthorities: undefined,
  maxConcurrentRequests: 4,
  requestTimeoutMs: 20_000,
  maxAttempts: 3,
};

const NOTHING = '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>';
const LIST = new ListObjectsV2Command({ Bucket: 'our-bucket' });

describe('createS3Client', () => {
  let clients: S3Client[] = [];
  let servers: Server[] = [];

  afterEach(async () => {
    for (const client of clients) client.destroy();
    for (const server of servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
    clients = [];
    servers = [];
  });

  function clientOf(changes: Partial<S3Options>): S3Client {
    const client = createS3Client({ ...OPTIONS, ...changes });
    clients.push(client);
    return client;
  }

  async function listening(server: Server): Promise<number> {
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : assert.fail('a port was expected');
  }

  /** An S3 server with a certificate that no machine trusts. */
  async function secureServer(): Promise<string> {
    const server = createTlsServer({ cert: TEST_CERTIFICATE, key: TEST_KEY }, (_, response) => response.end(NOTHING));
    return `https://127.0.0.1:${await listening(server)}`;
  }

  /** A proxy that lets everything through. @returns its address, and the hosts that it was asked for. */
  async function proxy(): Promise<{ readonly address: string; readonly asked: readonly (string | undefined)[] }> {
    const asked: (string | undefined)[] = [];
    const server = createServer();
    server.on('connect', ({ url }, socket) => {
      asked.push(url);
      const through = connect(Number(url?.split(':')[1]), '127.0.0.1', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
      for (const end of [through, socket]) {
        end.on('error', () => undefined).on('close', () => [through, socket].map((other) => other.destroy()));
      }
      through.pipe(socket).pipe(through);
    });
    return { address: `http://127.0.0.1:${await listening(server)}`, asked };
  }

  it('signs for the region with the keys it was given', async () => {
    const server = await ScriptedHttp.start(answer(200, NOTHING));
    await clientOf({ endpoint: server.endpoint, pathStyle: true }).send(LIST);
    const { url, headers } = server.seen[0] ?? assert.fail('no request');
    assert.equal(url, '/our-bucket/?list-type=2');
    assert.match(String(headers.authorization), /Credential=key\/\d{8}\/eu-central-1\/s3\/aws4_request/);
    assert.equal(headers['x-amz-security-token'], 'session');
  });

  it('names the bucket in the host unless told otherwise, and goes through the proxy', async () => {
    const server = await ScriptedHttp.start(answer(200, NOTHING));
    await clientOf({ endpoint: 'http://s3.example', proxy: server.endpoint }).send(LIST);
    assert.equal(server.seen[0]?.url, 'http://our-bucket.s3.example/?list-type=2');
  });

  it('does not trust a certificate of an unknown authority', async () => {
    const client = clientOf({ endpoint: await secureServer(), pathStyle: true });
    const error = await client.send(LIST).catch((cause: unknown) => cause);
    assert.match(failureOf(error, { bucket: 'b', doing: 'd' }).error.message, /certificate .* is not trusted/);
  });

  it('trusts the authorities it was given', async () => {
    const endpoint = await secureServer();
    const client = clientOf({ endpoint, pathStyle: true, certificateAuthorities: TEST_CERTIFICATE });
    assert.equal((await client.send(LIST)).IsTruncated, false);
  });

  it('goes through a tunnel of the proxy when the server speaks TLS, and checks the certificate there', async () => {
    const endpoint = await secureServer();
    const { address, asked } = await proxy();
    const client = clientOf({ endpoint, pathStyle: true, proxy: address, certificateAuthorities: TEST_CERTIFICATE });
    assert.equal((await client.send(LIST)).IsTruncated, false);
    assert.deepEqual(asked, [new URL(endpoint).host]);
    await assert.rejects(clientOf({ endpoint, pathStyle: true, proxy: address }).send(LIST), {
      code: 'DEPTH_ZERO_SELF_SIGNED_CERT',
    });
  });

  it('says that the proxy refuses', async () => {
    const server = createServer();
    server.on('connect', (_, socket) => socket.end('HTTP/1.1 403 Forbidden\r\n\r\n'));
    const proxyAddress = `http://127.0.0.1:${await listening(server)}`;
    const client = clientOf({ endpoint: 'https://127.0.0.1:1', pathStyle: true, proxy: proxyAddress });
    const error = await client.send(LIST).catch((cause: unknown) => cause);
    assert.match(failureOf(error, { bucket: 'b', doing: 'd' }).error.message, /the proxy does not let through/);
  });

  it('tries once: trying again is the matter of S3Requests', async () => {
    const server = await ScriptedHttp.start(answer(500), answer(200, NOTHING));
    await assert.rejects(clientOf({ endpoint: server.endpoint, pathStyle: true }).send(LIST));
    assert.equal(server.seen.length, 1);
  });
});
