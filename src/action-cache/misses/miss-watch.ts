import type { ActionKey } from '../../digest/action-key.ts';
import { digestPath } from '../../digest/digest.ts';
import type { RequestMetadata } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Log } from '../../system/log.ts';
import type { MissReason, NotCachedCause, SkipCause, StoreMiss } from './miss.ts';
import type { MissHistory } from './miss-history.ts';
import type { ResultObserver } from './result-observer.ts';

/** What one lookup came to: a label of metrics. */
export type LookupOutcome = 'hit' | MissReason;

/** Where what happens to results is shown, beside the history. */
export interface MissWatchOutputs {
  /** Has a line at level debug for every miss. */
  readonly log: Log;
  /** Counts lookups. Must not throw. */
  readonly onLookup: (outcome: LookupOutcome) => void;
}

/** Keeps the history, counts lookups by outcome, and writes misses to the debug log. */
export class MissWatch implements ResultObserver {
  readonly #history: MissHistory;
  readonly #outputs: MissWatchOutputs;

  constructor(history: MissHistory, outputs: MissWatchOutputs) {
    this.#history = history;
    this.#outputs = outputs;
  }

  found(key: ActionKey, metadata: RequestMetadata | undefined): void {
    this.#history.found(key, metadata);
    this.#outputs.onLookup('hit');
  }

  missed(key: ActionKey, miss: StoreMiss, metadata: RequestMetadata | undefined): void {
    this.#show(key, this.#history.missed(key, miss, metadata).reason, metadata);
  }

  skipped(key: ActionKey, because: SkipCause, metadata: RequestMetadata | undefined): void {
    this.#history.skipped(key, because, metadata);
    this.#show(key, 'skipped', metadata);
  }

  stored(key: ActionKey, metadata: RequestMetadata | undefined): void {
    this.#history.stored(key, metadata);
  }

  notStored(key: ActionKey, because: NotCachedCause, metadata: RequestMetadata | undefined): void {
    this.#history.notStored(key, because, metadata);
  }

  removed(key: ActionKey): void {
    this.#history.removed(key);
  }

  #show(key: ActionKey, missReason: MissReason, metadata: RequestMetadata | undefined): void {
    const { log, onLookup } = this.#outputs;
    onLookup(missReason);
    // Asked first, so that a server that does not write these lines does not make them either.
    if (!log.isLevelEnabled('debug')) return;
    const { instance, action } = key;
    const origin = { target: metadata?.targetId, mnemonic: metadata?.actionMnemonic };
    log.debug({ action: digestPath(action), instance, ...origin, missReason }, 'action cache miss');
  }
}
