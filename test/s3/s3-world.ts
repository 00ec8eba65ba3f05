import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CaseContext } from '../../conformance/case.ts';
import { Endpoint } from '../../conformance/endpoint.ts';
import { DEFAULT_PROFILE } from '../../conformance/profile.ts';
import { SystemClock } from '../../src/system/clock.ts';
import { eventually } from '../clients/eventually.ts';
import { type Gantry, temporaryFolder } from '../clients/gantry.ts';
import { FaultyS3Proxy } from '../support/faulty-s3-proxy.ts';
import type { S3Server } from '../support/s3-server.ts';

/** How long a call of a test's own may take: longer than any server waits for S3 here. */
const CALL_TIMEOUT_MS = 60_000;

/** What a test may change of a server's configuration. */
export interface ServerConfig {
  readonly s3?: Readonly<Record<string, unknown>>;
  readonly store?: Readonly<Record<string, unknown>>;
}

/** A part of a bucket that nobody has used, with trouble on the way to it if a test wants some. */
export class S3World {
  readonly proxy: FaultyS3Proxy;
  readonly #server: S3Server;
  readonly #prefix: string;
  readonly #secretFile: string;
  readonly #clients: Endpoint[] = [];

  private constructor(server: S3Server, proxy: FaultyS3Proxy) {
    worlds += 1;
    this.#server = server;
    this.proxy = proxy;
    this.#prefix = `w${worlds}/`;
    this.#secretFile = join(temporaryFolder(), 'secret');
    writeFileSync(this.#secretFile, server.options().credentials?.secretAccessKey ?? '');
  }

  static async start(server: S3Server): Promise<S3World> {
    const secretAccessKey = server.options().credentials?.secretAccessKey ?? '';
    const proxy = await FaultyS3Proxy.start({ upstream: server.endpoint, clock: new SystemClock(), secretAccessKey });
    return new S3World(server, proxy);
  }

  /** The configuration of a server on this part of the bucket, by way of the proxy. */
  config({ s3, store }: ServerConfig = {}): Readonly<Record<string, unknown>> {
    const { bucket, credentials } = this.#server.options();
    return {
      s3: {
        bucket,
        prefix: this.#prefix,
        endpoint: this.proxy.endpoint,
        credentials: { accessKeyId: credentials?.accessKeyId, secretAccessKey: { file: this.#secretFile } },
        ...s3,
      },
      ...(store && { store }),
      stop: { graceSeconds: 5 },
      execution: { platform: { graceSeconds: 0 } },
    };
  }

  /** A client of a server. */
  client(gantry: Gantry): CaseContext {
    const endpoint = new Endpoint(gantry.grpcAddress, { callTimeoutMs: CALL_TIMEOUT_MS });
    this.#clients.push(endpoint);
    return { endpoint, profile: DEFAULT_PROFILE };
  }

  /** Ends clients and proxy. */
  async stop(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.close();
    await this.proxy.stop();
  }
}

let worlds = 0;

/** Waits until everything that a server accepted is in the bucket. */
export async function drained(gantry: Gantry): Promise<void> {
  await eventually('nothing waits for S3', async () => {
    const waiting =
      (await gantry.metric('gantry_bucket_backlog_bytes')) + (await gantry.metric('gantry_bucket_pending_uploads'));
    return waiting === 0 ? true : undefined;
  });
}
