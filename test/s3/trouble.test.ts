import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import {
  type Blob,
  bytesOf,
  freshBlob,
  readAll,
  readName,
  storeBlobs,
  writeAll,
  writeMessages,
  writeName,
} from '../../conformance/blobs.ts';
import type { CaseContext } from '../../conformance/case.ts';
import type { CallEnd } from '../../conformance/endpoint.ts';
import {
  ActionCacheDefinition as ActionCache,
  type Digest,
  GetActionResultRequest,
  UpdateActionResultRequest,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { eventually } from '../clients/eventually.ts';
import { Gantry, stopEverything, temporaryFolder } from '../clients/gantry.ts';
import { Minio, requireMinio } from '../support/minio.ts';
import { freePort } from '../support/s3-server.ts';
import { drained, S3World } from './s3-world.ts';

/** Trouble is noticed soon. */
const IMPATIENT = { uploadWaitSeconds: 1, requestTimeoutSeconds: 1, maxAttempts: 1, refreshSeconds: 1 };

/** Stores a blob as an upload of its own. @returns how that ended. */
async function put(client: CaseContext, blob: Blob): Promise<CallEnd> {
  return (await writeAll(client, writeMessages(writeName(client, blob.digest), blob.bytes))).end;
}

async function expectReadable(client: CaseContext, blobs: readonly Blob[]): Promise<void> {
  for (const { digest, bytes } of blobs) {
    assert.deepEqual(bytesOf(await readAll(client, readName(client, digest))), Buffer.from(bytes));
  }
}

/** The client is told to come back, not that it may not. */
function expectTriesAgain({ code, message, details }: CallEnd, reason: RegExp): void {
  assert.equal(code, status.UNAVAILABLE, message);
  assert.match(message, reason);
  const kinds = details?.details.map(({ typeUrl }) => typeUrl);
  assert.deepEqual(kinds, ['type.googleapis.com/google.rpc.RetryInfo']);
}

async function eventuallyStored(client: CaseContext, blob: Blob): Promise<void> {
  await eventually('uploads are taken again', async () => {
    const { code } = await put(client, blob);
    return code === status.OK ? true : undefined;
  });
}

async function storeResult({ endpoint }: CaseContext, actionDigest: Digest, exitCode: number): Promise<void> {
  const request = UpdateActionResultRequest.fromPartial({ actionDigest, actionResult: { exitCode } });
  await endpoint.unary(ActionCache, ActionCache.methods.updateActionResult, request);
}

async function readiness(http: string): Promise<string | undefined> {
  try {
    return await (await fetch(`http://${http}/readyz`)).text();
  } catch {
    // It does not listen yet.
    return undefined;
  }
}

describe('a server whose S3 is in trouble', () => {
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
    await world.stop();
  });
  after(async () => {
    await minio?.kill();
    await stopEverything();
  });

  /** A server on another machine sees what the bucket alone keeps. */
  async function expectInBucket(blobs: readonly Blob[]): Promise<void> {
    const fresh = await Gantry.start({ role: 'server', config: world.config() });
    await expectReadable(world.client(fresh), blobs);
    await fresh.stop();
  }

  const troubles: readonly [what: string, reason: RegExp, turn: (on: boolean) => void | Promise<void>][] = [
    ['the bucket is gone', /bucket|S3/, (on) => world.proxy.bucketGone(on)],
    ['the credentials are revoked', /credentials|S3/, (on) => world.proxy.credentialsRevoked(on)],
    ['the rights are taken away', /may not|S3/, (on) => world.proxy.credentialsRevoked(on, 'AccessDenied')],
    ['S3 stands still', /S3/, (on) => (on ? minio.freeze() : minio.thaw())],
  ];
  for (const [what, reason, turn] of troubles) {
    it(`tells clients to come back while ${what}, goes on reading what it has, and needs no hand afterwards`, async () => {
      const gantry = await Gantry.start({ role: 'server', config: world.config({ s3: IMPATIENT }) });
      const client = world.client(gantry);
      const [before, late, after] = [freshBlob(50_000), freshBlob(2_000_000), freshBlob(1000)];
      await storeBlobs(client, [before]);
      await turn(true);
      const refused = await put(client, late);
      expectTriesAgain(refused, reason);
      assert.doesNotMatch(refused.message, new RegExp(minio.options().credentials?.secretAccessKey ?? 'x'));
      await expectReadable(client, [before]);
      await eventually('the metric says so', async () =>
        (await gantry.metric('gantry_bucket_reachable')) === 0 ? true : undefined,
      );
      await turn(false);
      await eventuallyStored(client, late);
      await eventuallyStored(client, after);
      await eventually('the metric says so', async () =>
        (await gantry.metric('gantry_bucket_reachable')) === 1 ? true : undefined,
      );
      await expectInBucket([before, late, after]);
      await gantry.stop();
    });
  }

  it('waits for S3 if it knows nothing of the bucket, says so, and is ready when S3 is there', async () => {
    await world.proxy.down('refused');
    const http = `127.0.0.1:${await freePort()}`;
    const { child, ready } = Gantry.begin({ role: 'server', http, config: world.config({ s3: IMPATIENT }) });
    const text = await eventually('it says what it waits for', async () => {
      const text = await readiness(http);
      return text !== undefined && /S3/.test(text) ? text : undefined;
    });
    assert.match(text, /^not ready: waiting for S3: bucket gantry-test/);
    assert.equal((await fetch(`http://${http}/livez`)).status, 200);
    assert.doesNotMatch(child.output, /READY/);
    await world.proxy.up();
    const gantry = await ready();
    assert.equal(await readiness(http), 'ready\n');
    await storeBlobs(world.client(gantry), [freshBlob()]);
    await gantry.stop();
  });

  for (const outage of ['refused', 'silent'] as const) {
    it(`ends with exit code 0 at SIGTERM while it waits for S3 that is ${outage}`, async () => {
      await world.proxy.down(outage);
      const http = `127.0.0.1:${await freePort()}`;
      const { child } = Gantry.begin({ role: 'server', http, config: world.config() });
      await eventually('it waits', async () => (/S3/.test((await readiness(http)) ?? '') ? true : undefined));
      child.signal('SIGTERM');
      const { exitCode, output } = await child.end();
      assert.equal(exitCode, 0, output);
      assert.doesNotMatch(output, /READY/);
    });
  }

  for (const durability of ['s3', 'local'] as const) {
    it(`serves what it knows if S3 is down at the start, and goes on by itself, with durability ${durability}`, async () => {
      const config = world.config({ s3: { ...IMPATIENT, durability } });
      const first = await Gantry.start({ role: 'server', config });
      const known = [freshBlob(1000), freshBlob(2_000_000)];
      for (const blob of known) assert.equal((await put(world.client(first), blob)).code, status.OK);
      await drained(first);
      await first.stop();
      await world.proxy.down('refused');
      const second = await Gantry.start({ role: 'server', config, data: first.data });
      const client = world.client(second);
      await expectReadable(client, known);
      const late = freshBlob(3000);
      if (durability === 's3') expectTriesAgain(await put(client, late), /S3/);
      else assert.equal((await put(client, late)).code, status.OK);
      await expectReadable(client, known);
      await world.proxy.up();
      await eventuallyStored(client, late);
      await drained(second);
      await expectInBucket([...known, late]);
      await second.stop();
    });
  }

  it('keeps the newest result though it was stored by a start that knew an old index only, with durability local', async () => {
    const config = world.config({ s3: { ...IMPATIENT, durability: 'local' } });
    const key = freshBlob().digest;
    const store = (gantry: Gantry, exitCode: number) => storeResult(world.client(gantry), key, exitCode);
    const first = await Gantry.start({ role: 'server', config });
    await store(first, 1);
    await drained(first);
    await first.stop();
    const second = await Gantry.start({ role: 'server', config, data: first.data });
    for (let version = 2; version < 10; version++) await store(second, version);
    await drained(second);
    await second.crash();
    // As if they had been evicted.
    rmSync(join(first.data, 'segments'), { recursive: true });
    await world.proxy.down('refused');
    const third = await Gantry.start({ role: 'server', config, data: first.data });
    await store(third, 10);
    await world.proxy.up();
    await eventually('S3 is there', async () =>
      (await third.metric('gantry_bucket_stale_seconds')) >= 0 ? true : undefined,
    );
    await drained(third);
    const fresh = await Gantry.start({ role: 'server', config: world.config() });
    for (const gantry of [third, fresh]) {
      const request = GetActionResultRequest.fromPartial({ actionDigest: key });
      const { endpoint } = world.client(gantry);
      const { exitCode } = await endpoint.unary(ActionCache, ActionCache.methods.getActionResult, request);
      assert.equal(exitCode, 10);
      await gantry.stop();
    }
  });

  it('refuses uploads above the backlog, goes on reading, and drains by itself, with durability local', async () => {
    const config = world.config({ s3: { ...IMPATIENT, durability: 'local', maxBacklogBytes: 1024 * 1024 } });
    const gantry = await Gantry.start({ role: 'server', config });
    const client = world.client(gantry);
    await world.proxy.down();
    const accepted: Blob[] = [];
    let end: CallEnd | undefined;
    while (end === undefined && accepted.length < 100) {
      const blob = freshBlob(100_000);
      const answer = await put(client, blob);
      if (answer.code === status.OK) accepted.push(blob);
      else end = answer;
    }
    assert.ok(end);
    expectTriesAgain(end, /wait to be stored there \(s3\.maxBacklogBytes\)/);
    assert.equal(accepted.length, 10);
    await expectReadable(client, accepted);
    await gantry.crash();
    const again = await Gantry.begin({ role: 'server', config, data: gantry.data });
    await world.proxy.up();
    const second = await again.ready();
    const late = freshBlob(100_000);
    await eventuallyStored(world.client(second), late);
    await drained(second);
    await expectInBucket([...accepted, late]);
    await second.stop();
  });
});
