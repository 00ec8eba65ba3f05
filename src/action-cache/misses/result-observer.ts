import type { ActionKey } from '../../digest/action-key.ts';
import type { RequestMetadata } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { NotCachedCause, SkipCause, StoreMiss } from './miss.ts';

/**
 * Is told what becomes of action results. Calls are on the hot path: they must be cheap, and must not throw.
 * `metadata` is what the build tool says of its request, if it does.
 */
export interface ResultObserver {
  /** A result was answered. */
  found(key: ActionKey, metadata: RequestMetadata | undefined): void;
  /** There was none that could be used. */
  missed(key: ActionKey, miss: StoreMiss, metadata: RequestMetadata | undefined): void;
  /** An action is run whether or not there is a result. */
  skipped(key: ActionKey, because: SkipCause, metadata: RequestMetadata | undefined): void;
  stored(key: ActionKey, metadata: RequestMetadata | undefined): void;
  /** An action ended without a result that is stored. */
  notStored(key: ActionKey, because: NotCachedCause, metadata: RequestMetadata | undefined): void;
  /** An operator removed the result. */
  removed(key: ActionKey): void;
}
