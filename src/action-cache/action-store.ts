import type { ActionKey } from '../digest/action-key.ts';
import { ReapiError } from '../errors.ts';
import { ActionResult } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { StoreMiss } from './misses/miss.ts';

/** An action result in both forms. `bytes` is the truth: it keeps fields that our schema does not know. */
export interface StoredResult {
  readonly message: ActionResult;
  readonly bytes: Uint8Array;
}

/** Is told why there is no usable result, once, before `get` answers undefined. Must not throw. */
export type OnMiss = (miss: StoreMiss) => void;

/**
 * Results of actions. A miss is undefined, not an error: misses are normal.
 *
 * Laws (test/support/action-store-contract.ts): a result that was put is got back byte for byte; the last put wins; keys
 * of different instances, functions and sizes are different (R-AC-15, R-AC-16); every miss has exactly one reason, and a
 * hit none; what was removed is absent until the next put.
 */
export interface ActionStore {
  /** @throws unavailable. */
  get(key: ActionKey, signal: AbortSignal, onMiss?: OnMiss): Promise<StoredResult | undefined>;
  /** @throws too-large; quota-exceeded; unavailable. */
  put(key: ActionKey, result: StoredResult, signal: AbortSignal): Promise<void>;
  /** Whether there was one. What it refers to stays. @throws unavailable. */
  remove(key: ActionKey, signal: AbortSignal): Promise<boolean>;
}

/** The stored form of an encoded result. @throws invalid-argument if the bytes are no ActionResult. */
export function resultFromBytes(bytes: Uint8Array): StoredResult {
  try {
    return { message: ActionResult.decode(bytes), bytes };
  } catch (error) {
    throw new ReapiError('invalid-argument', 'the bytes are not an ActionResult message', { cause: error });
  }
}

/** The stored form of a result that we made. */
export function resultFromMessage(message: ActionResult): StoredResult {
  return { message, bytes: ActionResult.encode(message).finish() };
}
