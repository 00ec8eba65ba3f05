import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { createSecureContext, getCACertificates } from 'node:tls';
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import type { S3Options } from './s3-options.ts';

/** Hosts that drop packets are given up earlier than those that think: an object store has several addresses. */
const MAX_CONNECT_MS = 10_000;

/**
 * The SDK's client for a bucket; `destroy` closes its connections. It neither retries nor limits time, which `S3Requests` does, but it corrects
 * the clock: the offset is learned from every answer.
 */
export function createS3Client(options: S3Options): S3Client {
  return new S3Client(clientConfig(options));
}

function clientConfig(options: S3Options): S3ClientConfig {
  const { region, endpoint, pathStyle, credentials, requestTimeoutMs } = options;
  return {
    region,
    forcePathStyle: pathStyle,
    maxAttempts: 1,
    // The defaults wrap bodies in a framing that some servers store as if it were the object. We check digests ourselves.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      httpAgent: new HttpAgent(agentOptions(options)),
      httpsAgent: new HttpsAgent({ ...agentOptions(options), ...trust(options) }),
      connectionTimeout: Math.min(requestTimeoutMs, MAX_CONNECT_MS),
    },
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
  };
}

/** As many connections as requests: one that waits for a connection would spend its time there. */
function agentOptions({ maxConcurrentRequests, proxy }: S3Options) {
  return {
    keepAlive: true,
    maxSockets: maxConcurrentRequests,
    maxFreeSockets: maxConcurrentRequests,
    ...(proxy === undefined ? {} : { proxyEnv: { HTTP_PROXY: proxy, HTTPS_PROXY: proxy } }),
  };
}

/** Authorities of the configuration come on top of Node's and the system's. Parsed once: there are hundreds. */
function trust({ certificateAuthorities }: S3Options) {
  if (certificateAuthorities === undefined) return {};
  const ca = [...getCACertificates('default'), ...getCACertificates('system'), certificateAuthorities];
  return { secureContext: createSecureContext({ ca }) };
}
