/**
 * Figures of the local store, in one run: `node bench/store.ts [--dir D] [--blobs N] [--puts N] [--only puts,sizes,million]`. CPU time is that of the whole
 * process, all threads. `--dir` should be on the disk that is meant, not on tmpfs; the default is the system's folder for temporary files.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { BlobStore } from '../src/cas/blob-store.ts';
import { FileBlobStore } from '../src/cas/file-blob-store.ts';
import { LocalStore } from '../src/cas/segment/local-store.ts';
import type { Digest } from '../src/digest/digest.ts';
import { digestOf } from '../src/digest/hasher.ts';
import { SystemClock } from '../src/system/clock.ts';
import { NO_LOG } from '../src/system/log.ts';
import { SystemRandom } from '../src/system/random.ts';

const NEVER = new AbortController().signal;
const IN_FLIGHT = 64;
const KIB = 1024;
const clock = new SystemClock();

const { values } = parseArgs({
  options: {
    dir: { type: 'string', default: tmpdir() },
    blobs: { type: 'string', default: '1000000' },
    puts: { type: 'string', default: '20000' },
    only: { type: 'string', default: 'puts,sizes,million' },
    child: { type: 'string' },
  },
});
const BLOBS = Number(values.blobs);

interface Cost {
  readonly cpuMicros: number;
  readonly wallMicros: number;
}

interface Sample {
  readonly digest: Digest;
  readonly bytes: Buffer;
}

/** Mean cost of `step`, `count` times, so many at once. */
async function measure(count: number, inFlight: number, step: (at: number) => Promise<unknown>): Promise<Cost> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await step(next++);
  };
  const startMs = clock.monotonicMs();
  const before = process.cpuUsage();
  await Promise.all(Array.from({ length: inFlight }, lane));
  const { user, system } = process.cpuUsage(before);
  return { cpuMicros: (user + system) / count, wallMicros: ((clock.monotonicMs() - startMs) * 1000) / count };
}

/** Blobs that differ in their first bytes. */
function sample(number: number, sizeBytes: number): Sample {
  const bytes = Buffer.alloc(sizeBytes, 0x61);
  bytes.writeDoubleLE(number, 0);
  return { bytes, digest: digestOf('sha256', bytes) };
}

function openLocal(folder: string, sync: 'group' | 'none', maxRecordBlobBytes?: number): Promise<LocalStore> {
  const folders = { segments: join(folder, 'segments'), files: join(folder, 'blobs') };
  return LocalStore.open(folders, {
    ...{ clock, sync, log: NO_LOG, random: new SystemRandom() },
    events: { committed: () => undefined, evicted: () => undefined, refused: () => undefined },
    ...{ maxBytes: 32 * 2 ** 30, minFreeBytes: 2 ** 20, minRetentionMs: 600_000, maxLeasedShare: 0.8 },
    ...{
      maxEntryBytes: 2 ** 20,
      checkpointMs: 300_000,
      ...(maxRecordBlobBytes !== undefined && { maxRecordBlobBytes }),
    },
  });
}

interface Opened {
  readonly blobs: BlobStore;
  close(): Promise<void>;
}

async function openFiles(folder: string, sync: 'file' | 'none'): Promise<Opened> {
  const blobs = await FileBlobStore.open(folder, { clock, log: NO_LOG, maxBytes: 2 ** 36, sync });
  return { blobs, close: () => blobs.close() };
}

function median(costs: readonly Cost[]): Cost {
  const middle = (numbers: readonly number[]): number =>
    numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
  return {
    cpuMicros: middle(costs.map(({ cpuMicros }) => cpuMicros)),
    wallMicros: middle(costs.map(({ wallMicros }) => wallMicros)),
  };
}

function micros(value: number): string {
  return value.toFixed(value < 100 ? 1 : 0).padStart(9);
}

function print(...cells: readonly string[]): void {
  process.stdout.write(`${cells.map((cell, at) => (at === 0 ? cell.padEnd(34) : cell.padStart(11))).join('')}\n`);
}

/** Put and get of 1 KiB in each store, in turns, so that all see the same machine. */
async function benchPuts(folder: string): Promise<void> {
  const rounds = 5;
  const stores: readonly [string, number, Opened][] = [
    ['segments, none', 1, await openLocal(join(folder, 'a'), 'none')],
    ['segments, group', 1, await openLocal(join(folder, 'b'), 'group')],
    ['a file each, none', 0.25, await openFiles(join(folder, 'c'), 'none')],
    ['a file each, file', 0.05, await openFiles(join(folder, 'd'), 'file')],
  ];
  const puts = stores.map((): Cost[] => []);
  const gets = stores.map((): Cost[] => []);
  const perRound = Math.ceil(Number(values.puts) / rounds);
  // The first round warms up.
  for (let round = 0; round <= rounds; round++) {
    for (const [at, [, share, { blobs }]] of stores.entries()) {
      const samples = Array.from({ length: Math.ceil(perRound * share) }, (_, n) => sample(round * perRound + n, KIB));
      const of = (n: number): Sample => samples[n] ?? sample(0, KIB);
      const put = await measure(samples.length, IN_FLIGHT, (n) => blobs.putBytes(of(n).digest, of(n).bytes, NEVER));
      const get = await measure(samples.length, 1, (n) => blobs.getBytes(of(n).digest, NEVER));
      if (round > 0) puts[at]?.push(put);
      if (round > 0) gets[at]?.push(get);
    }
  }
  print('1 KiB, CPU µs (median of 5)', 'put', 'elapsed', 'get');
  const cpu = stores.map(([name, , store], at) => {
    const put = median(puts[at] ?? []);
    print(name, micros(put.cpuMicros), micros(put.wallMicros), micros(median(gets[at] ?? []).cpuMicros));
    return { cpuMicros: put.cpuMicros, closed: store.close() };
  });
  await Promise.all(cpu.map(({ closed }) => closed));
  const [none = 0, group = 0, file = 0, syncedFile = 0] = cpu.map(({ cpuMicros }) => cpuMicros);
  print('a file each costs, times', (file / none).toFixed(1), '(none)', (syncedFile / group).toFixed(1), '(synced)');
}

/** From which size on a file of its own is no dearer than a record. */
async function benchSizes(folder: string): Promise<void> {
  print('CPU µs by size, sync none', 'put: rec.', 'file', 'get: rec.', 'file');
  for (const kib of [64, 128, 256, 512, 1024, 2048, 4096]) {
    const inRecords = await openLocal(join(folder, `r${kib}`), 'none', kib * KIB);
    const inFiles = await openFiles(join(folder, `f${kib}`), 'none');
    const count = Math.max(16, Math.floor((32 * KIB) / kib));
    const cells: Cost[][] = [[], [], [], []];
    for (let round = 0; round < 4; round++) {
      const samples = Array.from({ length: count }, (_, n) => sample(round * count + n, kib * KIB));
      const of = (n: number): Sample => samples[n] ?? sample(0, kib * KIB);
      for (const [at, store] of [inRecords, inFiles].entries()) {
        const put = await measure(count, 8, (n) => store.blobs.putBytes(of(n).digest, of(n).bytes, NEVER));
        const get = await measure(count, 8, (n) => store.blobs.getBytes(of(n).digest, NEVER));
        if (round === 0) continue;
        cells[at]?.push(put);
        cells[at + 2]?.push(get);
      }
    }
    print(`${kib} KiB`, ...cells.map((costs) => micros(median(costs).cpuMicros)));
    await Promise.all([inRecords.close(), inFiles.close()]);
    rmSync(folder, { recursive: true });
  }
}

/** What a process of its own reports, for starts of a store that is not in memory yet. */
interface ChildReport {
  readonly openMs: number;
  readonly blobs: number;
  readonly rssBytes: number;
  readonly indexBytes: number;
  readonly findCpuMicros: number;
  readonly findMicros: number;
}

function inChild(what: string, folder: string): ChildReport | undefined {
  const args = [import.meta.filename, '--child', what, '--dir', folder, '--blobs', String(BLOBS)];
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', maxBuffer: 2 ** 24 });
  if (stderr !== '') throw new Error(stderr);
  return stdout === '' ? undefined : JSON.parse(stdout);
}

function benchMillion(folder: string): void {
  inChild('fill', folder);
  const killed = inChild('look', folder);
  const clean = inChild('look', folder);
  if (killed === undefined || clean === undefined) throw new Error('a child said nothing');
  const perBlob = (bytes: number): string => (bytes / clean.blobs).toFixed(1);
  print(`with ${clean.blobs} blobs`, '');
  print('start after kill -9', `${killed.openMs.toFixed(0)} ms`, `${killed.blobs} blobs`);
  print('start after a clean stop', `${clean.openMs.toFixed(0)} ms`);
  print('findMissing of 1,000', `${(clean.findCpuMicros / 1000).toFixed(3)} ms`, 'CPU', micros(clean.findMicros), 'µs');
  print('index', `${perBlob(clean.indexBytes)} B/blob`, 'counted,', `${perBlob(clean.rssBytes)} B/blob`, 'of RSS');
}

async function child(what: string, folder: string): Promise<void> {
  const rssBefore = process.memoryUsage.rss();
  const startMs = clock.monotonicMs();
  const store = await openLocal(folder, 'none');
  const openMs = clock.monotonicMs() - startMs;
  if (what === 'fill') {
    await measure(BLOBS, IN_FLIGHT, (number) => {
      const { digest, bytes } = sample(number, KIB);
      return store.blobs.putBytes(digest, bytes, NEVER);
    });
    process.kill(process.pid, 'SIGKILL');
  }
  const rssBytes = process.memoryUsage.rss() - rssBefore;
  const { blobs, indexMemoryBytes } = store.stats();
  // Half of them are there; enough different ones that the processor's caches do not hold them.
  const calls = Array.from({ length: 100 }, (_, call) =>
    Array.from({ length: 1000 }, (_, at) => sample(((call * 1000 + at) * 7919) % (2 * BLOBS), KIB).digest),
  );
  await measure(calls.length, 1, (at) => store.blobs.findMissing(calls[at] ?? [], NEVER));
  const find = await measure(calls.length, 1, (at) => store.blobs.findMissing(calls[at] ?? [], NEVER));
  await store.close();
  const { cpuMicros: findCpuMicros, wallMicros: findMicros } = find;
  const report: ChildReport = { openMs, blobs, rssBytes, indexBytes: indexMemoryBytes, findCpuMicros, findMicros };
  process.stdout.write(JSON.stringify(report));
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(values.dir, 'gantry-bench-'));
  try {
    if (values.only.includes('puts')) await benchPuts(join(folder, 'puts'));
    if (values.only.includes('sizes')) await benchSizes(join(folder, 'sizes'));
    if (values.only.includes('million')) benchMillion(join(folder, 'million'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (values.child === undefined) await main();
else await child(values.child, values.dir);
