import type { ActionKey } from '../digest/action-key.ts';
import type { RequestMetadata } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ActionStore, StoredResult } from './action-store.ts';
import type { StoreMiss } from './misses/miss.ts';
import type { ResultObserver } from './misses/result-observer.ts';

/** A store of results, and who is told of what is asked of it. */
export interface ObservedResults {
  readonly actions: ActionStore;
  readonly observer: ResultObserver;
}

/** Looks a result up on behalf of a client, and tells the observer. @throws as the store; then nobody is told. */
export async function lookUpResult(
  { actions, observer }: ObservedResults,
  key: ActionKey,
  metadata: RequestMetadata | undefined,
  signal: AbortSignal,
): Promise<StoredResult | undefined> {
  let why: StoreMiss = { reason: 'absent' };
  const result = await actions.get(key, signal, (miss) => {
    why = miss;
  });
  if (result === undefined) observer.missed(key, why, metadata);
  else observer.found(key, metadata);
  return result;
}

/** Removes a result on behalf of an operator. Whether there was one. @throws unavailable. */
export async function removeResult(
  { actions, observer }: ObservedResults,
  key: ActionKey,
  signal: AbortSignal,
): Promise<boolean> {
  const wasThere = await actions.remove(key, signal);
  if (wasThere) observer.removed(key);
  return wasThere;
}
