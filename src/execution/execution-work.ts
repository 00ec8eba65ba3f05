import type { ActionKey } from '../digest/action-key.ts';
import type {
  Action,
  ExecuteResponse,
  RequestMetadata,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { HistoryKey } from './history/duration-history.ts';

/** What a worker needs to run an action: the scheduler's `Work`. */
export interface ExecutionWork {
  readonly key: ActionKey;
  /** As uploaded, but with the timeout always set (R-BB-12). */
  readonly action: Action;
  readonly timeoutMs: number;
  /** Of the client that asked first, handed on to the worker (R-BB-26). */
  readonly requestMetadata: RequestMetadata | undefined;
}

/** What is remembered of an action goes by. */
export function historyKey({ key, action }: Pick<ExecutionWork, 'key' | 'action'>): HistoryKey {
  return { instance: key.instance, commandHash: action.commandDigest?.hash ?? '' };
}

/** What a worker reports: the scheduler's `Result`. */
export interface ExecutionReport {
  readonly response: ExecuteResponse;
  /** The worker writes the action cache itself (R-BW-07); then we do not. */
  readonly isRecordedByWorker: boolean;
}
