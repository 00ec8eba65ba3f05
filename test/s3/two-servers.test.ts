import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import {
  type Blob,
  bytesOf,
  findMissing,
  freshBlob,
  readAll,
  readName,
  storeBlobs,
  writeAll,
  writeMessages,
  writeName,
} from '../../conformance/blobs.ts';
import type { CaseContext } from '../../conformance/case.ts';
import type { Digest } from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { eventually } from '../clients/eventually.ts';
import { Gantry, stopEverything, temporaryFolder } from '../clients/gantry.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { Minio, requireMinio } from '../support/minio.ts';
import { S3World } from './s3-world.ts';

/** How long servers promise what they were asked about. */
const PROMISE_SECONDS = 2;

const MIB = 1024 * 1024;

/** Bytes that the clients of both store: more than a local tier holds. */
const STORED_BYTES = 60 * MIB;

describe('two servers on one bucket', () => {
  let minio: Minio;
  let world: S3World;

  before(async function () {
    requireMinio(this);
    minio = await Minio.start(temporaryFolder());
  });
  beforeEach(async () => {
    world = await S3World.start(minio);
  });
  afterEach(async () => {
    await world?.stop();
  });
  after(async () => {
    await minio?.kill();
    await stopEverything();
  });

  async function server(): Promise<{ gantry: Gantry; client: CaseContext }> {
    const store = { minRetentionSeconds: PROMISE_SECONDS, maxSizeBytes: 48 * MIB };
    const config = world.config({ s3: { refreshSeconds: 1, packBytes: 2 * MIB, maxSmallPacksPerSecond: 20 }, store });
    const gantry = await Gantry.start({ role: 'server', config });
    return { gantry, client: world.client(gantry) };
  }

  it('find what the other has stored after a refresh, and read it', async () => {
    const [one, other] = await Promise.all([server(), server()]);
    for (const [from, to] of [
      [one, other],
      [other, one],
    ] as const) {
      const blobs = [freshBlob(1000), freshBlob(300_000), freshBlob(2 * MIB)];
      await storeBlobs(from.client, blobs);
      await eventually('the other knows them', async () => {
        const missing = await findMissing(
          to.client,
          blobs.map(({ digest }) => digest),
        );
        return missing.length === 0 ? true : undefined;
      });
      for (const { digest, bytes } of blobs) {
        assert.deepEqual(bytesOf(await readAll(to.client, readName(to.client, digest))), Buffer.from(bytes));
      }
    }
    assert.equal(await one.gantry.metric('gantry_bucket_other_servers'), 1);
    await Promise.all([one.gantry.stop(), other.gantry.stop()]);
  });

  it('put small packs together and delete them while clients store, look up and read on both, and lose nothing', async () => {
    const servers = await Promise.all([server(), server()]);
    const load = new SharedLoad(servers.map(({ client }) => client));
    await load.run();
    assert.ok(load.checks > 100, `${load.checks} promises were looked after`);
    for (const { gantry } of servers) {
      await eventually('each has deleted packs', async () =>
        (await gantry.metric('gantry_bucket_deleted_objects_total')) >= 16 ? true : undefined,
      );
    }
    const fresh = await server();
    for (const { gantry, client } of [...servers, fresh]) {
      assert.deepEqual(await findMissing(client, load.stored), []);
      assert.doesNotMatch(gantry.output, /"level":"error"/);
    }
    await load.expectReadable(fresh.client);
    for (const { gantry } of [...servers, fresh]) await gantry.stop();
  });
});

/** Clients of several servers that share blobs. */
class SharedLoad {
  /** Promises that were redeemed. */
  checks = 0;
  readonly #clients: readonly CaseContext[];
  readonly #blobs: Blob[] = [];
  readonly #random = new SeededRandom(1);
  #bytes = 0;

  constructor(clients: readonly CaseContext[]) {
    this.#clients = clients;
  }

  /** All that was acknowledged. */
  get stored(): readonly Digest[] {
    return this.#blobs.map(({ digest }) => digest);
  }

  /** Reads all of it. */
  async expectReadable(client: CaseContext): Promise<void> {
    for (const { digest, bytes } of this.#blobs) {
      assert.ok(bytesOf(await readAll(client, readName(client, digest))).equals(bytes));
    }
  }

  /** Two who store and two who look at each server. */
  async run(): Promise<void> {
    await Promise.all(
      this.#clients.flatMap((client) => [
        this.#store(client),
        this.#store(client),
        this.#look(client),
        this.#look(client),
      ]),
    );
  }

  async #store(client: CaseContext): Promise<void> {
    while (this.#bytes < STORED_BYTES) {
      const dice = this.#random.fraction();
      const blob = freshBlob(dice < 0.7 ? 50_000 : dice < 0.95 ? 400_000 : 1_500_000);
      this.#bytes += blob.bytes.length;
      await this.#redeem(client, [blob], () => this.#put(client, blob));
      this.#blobs.push(blob);
    }
  }

  /** The local tier is small: when all of it is promised, its clients wait. */
  async #put(client: CaseContext, { digest, bytes }: Blob): Promise<void> {
    for (;;) {
      const { end } = await writeAll(client, writeMessages(writeName(client, digest), bytes));
      if (end.code === status.OK) return;
      assert.equal(end.code, status.RESOURCE_EXHAUSTED, end.message);
      await delay(100);
    }
  }

  async #look(client: CaseContext): Promise<void> {
    while (this.#bytes < STORED_BYTES) {
      if (this.#blobs.length === 0) {
        await delay(10);
        continue;
      }
      const some = Array.from({ length: 4 }, () => this.#blobs[this.#random.between(0, this.#blobs.length - 1)]);
      const blobs = some.filter((blob) => blob !== undefined);
      const present: Blob[] = [];
      await this.#redeem(client, present, async () => {
        const missing = await findMissing(
          client,
          blobs.map(({ digest }) => digest),
        );
        const absent = new Set(missing.map(({ hash }) => hash));
        present.push(...blobs.filter(({ digest }) => !absent.has(digest.hash)));
      });
    }
  }

  /** After what makes a promise, reads what was promised; what takes longer than the promise lasts does not count. */
  async #redeem(client: CaseContext, blobs: readonly Blob[], promise: () => Promise<void>): Promise<void> {
    const askedMs = performance.now();
    await promise();
    for (const { digest, bytes } of blobs) {
      const streamed = await readAll(client, readName(client, digest));
      if (performance.now() - askedMs > PROMISE_SECONDS * 1000) return;
      assert.ok(bytesOf(streamed).equals(bytes));
      this.checks++;
    }
  }
}
