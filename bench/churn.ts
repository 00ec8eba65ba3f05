/**
 * Whether a full store keeps its memory: `node bench/churn.ts [--minutes M] [--max-size BYTES] [--dir D]`. Blobs of mixed sizes are put and read, entries
 * are overwritten and deleted, with a retention so short that the store turns over all the time. Prints a line every 10 s and, in the
 * end, how fast the memory of the process grew in the second half.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { LocalStore } from '../src/cas/segment/local-store.ts';
import { digestOf } from '../src/digest/hasher.ts';
import { isKind } from '../src/errors.ts';
import { SystemClock, sleep } from '../src/system/clock.ts';
import { NO_LOG } from '../src/system/log.ts';
import { SystemRandom } from '../src/system/random.ts';

const NEVER = new AbortController().signal;
const KIB = 1024;
const MIB = KIB * KIB;
const REPORT_MS = 10_000;
const IN_FLIGHT = 32;
const ENTRY_KEYS = 20_000;

/** Growth of memory in the second half that counts as steady: noise of the allocator and of the collector. */
const STEADY_BYTES_PER_MINUTE = 2 * MIB;

interface Sample {
  readonly minute: number;
  readonly rssBytes: number;
}

/** Counts of what the load did. */
interface Done {
  operations: number;
  bytes: number;
  refused: number;
}

const clock = new SystemClock();
const random = new SystemRandom();

function between(low: number, high: number): number {
  return low + Math.floor(random.fraction() * (high - low));
}

function blob(number: number): Buffer {
  const dice = random.fraction();
  const most = dice < 0.7 ? 16 * KIB : dice < 0.95 ? 128 * KIB : dice < 0.995 ? MIB : 8 * MIB;
  const bytes = Buffer.alloc(between(16, most), 0x61);
  bytes.writeDoubleLE(number, 0);
  return bytes;
}

/** One of the lanes of the load; ends when `isOver`. */
async function lane(store: LocalStore, done: Done, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const bytes = blob(done.operations++);
    const digest = digestOf('sha256', bytes);
    const key = `entry/${between(0, ENTRY_KEYS)}`;
    try {
      await store.blobs.putBytes(digest, bytes, NEVER);
      done.bytes += bytes.length;
      if (done.operations % 3 === 0) await store.blobs.getBytes(digest, NEVER);
      if (done.operations % 4 === 0) await store.entries.put(key, bytes.subarray(0, 500), NEVER);
      if (done.operations % 40 === 0) await store.entries.delete(key, NEVER);
    } catch (error) {
      if (!isKind(error, 'quota-exceeded')) throw error;
      done.refused++;
      await sleep(clock, Math.min(error.facts.retryAfterMs ?? 100, 1000), NEVER);
    }
  }
}

function report(store: LocalStore, minute: number, done: Done): Sample {
  const { rss, heapUsed, external } = process.memoryUsage();
  const { segmentBytes, fileBytes, otherBytes, maxBytes, indexRows, indexMemoryBytes, ...stats } = store.stats();
  const mib = (bytes: number): string => `${(bytes / MIB).toFixed(1)} MiB`;
  const usedBytes = segmentBytes + fileBytes + otherBytes;
  process.stdout.write(
    `${minute.toFixed(2)} min: RSS ${mib(rss)}, heap ${mib(heapUsed)}, external ${mib(external)}, ` +
      `${readdirSync('/proc/self/fd').length} files open; store ${mib(usedBytes)} of ${mib(maxBytes)} in ${stats.segments} segments ` +
      `and ${stats.files} files, ${indexRows} rows in ${mib(indexMemoryBytes)}, oldest ${stats.oldestAgeSeconds} s, ` +
      `evicted ${stats.evictedBlobs} and ${stats.evictedEntries}, copied ${mib(stats.copiedBytes)}; ` +
      `put ${mib(done.bytes)}, refused ${done.refused}\n`,
  );
  if (usedBytes > maxBytes) throw new Error('the store is above its limit');
  return { minute, rssBytes: rss };
}

/** Bytes a minute, by least squares. */
function slopeOf(samples: readonly Sample[]): number {
  const mean = (of: (sample: Sample) => number): number =>
    samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
  const middle = mean(({ minute }) => minute);
  const spread = mean(({ minute }) => (minute - middle) ** 2);
  return mean(({ minute, rssBytes }) => (minute - middle) * rssBytes) / spread;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '10' },
      'max-size': { type: 'string', default: String(2 * 2 ** 30) },
      dir: { type: 'string', default: tmpdir() },
    },
  });
  const endMs = clock.monotonicMs() + Number(values.minutes) * 60_000;
  const folder = mkdtempSync(join(values.dir, 'gantry-churn-'));
  const store = await LocalStore.open(
    { segments: join(folder, 'segments'), files: join(folder, 'blobs') },
    {
      ...{ clock, random, log: NO_LOG, sync: 'none' },
      events: { committed: () => undefined, evicted: () => undefined, refused: () => undefined },
      ...{ maxBytes: Number(values['max-size']), minFreeBytes: MIB, minRetentionMs: 1000, maxLeasedShare: 0.8 },
      ...{ maxEntryBytes: MIB, checkpointMs: 30_000 },
    },
  );
  const startMs = clock.monotonicMs();
  const samples: Sample[] = [];
  const done = { operations: 0, bytes: 0, refused: 0 };
  const isOver = (): boolean => clock.monotonicMs() >= endMs;
  const look = async (): Promise<void> => {
    while (!isOver()) {
      await sleep(clock, Math.min(REPORT_MS, Math.max(1, endMs - clock.monotonicMs())), NEVER);
      samples.push(report(store, (clock.monotonicMs() - startMs) / 60_000, done));
    }
  };
  try {
    await Promise.all([look(), ...Array.from({ length: IN_FLIGHT }, () => lane(store, done, isOver))]);
    await store.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
  const slope = slopeOf(samples.slice(samples.length >> 1));
  const isSteady = slope <= STEADY_BYTES_PER_MINUTE;
  process.stdout.write(
    `RSS grew by ${(slope / MIB).toFixed(2)} MiB a minute in the second half: ${isSteady ? '' : 'not '}steady\n`,
  );
  if (!isSteady) process.exitCode = 1;
}

await main();
