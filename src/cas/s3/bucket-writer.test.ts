import assert from 'node:assert/strict';
import { bucketWorld } from '../../../test/support/bucket-server.ts';
import { BucketWorld } from '../../../test/support/bucket-world.ts';
import type { Digest } from '../../digest/digest.ts';
import { ReapiError } from '../../errors.ts';
import { Semaphore } from '../../system/semaphore.ts';
import { BucketWriter } from './bucket-writer.ts';
import { PackWriter } from './pack-writer.ts';

/** What may wait for a pack at most. */
const MAX_WAITING = 100_000;

const BYTES = Buffer.from('x');

/** Writes to a bucket that was not reached yet; what waits is given up in the end. */
async function setUp() {
  const { local } = await BucketWorld.open();
  const server = bucketWorld().server('1');
  const connected = new Promise<void>(() => undefined);
  const ground = { ...server, local, containers: server.index.containers, connected };
  const packs = new PackWriter(ground, { packBytes: 64 * 1024 * 1024, maxSmallPacksPerSecond: 1 });
  const closing = new AbortController().signal;
  const writer = new BucketWriter({ ...ground, packs, closing, largeSlots: new Semaphore(1) });
  const ended: Promise<unknown>[] = [];
  const write = (number: number): void => {
    const digest: Digest = { function: 'sha256', hash: number.toString(16).padStart(64, '0'), sizeBytes: BYTES.length };
    const version = { sequence: number, writer: '1'.repeat(16) };
    const entry = { key: `${number}`, value: BYTES, writtenMs: 0, version, isRemoval: false };
    ended.push(
      (number % 2 === 0 ? writer.writeBlob(digest, BYTES, 1000) : writer.writeEntry(entry, 1000)).catch(() => 0),
    );
  };
  const giveUp = async (): Promise<void> => {
    await packs.close();
    await Promise.all(ended);
  };
  return { packs, writer, write, giveUp };
}

describe('BucketWriter', () => {
  it('refuses when too many blobs and entries wait, and says when to try again', async () => {
    const { writer, write, giveUp } = await setUp();
    for (let number = 1; number < MAX_WAITING; number++) write(number);
    writer.throwIfFull();
    write(MAX_WAITING);
    assert.throws(
      () => writer.throwIfFull(),
      (error: unknown) =>
        error instanceof ReapiError && error.kind === 'unavailable' && (error.facts.retryAfterMs ?? 0) >= 1000,
    );
    await giveUp();
    writer.throwIfFull();
  });

  it('refuses nothing because of what is copied forward, or condemned', async () => {
    const { packs, writer, giveUp } = await setUp();
    const copies: Promise<unknown>[] = [];
    const copy = { bytes: 1, patienceMs: 1000, build: () => undefined, stored: () => undefined };
    for (let number = 0; number <= MAX_WAITING; number++) copies.push(packs.add(copy).catch(() => 0));
    writer.throwIfFull();
    await giveUp();
    await Promise.all(copies);
  });
});
