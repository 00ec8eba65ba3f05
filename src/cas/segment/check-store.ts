import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Digest, digestKey } from '../../digest/digest.ts';
import { digestOf } from '../../digest/hasher.ts';
import { throwIfAborted } from '../../errors.ts';
import type { FileBlobStore } from '../file-blob-store.ts';
import { ENTRY_KIND, parseRecord, type RecordMark, recordBytes } from './log/format.ts';
import type { Segments } from './log/segments.ts';
import { digestFunctionOfKind, RowKey } from './record-index/row-key.ts';
import type { StoreCore } from './store-core.ts';
import { type CheckReport, type Damage, MAX_REPORTED_DAMAGE, type StoreProgress } from './store-report.ts';

/** Bytes that are checked before other work gets its turn: a few milliseconds. */
const TURN_BYTES = 4 * 1024 * 1024;

/** What is checked. */
export interface CheckParts {
  readonly core: StoreCore;
  readonly segments: Segments;
  readonly files: FileBlobStore;
}

/** Reads all records and files and compares them with their checksums and digests. @throws cancelled; unavailable. */
export function checkStore(
  parts: CheckParts,
  onProgress: (progress: StoreProgress) => void,
  signal: AbortSignal,
): Promise<CheckReport> {
  return new Check(parts, onProgress, signal).run();
}

class Check {
  readonly #parts: CheckParts;
  readonly #onProgress: (progress: StoreProgress) => void;
  readonly #signal: AbortSignal;
  readonly #key = new RowKey();
  readonly #damage: Damage[] = [];
  #damaged = 0;
  #blobs = 0;
  #entries = 0;
  #doneBytes = 0;
  #turnBytes = 0;
  readonly #totalBytes: number;

  constructor(parts: CheckParts, onProgress: (progress: StoreProgress) => void, signal: AbortSignal) {
    this.#parts = parts;
    this.#onProgress = onProgress;
    this.#signal = signal;
    this.#totalBytes = parts.core.index.liveBytes + parts.files.stats().bytes;
  }

  async run(): Promise<CheckReport> {
    for (const segment of [...this.#parts.segments]) await this.#checkSegment(segment.id);
    for (const { digest, diskBytes } of [...this.#parts.files.inOrder()]) {
      this.#parts.core.throwIfClosed();
      await this.#checkFile(digest);
      await this.#advance(diskBytes);
    }
    this.#onProgress({ doneBytes: this.#totalBytes, totalBytes: this.#totalBytes });
    return {
      blobs: this.#blobs,
      entries: this.#entries,
      bytes: this.#doneBytes,
      damaged: this.#damaged,
      damage: this.#damage,
    };
  }

  async #checkSegment(id: number): Promise<void> {
    const { table } = this.#parts.core.index;
    const places = table.rowsOf(id).map((row) => ({ row, offset: table.offset(row) }));
    for (const { row, offset } of places) {
      // The store goes on meanwhile: what was moved or evicted is no longer of interest here.
      if (table.kind(row) === 0 || table.segment(row) !== id || table.offset(row) !== offset) continue;
      this.#parts.core.throwIfClosed();
      const bytes = recordBytes(table.payloadBytes(row));
      await this.#checkRow(row);
      await this.#advance(bytes);
    }
  }

  async #checkRow(row: number): Promise<void> {
    const { core } = this.#parts;
    const { kind } = core.index.table.readKey(row, this.#key);
    const hash = this.#key.hex();
    if (kind === ENTRY_KIND) this.#entries++;
    else this.#blobs++;
    const place = core.placeOf(row);
    const record = await core.readRow(row);
    const reason = record === undefined ? 'it cannot be read' : damageOf(core.mark, record, { kind, hash });
    if (reason === undefined) return;
    core.putAside(this.#key.setHex(kind, hash), place, { bytes: record, reason });
    const what = kind === ENTRY_KIND ? 'entry' : 'blob';
    this.#report({ what, name: what === 'entry' ? `the entry whose key hashes to ${hash}` : hash, reason });
  }

  async #checkFile(digest: Digest): Promise<void> {
    this.#blobs++;
    const reason = await this.#parts.files.damageOf(digest, this.#signal);
    if (reason !== undefined) this.#report({ what: 'blob', name: digestKey(digest), reason });
  }

  #report(damage: Damage): void {
    this.#damaged++;
    if (this.#damage.length < MAX_REPORTED_DAMAGE) this.#damage.push(damage);
  }

  async #advance(bytes: number): Promise<void> {
    this.#doneBytes += bytes;
    this.#turnBytes += bytes;
    if (this.#turnBytes < TURN_BYTES) return;
    this.#turnBytes = 0;
    this.#onProgress({ doneBytes: Math.min(this.#doneBytes, this.#totalBytes), totalBytes: this.#totalBytes });
    await nextTurn();
    throwIfAborted(this.#signal);
  }
}

function damageOf(
  mark: RecordMark,
  record: Buffer,
  { kind, hash }: { readonly kind: number; readonly hash: string },
): string | undefined {
  const parsed = parseRecord(mark, record);
  if ('damage' in parsed) return parsed.damage;
  if (kind === ENTRY_KIND) return undefined;
  const fn = digestFunctionOfKind(kind);
  if (fn === undefined) return `its digest function ${kind} is not known`;
  const actual = digestOf(fn, parsed.data).hash;
  return actual.startsWith(hash) ? undefined : 'its bytes do not have its digest';
}
