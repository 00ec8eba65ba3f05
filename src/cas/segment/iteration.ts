import { setImmediate as nextTurn } from 'node:timers/promises';
import { digestFunctionToWire, hexLength } from '../../digest/digest-function.ts';
import type { Entry } from '../../entries/entry-store.ts';
import { throwIfAborted } from '../../errors.ts';
import type { FileBlobStore } from '../file-blob-store.ts';
import { ENTRY_KIND, parseRecord } from './log/format.ts';
import { digestFunctionOfKind, KEY_WORDS, RowKey } from './record-index/row-key.ts';
import type { StoreCore } from './store-core.ts';

/** Entries that are read before other work gets its turn: a millisecond or two. */
const ENTRIES_PER_TURN = 256;

/** Visits the blobs of records and files, each once: see `LocalStore.forEachBlob`. */
export function forEachBlob(
  { core, files }: { readonly core: StoreCore; readonly files: FileBlobStore },
  visit: (key: RowKey, sizeBytes: number) => void,
): void {
  const { table } = core.index;
  const key = new RowKey();
  table.forEachRow((row) => {
    const fn = digestFunctionOfKind(table.kind(row));
    if (fn !== undefined) visit(table.readKey(row, key), table.payloadBytes(row) - hexLength(fn) / 2);
  });
  for (const [, { function: fn, hash, sizeBytes }] of files.digestsByHashStart()) {
    key.setHex(digestFunctionToWire(fn), hash);
    // A small blob may have both, if it was uploaded several times at once.
    if (table.find(key) < 0) visit(key, sizeBytes);
  }
}

/** Reads all entries: see `LocalStore.eachEntry`. @throws cancelled; unavailable; what `visit` throws. */
export async function forEachEntry(
  core: StoreCore,
  visit: (key: string, entry: Entry) => void | Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const key = new RowKey();
  // A new value gives an entry another row, which may lie behind whoever goes by rows. Keys stay; 32 bytes each.
  const words = wordsOfEntries(core);
  for (let at = 0; at < words.length; at += KEY_WORDS) {
    if (at % (ENTRIES_PER_TURN * KEY_WORDS) === 0) await nextTurn();
    throwIfAborted(signal);
    core.throwIfClosed();
    key.kind = ENTRY_KIND;
    key.words.set(words.subarray(at, at + KEY_WORDS));
    const row = core.index.table.find(key);
    if (row < 0) continue;
    const place = core.placeOf(row);
    const read = core.readRow(row);
    const record = read instanceof Promise ? await read : read;
    if (record === undefined) continue;
    const parsed = parseRecord(core.mark, record);
    if ('damage' in parsed) core.putAside(key, place, { bytes: record, reason: parsed.damage });
    else await visit(parsed.key.toString(), { value: parsed.data, writtenMs: parsed.header.writtenMs });
  }
}

function wordsOfEntries({ index }: StoreCore): Uint32Array {
  const words = new Uint32Array(index.entries * KEY_WORDS);
  const key = new RowKey();
  let at = 0;
  index.table.forEachRow((row) => {
    if (index.table.kind(row) !== ENTRY_KIND) return;
    words.set(index.table.readKey(row, key).words, at);
    at += KEY_WORDS;
  });
  return words;
}
