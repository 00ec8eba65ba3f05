/**
 * CPU time of one put and one get of a small blob: `node bench/store.ts [blobs] [bytes] [folder]`. Prints one JSON line per store.
 * The put includes hashing and publication; nothing is synced unless the line says so.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlobStore } from '../src/cas/blob-store.ts';
import { FileBlobStore } from '../src/cas/file-blob-store.ts';
import { MemoryBlobStore } from '../src/cas/memory-blob-store.ts';
import type { Digest } from '../src/digest/digest.ts';
import { digestOf } from '../src/digest/hasher.ts';
import { SystemClock } from '../src/system/clock.ts';
import { NO_LOG } from '../src/system/log.ts';

const NEVER = new AbortController().signal;
const COUNT = Number(process.argv[2] ?? 20_000);
const SIZE_BYTES = Number(process.argv[3] ?? 1024);
const clock = new SystemClock();

interface Cost {
  readonly cpuMicros: number;
  readonly wallMicros: number;
}

async function measure(count: number, step: (at: number) => Promise<unknown>): Promise<Cost> {
  const startMs = clock.monotonicMs();
  const before = process.cpuUsage();
  for (let at = 0; at < count; at++) await step(at);
  const { user, system } = process.cpuUsage(before);
  const wallMicros = ((clock.monotonicMs() - startMs) * 1000) / count;
  return { cpuMicros: round((user + system) / count), wallMicros: round(wallMicros) };
}

function round(micros: number): number {
  return Math.round(micros * 10) / 10;
}

async function bench(name: string, store: BlobStore, count: number): Promise<void> {
  const blobs = Array.from({ length: count }, (_, at) => {
    const bytes = Buffer.alloc(SIZE_BYTES, `${name} ${at} `);
    return { bytes, digest: digestOf('sha256', bytes) };
  });
  const at = (index: number): { readonly bytes: Buffer; readonly digest: Digest } => blobs[index] ?? raise();
  const put = await measure(count, (index) => store.putBytes(at(index).digest, at(index).bytes, NEVER));
  const get = await measure(count, (index) => store.getBytes(at(index).digest, NEVER));
  const find = await measure(count, (index) => store.findMissing([at(index).digest], NEVER));
  process.stdout.write(`${JSON.stringify({ store: name, count, sizeBytes: SIZE_BYTES, put, get, find })}\n`);
}

function raise(): never {
  throw new Error('out of range');
}

const folder = mkdtempSync(join(process.argv[4] ?? tmpdir(), 'gantry-bench-'));
try {
  await bench('memory', new MemoryBlobStore({ maxBytes: 2 ** 31 }), COUNT);
  for (const sync of ['none', 'file'] as const) {
    const store = await FileBlobStore.open(join(folder, sync), { clock, log: NO_LOG, maxBytes: 2 ** 33, sync });
    await bench(`file, sync ${sync}`, store, sync === 'none' ? COUNT : Math.ceil(COUNT / 20));
    const startMs = clock.monotonicMs();
    await store.close();
    const closedMs = clock.monotonicMs();
    const options = { clock, log: NO_LOG, maxBytes: 2 ** 33, sync };
    const again = await FileBlobStore.open(join(folder, sync), options);
    const openedMs = clock.monotonicMs();
    await FileBlobStore.open(join(folder, sync), options);
    const restart = {
      store: `file, sync ${sync}`,
      files: again.stats().files,
      closeMs: round(closedMs - startMs),
      openMs: round(openedMs - closedMs),
      openAfterCrashMs: round(clock.monotonicMs() - openedMs),
    };
    process.stdout.write(`${JSON.stringify(restart)}\n`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
