import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { LocalStore } from '../../src/cas/segment/local-store.ts';
import { isKind } from '../../src/errors.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { FakeClock } from '../support/fake-clock.ts';
import type { Orders } from './kill-orders.ts';
import { Promises } from './promises.ts';
import {
  blobNumbered,
  digestNumbered,
  diskBytesOf,
  entryKey,
  foldersIn,
  TORTURED,
  tortureOptions,
  versionOf,
} from './torture-load.ts';

const CHILD = join(import.meta.dirname, 'kill-child.ts');
const NEVER = new AbortController().signal;

/** Rounds that follow each other in one folder. */
export const ROUNDS_PER_FOLDER = 10;

const START_MS = 1_000_000;

/** What became of a folder. */
export interface FolderVerdict {
  readonly rounds: number;
  readonly acknowledgements: number;
  /** Of the rounds, how many victims were dead before they were done. */
  readonly killed: number;
  /** Lines with what went wrong; empty if nothing did. */
  readonly violations: readonly string[];
}

/**
 * Lets victims (kill-child.ts) work in one folder, each until it is killed, and looks after most of them whether the store keeps
 * what was promised. A victim dies after a number of acknowledgements, by a signal from here, or by its own hand at a certain call to the file
 * system: in the middle of a write, while it starts, closes, makes room. The seed decides all of this.
 */
export async function runFolder(
  folder: string,
  options: { readonly seed: number; readonly sync: Orders['sync']; readonly rounds: number },
): Promise<FolderVerdict> {
  const random = new SeededRandom(options.seed);
  const promises = new Promises(START_MS);
  let killed = 0;
  let acknowledgements = 0;
  let round = 0;
  while (round < options.rounds && promises.violations.length === 0) {
    round++;
    const orders = ordersOf(random, folder, options.sync, promises);
    const dieAfter = orders.dieIn === undefined && random.chance(0.9) ? random.between(1, 300) : undefined;
    promises.beginRound();
    const heard = await runVictim(orders, dieAfter, promises);
    acknowledgements += heard.acknowledgements;
    if (!heard.isDone) killed++;
    const bytes = diskBytesOf(folder);
    if (bytes > TORTURED.maxBytes) promises.violations.push(`${bytes} bytes on disk after the kill`);
    // Sometimes the next victim recovers what this one left.
    if (promises.violations.length === 0 && (random.chance(0.8) || round === options.rounds)) {
      await verify(folder, options.sync, promises, random);
    }
    const failed = `round ${round}, ${JSON.stringify(orders)}${dieAfter === undefined ? '' : `, killed after ${dieAfter}`}`;
    if (promises.violations.length > 0) promises.violations.unshift(failed);
  }
  return { rounds: round, acknowledgements, killed, violations: promises.violations };
}

function ordersOf(random: SeededRandom, folder: string, sync: Orders['sync'], promises: Promises): Orders {
  const half = random.chance(0.5);
  const dieIn = random.chance(0.5)
    ? random.pick<NonNullable<Orders['dieIn']>>([
        { phase: 'open', atCall: random.between(1, 30), half },
        { phase: 'load', atCall: random.between(1, 400), half },
        { phase: 'load', atCall: random.between(1, 400), half },
        { phase: 'prune', atCall: random.between(1, 40), half },
        { phase: 'close', atCall: random.between(1, 20), half },
      ])
    : undefined;
  return {
    folder,
    sync,
    seed: random.between(0, 2 ** 31),
    startMs: promises.nowMs,
    firstNumber: promises.largestNumber + 1000,
    operations: random.between(50, 500),
    prunes: dieIn?.phase === 'prune' || random.chance(0.2),
    ends: dieIn?.phase === 'close' || random.chance(0.3) ? 'cleanly' : 'abruptly',
    ...(dieIn && { dieIn }),
  };
}

/** Runs a victim and hears it to its end. @param dieAfter it is killed when so many acknowledgements have arrived. */
async function runVictim(
  orders: Orders,
  dieAfter: number | undefined,
  promises: Promises,
): Promise<{ readonly acknowledgements: number; readonly isDone: boolean }> {
  const child = spawn(process.execPath, [CHILD, JSON.stringify(orders)], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  let acknowledgements = 0;
  let isDone = false;
  // What was written before the kill took effect is heard too: it was acknowledged as well.
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.endsWith(' end')) isDone = true;
    if (promises.hear(line) && ++acknowledgements === dieAfter) child.kill('SIGKILL');
  }
  await ended;
  if (complaint !== '') promises.violations.push(`the victim failed: ${complaint}`);
  return { acknowledgements, isDone };
}

/** Opens what the victim left and compares it with what it was promised. */
async function verify(folder: string, sync: Orders['sync'], promises: Promises, random: SeededRandom): Promise<void> {
  const clock = new FakeClock(promises.nowMs);
  const options = tortureOptions(clock, sync, (eviction) => promises.evicted(eviction));
  const store = await LocalStore.open(foldersIn(folder), options);
  try {
    const report = await store.check(() => undefined, NEVER);
    for (const { name, reason } of report.damage) promises.violations.push(`damaged: ${name}: ${reason}`);
    const { quarantined, segmentBytes, fileBytes, otherBytes } = store.stats();
    if (quarantined > 0) promises.violations.push(`${quarantined} records were put into quarantine`);
    const bytes = segmentBytes + fileBytes + otherBytes;
    if (bytes > TORTURED.maxBytes) promises.violations.push(`the store counts ${bytes} bytes`);
    const diskBytes = diskBytesOf(folder);
    if (diskBytes > bytes) promises.violations.push(`${diskBytes} bytes on disk, the store counts ${bytes}`);
    for (const number of promises.blobs) await verifyBlob(store, number, promises);
    for (const key of promises.entries) await verifyEntry(store, key, promises);
    const ms = random.pick([0, TORTURED.minRetentionMs, 2 * TORTURED.minRetentionMs]);
    clock.advance(ms);
    promises.passed(ms);
  } finally {
    await store.close();
  }
}

async function verifyBlob(store: LocalStore, number: number, promises: Promises): Promise<void> {
  try {
    const bytes = await store.blobs.getBytes(digestNumbered(number), NEVER);
    if (!blobNumbered(number).equals(bytes)) promises.violations.push(`blob ${number} is torn`);
    else promises.hear(`${promises.nowMs} here ${number}`);
  } catch (error) {
    if (!isKind(error, 'blob-not-found')) throw error;
    promises.missing(number);
  }
}

async function verifyEntry(store: LocalStore, key: number, promises: Promises): Promise<void> {
  const entry = await store.entries.get(entryKey(key), NEVER);
  const version = entry && versionOf(key, entry.value);
  if (entry !== undefined && version === undefined) promises.violations.push(`entry ${key} is torn`);
  else promises.found(key, version);
}
