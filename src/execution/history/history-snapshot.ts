import { invariant, ReapiError } from '../../errors.ts';
import { DurationHistory as Snapshot } from '../../gen/gantry/v1/duration_history.ts';
import { asBuffer } from '../../system/protobuf-wire.ts';
import { type DurationHistory, KEY_BYTES } from './duration-history.ts';
import { MAX_RUNS, noRuns, type RunStatistics } from './run-statistics.ts';

/** Layout of a row: `duration_history.proto`. Hundreds of thousands of small messages would stop everything else for a while. */
const ROW_BYTES = KEY_BYTES + 20;

/** Tag and length of the rows. */
const OVERHEAD_BYTES = 8;

/** As much of the history as fits, what was used last first. @param maxBytes of the result. */
export function encodeHistory(history: DurationHistory, maxBytes: number): Uint8Array {
  const maxRows = Math.max(0, Math.floor((maxBytes - OVERHEAD_BYTES) / ROW_BYTES));
  const rows = Buffer.alloc(Math.min(maxRows, history.size) * ROW_BYTES);
  let at = 0;
  for (const [key, row] of history.rows()) {
    if (at === rows.length) break;
    writeRow(rows, at, key, row);
    at += ROW_BYTES;
  }
  invariant(at === rows.length, 'a history has as many rows as it says');
  return Snapshot.encode({ rows }).finish();
}

/** Adds what a former server remembered. @throws undecodable if the bytes are damaged; then nothing, or a part, was added. */
export function restoreHistory(history: DurationHistory, bytes: Uint8Array): void {
  const rows = rowsIn(bytes);
  if (rows.length % ROW_BYTES !== 0) throw damaged();
  // The one used last is restored last.
  for (let at = rows.length - ROW_BYTES; at >= 0; at -= ROW_BYTES) {
    history.restore(rows.toString('latin1', at, at + KEY_BYTES), readRow(rows, at));
  }
}

function writeRow(rows: Buffer, at: number, key: string, row: RunStatistics): void {
  rows.write(key, at, KEY_BYTES, 'latin1');
  let next = rows.writeFloatLE(row.meanMs, at + KEY_BYTES);
  next = rows.writeFloatLE(row.logMean, next);
  next = rows.writeFloatLE(row.logVariance, next);
  next = rows.writeUInt32LE(row.runs, next);
  rows.writeUInt32LE(Math.min(row.minSizeClass, 0xffff_ffff), next);
}

function readRow(rows: Buffer, at: number): RunStatistics {
  const start = at + KEY_BYTES;
  const meanMs = rows.readFloatLE(start);
  const logMean = rows.readFloatLE(start + 4);
  const logVariance = rows.readFloatLE(start + 8);
  const isSound = meanMs >= 0 && logVariance >= 0 && Number.isFinite(meanMs + logMean + logVariance);
  if (!isSound) throw damaged();
  const runs = Math.min(rows.readUInt32LE(start + 12), MAX_RUNS);
  return { ...noRuns(), meanMs, logMean, logVariance, runs, minSizeClass: rows.readUInt32LE(start + 16) };
}

function rowsIn(bytes: Uint8Array): Buffer {
  try {
    return asBuffer(Snapshot.decode(bytes).rows);
  } catch (error) {
    throw damaged(error);
  }
}

function damaged(cause?: unknown): ReapiError {
  return new ReapiError('undecodable', 'the stored history of durations is damaged', { cause });
}
