import { join } from 'node:path';
import { CreateBucketCommand } from '@aws-sdk/client-s3';
import type { Context } from 'mocha';
import { createS3Client } from '../../src/cas/s3/s3-client.ts';
import type { S3Options } from '../../src/cas/s3/s3-options.ts';
import { SystemRandom } from '../../src/system/random.ts';
import { Child } from '../clients/child.ts';
import { requireTool } from '../clients/tools.ts';
import { freePort, localS3Options, S3_TEST_BUCKET, type S3Server } from './s3-server.ts';

const installed = join(import.meta.dirname, '..', '..', 'node_modules', '.cache', 's3', 'minio');

/** The program: `scripts/install-s3-servers.sh` puts it where it is looked for; GANTRY_MINIO names another place. */
const PROGRAM = process.env['GANTRY_MINIO'] ?? installed;

/** A key for encrypting at rest, by the name that requests may give. */
export const MINIO_KEY_ID = 'gantry-test-key';

/** Skips, visibly, or fails when MinIO is not installed, by the rule of `requireTool`. For `before`. */
export function requireMinio(context: Context): void {
  requireTool(context, 'MinIO', PROGRAM);
}

/** A MinIO of a test's own, on this machine only, with keys that nobody knows and one bucket. */
export class Minio implements S3Server {
  readonly #folder: string;
  readonly #port: number;
  readonly #user: string;
  readonly #password: string;
  readonly #encryptionKey: string;
  #child: Child | undefined;

  private constructor(folder: string, port: number) {
    const random = new SystemRandom();
    this.#folder = folder;
    this.#port = port;
    this.#user = random.token(8);
    this.#password = random.token(16);
    this.#encryptionKey = Buffer.from(random.token(32), 'hex').toString('base64');
  }

  /** Starts one, which answers when this resolves. @param folder empty; keeps the data. */
  static async start(folder: string): Promise<Minio> {
    const minio = new Minio(folder, await freePort());
    await minio.restart();
    await minio.#createBucket();
    return minio;
  }

  /** `http://127.0.0.1:port`. */
  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** How to reach the bucket, or a part of it. */
  options(changes: Partial<S3Options> = {}): S3Options {
    const credentials = { accessKeyId: this.#user, secretAccessKey: this.#password };
    return localS3Options(this.endpoint, credentials, changes);
  }

  /** Makes it stand still: connections are accepted by the system, and nothing answers. */
  freeze(): void {
    this.#child?.signal('SIGSTOP');
  }

  /** Lets it go on. */
  thaw(): void {
    this.#child?.signal('SIGCONT');
  }

  /** Ends it as an administrator does; its data stay. */
  async stop(): Promise<void> {
    this.#child?.signal('SIGTERM');
    await this.#child?.end();
    this.#child = undefined;
  }

  /** Ends it as a lack of memory does; its data stay, as far as they were on disk. */
  async kill(): Promise<void> {
    await this.#child?.killGroup();
    this.#child = undefined;
  }

  /** Starts it again, at the same address and with the same data, keys and bucket. */
  async restart(): Promise<void> {
    await this.kill();
    const address = `127.0.0.1:${this.#port}`;
    this.#child = new Child(PROGRAM, ['server', '--address', address, this.#folder], {
      cwd: this.#folder,
      environment: {
        MINIO_ROOT_USER: this.#user,
        MINIO_ROOT_PASSWORD: this.#password,
        MINIO_KMS_SECRET_KEY: `${MINIO_KEY_ID}:${this.#encryptionKey}`,
        MINIO_BROWSER: 'off',
        MINIO_UPDATE: 'off',
      },
    });
    await this.#child.outputMatching(/^API: /m);
  }

  async #createBucket(): Promise<void> {
    const client = createS3Client(this.options());
    try {
      await client.send(new CreateBucketCommand({ Bucket: S3_TEST_BUCKET }));
    } finally {
      client.destroy();
    }
  }
}
