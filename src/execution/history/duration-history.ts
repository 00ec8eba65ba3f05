import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { InstanceName } from '../../digest/instance-name.ts';
import type { RequestMetadata } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Verdict } from '../scheduler/events.ts';
import { addExhaustion, addFailure, addRun, addSuccess, highMs, noRuns, type RunStatistics } from './run-statistics.ts';

/** What is known of an action beside its request metadata. */
export interface HistoryKey {
  readonly instance: InstanceName;
  /** Hash of the Command's digest: it stays when only inputs change. Empty if it is not known. */
  readonly commandHash: string;
}

/** What an attempt taught. */
export interface Lesson {
  /** How long the command ran. Absent: unknown. */
  readonly ranMs?: number | undefined;
  /** Of the machine; 0 is that of machines without size classes. */
  readonly sizeClass: number;
  readonly verdict: Verdict;
}

/** What may be expected of an action. */
export interface Expectation {
  /** Mean of such actions, recent ones weighing more. Absent: unknown. */
  readonly expectedMs?: number;
  /** Longer than that is unusual: about one in twenty. Absent: too few runs to tell. */
  readonly highMs?: number;
  /** The smallest size class that was not too small. Absent: any. */
  readonly sizeClass?: number;
}

/** Bytes of a row's key: the head of a SHA-256. */
export const KEY_BYTES = 16;

/** Where the statistics of an action are: of its own kind, and of all with its mnemonic. */
interface Rows {
  readonly own: string | undefined;
  readonly mnemonic: string | undefined;
}

/**
 * How long actions took, to tell how long their like will take: by instance name, mnemonic and target; for a target
 * that is not known by instance name and mnemonic; without a mnemonic by instance name and command. What size class is large enough is
 * remembered for targets and commands only: one large link says nothing about all others. Bounded, the least recently used
 * going first. Everything takes the same time however much is remembered, and nothing throws.
 */
export class DurationHistory {
  readonly #rows: LRUCache<string, RunStatistics> | undefined;
  #changes = 0;

  /** @param options.maxActions rows that are remembered, of about 200 bytes each; 0 remembers nothing. */
  constructor(options: { readonly maxActions: number }) {
    if (options.maxActions > 0) this.#rows = new LRUCache({ max: options.maxActions });
  }

  /** Rows that are remembered. */
  get size(): number {
    return this.#rows?.size ?? 0;
  }

  /** Rises when something is learned. */
  get changes(): number {
    return this.#changes;
  }

  /** What may be expected of an action. */
  expect(metadata: RequestMetadata | undefined, key: HistoryKey): Expectation {
    if (this.#rows === undefined) return {};
    const rows = rowsOf(metadata, key);
    const own = rows.own === undefined ? undefined : this.#rows.get(rows.own);
    const general = rows.mnemonic === undefined ? undefined : this.#rows.get(rows.mnemonic);
    const known = own !== undefined && own.runs > 0 ? own : general;
    const high = known && highMs(known);
    return {
      ...(known !== undefined && known.runs > 0 && { expectedMs: known.meanMs }),
      ...(high !== undefined && { highMs: high }),
      ...(own !== undefined && own.minSizeClass > 0 && { sizeClass: own.minSizeClass }),
    };
  }

  /** Learns from an attempt that is over. The fault of a worker teaches nothing, and what ran out of room not how long it takes. */
  learn(metadata: RequestMetadata | undefined, key: HistoryKey, lesson: Lesson): void {
    const { ranMs, sizeClass, verdict } = lesson;
    if (this.#rows === undefined || verdict === 'worker-fault') return;
    const rows = rowsOf(metadata, key);
    const own = rows.own === undefined ? undefined : this.#row(rows.own);
    if (own !== undefined && Number.isSafeInteger(sizeClass) && sizeClass >= 0) learnSize(own, verdict, sizeClass);
    if (verdict !== 'exhausted' && ranMs !== undefined && ranMs >= 0) {
      if (own !== undefined) addRun(own, ranMs);
      if (rows.mnemonic !== undefined) addRun(this.#row(rows.mnemonic), ranMs);
    }
    this.#changes++;
  }

  /** All rows with their keys, those used last first. */
  *rows(): Iterable<readonly [key: string, row: RunStatistics]> {
    if (this.#rows !== undefined) yield* this.#rows.entries();
  }

  /** Takes up a row of a former server as the one used last, unless its like is known. */
  restore(key: string, row: RunStatistics): void {
    if (this.#rows !== undefined && !this.#rows.has(key)) this.#rows.set(key, row);
  }

  #row(key: string): RunStatistics {
    const known = this.#rows?.get(key);
    if (known !== undefined) return known;
    const row = noRuns();
    this.#rows?.set(key, row);
    return row;
  }
}

function learnSize(row: RunStatistics, verdict: Verdict, sizeClass: number): void {
  if (verdict === 'exhausted') addExhaustion(row, sizeClass);
  else if (verdict === 'failure') addFailure(row, sizeClass);
  else addSuccess(row, sizeClass);
}

function rowsOf(metadata: RequestMetadata | undefined, { instance, commandHash }: HistoryKey): Rows {
  const mnemonic = metadata?.actionMnemonic ?? '';
  const target = metadata?.targetId ?? '';
  if (mnemonic === '') {
    return { own: commandHash === '' ? undefined : rowKey(['command', instance, commandHash]), mnemonic: undefined };
  }
  return {
    own: target === '' ? undefined : rowKey(['target', instance, mnemonic, target]),
    mnemonic: rowKey(['mnemonic', instance, mnemonic]),
  };
}

/** One byte a character: the shortest string there is for it. Stable, it is stored on disk. */
function rowKey(parts: readonly string[]): string {
  return hash('sha256', parts.join('\0'), 'buffer').toString('latin1', 0, KEY_BYTES);
}
