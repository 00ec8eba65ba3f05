import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import {
  type Blob,
  blobOf,
  bytesOf,
  findMissing,
  readAll,
  readName,
  storeBlobs,
  writeAll,
  writeMessages,
  writeName,
} from '../../conformance/blobs.ts';
import type { CaseContext } from '../../conformance/case.ts';
import { CallFailed } from '../../conformance/endpoint.ts';
import {
  ActionCacheDefinition,
  type Digest,
  GetActionResultRequest,
  UpdateActionResultRequest,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';

const KIB = 1024;

/** Names of action results: few, so that they are written again and again. */
const RESULTS = 20;

/** Blobs that are read from a recovered server; the others are looked up only. */
const MAX_READ = 60;

/** The blob with that number: equal numbers are equal blobs. Most are small, some larger than what packs take. */
function blobNumbered(number: number): Blob {
  const random = new SeededRandom(number);
  const dice = random.fraction();
  const most = dice < 0.6 ? 4 * KIB : dice < 0.9 ? 64 * KIB : dice < 0.96 ? KIB * KIB : 3 * KIB * KIB;
  return blobOf(Buffer.alloc(random.between(12, most), `blob ${number} `));
}

/** The key of an action result. */
function resultKey(number: number): Digest {
  const hash = createHash('sha256').update(`action ${number}`).digest('hex');
  return { hash, sizeBytes: 100n };
}

interface ResultHistory {
  /** Newest version that was acknowledged. */
  acknowledged: number;
  /** Versions that were sent after it and may or may not have been stored. */
  readonly possible: Set<number>;
}

/** What servers have acknowledged, and so must keep, whoever dies. */
export class Ledger {
  readonly #blobs = new Map<number, Digest>();
  readonly #results = new Map<number, ResultHistory>();
  readonly #busyResults = new Set<number>();
  readonly #random: SeededRandom;
  #next = 1;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    this.#next = seed * 100_000 + 1;
  }

  /** What has been acknowledged, repeated results included. */
  acknowledgements = 0;

  /** Stores something drawn. It need not be acknowledged: a server that dies, or whose S3 is in trouble, does not. */
  async putSomething(client: CaseContext): Promise<void> {
    const dice = this.#random.fraction();
    try {
      if (dice < 0.3) await this.#putResult(client);
      else if (dice < 0.5) await this.#putBatch(client);
      else await this.#putBlob(client);
      this.acknowledgements++;
    } catch (error) {
      if (error instanceof CallFailed && EXPECTED.has(error.end.code)) return;
      throw error;
    }
  }

  /** @throws AssertionError if something that was acknowledged is not there, or is not what it was. */
  async expectKept(client: CaseContext, where: string): Promise<void> {
    const digests = [...this.#blobs.values()];
    for (let at = 0; at < digests.length; at += 1000) {
      const missing = await findMissing(client, digests.slice(at, at + 1000));
      assert.deepEqual(missing, [], `${where}: acknowledged blobs are missing`);
    }
    const numbers = [...this.#blobs.keys()];
    const newest = numbers.slice(-MAX_READ / 2);
    const others = Array.from(
      { length: MAX_READ / 2 },
      () => numbers[this.#random.between(0, numbers.length - 1)] ?? 0,
    );
    for (const number of new Set([...newest, ...others].filter((candidate) => candidate > 0))) {
      const { digest, bytes } = blobNumbered(number);
      const read = bytesOf(await readAll(client, readName(client, digest)));
      assert.ok(read.equals(bytes), `${where}: blob ${number} is not what it was`);
    }
    for (const [number, history] of this.#results) await this.#expectResult(client, number, history, where);
  }

  async #putBlob(client: CaseContext): Promise<void> {
    const number = this.#next++;
    const { digest, bytes } = blobNumbered(number);
    const { end } = await writeAll(client, writeMessages(writeName(client, digest), bytes));
    if (end.code !== status.OK) throw new CallFailed(end);
    this.#blobs.set(number, digest);
  }

  async #putBatch(client: CaseContext): Promise<void> {
    const numbers = Array.from({ length: this.#random.between(1, 10) }, () => this.#next++);
    const small = numbers.filter((number) => blobNumbered(number).bytes.length < 100 * KIB);
    try {
      await storeBlobs(client, small.map(blobNumbered));
    } catch (error) {
      if (error instanceof CallFailed) throw error;
      // Some of the batch were refused. Which ones does not matter: none of them counts.
      throw new CallFailed({ code: status.UNAVAILABLE, message: String(error), details: undefined });
    }
    for (const number of small) this.#blobs.set(number, blobNumbered(number).digest);
  }

  async #putResult(client: CaseContext): Promise<void> {
    const number = this.#random.between(0, RESULTS - 1);
    // Two at the same time would have no order.
    if (this.#busyResults.has(number)) return this.#putBlob(client);
    this.#busyResults.add(number);
    const version = this.#next++;
    const history = this.#results.get(number) ?? { acknowledged: 0, possible: new Set() };
    this.#results.set(number, history);
    history.possible.add(version);
    try {
      const request = UpdateActionResultRequest.fromPartial({
        actionDigest: resultKey(number),
        actionResult: { exitCode: version, stdoutRaw: Buffer.alloc(version % 3000, `${version} `) },
      });
      await client.endpoint.unary(ActionCacheDefinition, ActionCacheDefinition.methods.updateActionResult, request);
      history.acknowledged = version;
      history.possible.clear();
    } finally {
      this.#busyResults.delete(number);
    }
  }

  async #expectResult(client: CaseContext, number: number, history: ResultHistory, where: string): Promise<void> {
    const request = GetActionResultRequest.fromPartial({ actionDigest: resultKey(number), inlineStdout: true });
    const { getActionResult } = ActionCacheDefinition.methods;
    let found = 0;
    try {
      const { exitCode, stdoutRaw } = await client.endpoint.unary(ActionCacheDefinition, getActionResult, request);
      found = exitCode;
      const expected = Buffer.alloc(found % 3000, `${found} `);
      if (stdoutRaw.length > 0) assert.ok(expected.equals(stdoutRaw), `${where}: result ${number} is torn`);
    } catch (error) {
      if (!(error instanceof CallFailed && error.end.code === status.NOT_FOUND)) throw error;
    }
    const allowed = [history.acknowledged, ...history.possible];
    assert.ok(allowed.includes(found), `${where}: result ${number} has version ${found}, not one of ${allowed}`);
  }
}

/** What clients of a server are told that dies or waits in vain. */
const EXPECTED = new Set<number>([status.UNAVAILABLE, status.CANCELLED, status.INTERNAL, status.UNKNOWN]);
