import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { S3Options } from '../../src/cas/s3/s3-options.ts';
import { SystemRandom } from '../../src/system/random.ts';
import { Child } from '../clients/child.ts';
import { freePort, localS3Options, S3_TEST_BUCKET, type S3Server } from './s3-server.ts';

/** The program: `scripts/install-s3-servers.sh versitygw` puts it there. */
const PROGRAM = join(import.meta.dirname, '..', '..', 'node_modules', '.cache', 's3', 'versitygw');

/** A Versity S3 Gateway of a test's own, over a folder of this machine: an S3 server by other people than MinIO's. */
export class Versitygw implements S3Server {
  readonly endpoint: string;
  readonly #user: string;
  readonly #password: string;
  readonly #child: Child;

  private constructor(child: Child, parts: { readonly endpoint: string; readonly keys: readonly [string, string] }) {
    this.#child = child;
    this.endpoint = parts.endpoint;
    [this.#user, this.#password] = parts.keys;
  }

  /** Starts one, which answers when this resolves. @param folder empty; keeps the data. */
  static async start(folder: string): Promise<Versitygw> {
    const random = new SystemRandom();
    const keys = [random.token(8), random.token(16)] as const;
    const address = `127.0.0.1:${await freePort()}`;
    const data = join(folder, 'data');
    const sidecar = join(folder, 'sidecar');
    mkdirSync(join(data, S3_TEST_BUCKET), { recursive: true });
    mkdirSync(sidecar);
    const child = new Child(PROGRAM, ['--port', address, 'posix', '--sidecar', sidecar, data], {
      cwd: folder,
      environment: { ROOT_ACCESS_KEY: keys[0], ROOT_SECRET_KEY: keys[1] },
    });
    await child.outputMatching(new RegExp(address.replaceAll('.', '\\.')));
    return new Versitygw(child, { endpoint: `http://${address}`, keys });
  }

  options(changes: Partial<S3Options> = {}): S3Options {
    const credentials = { accessKeyId: this.#user, secretAccessKey: this.#password };
    return localS3Options(this.endpoint, credentials, changes);
  }

  async kill(): Promise<void> {
    await this.#child.killGroup();
  }
}
