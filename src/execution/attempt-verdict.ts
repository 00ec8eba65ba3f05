import type { ExecuteResponse } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { Code } from '../gen/google/rpc/code.ts';
import type { Verdict } from './scheduler/events.ts';

/**
 * Faults of the machinery, as of a store that takes no outputs, or none from a worker whose credentials have expired. A timeout, a bad
 * Command or missing inputs would fail again.
 */
const FAULTS: ReadonlySet<number> = new Set([
  Code.CANCELLED,
  Code.UNKNOWN,
  Code.PERMISSION_DENIED,
  Code.RESOURCE_EXHAUSTED,
  Code.ABORTED,
  Code.INTERNAL,
  Code.UNAVAILABLE,
  Code.DATA_LOSS,
  Code.UNAUTHENTICATED,
]);

/** What a worker's response says of the attempt. */
export interface AttemptVerdict {
  readonly verdict: Verdict;
  /** For people; absent after success. */
  readonly cause?: string;
}

/**
 * Faults of the machinery are told apart from failures of the action: another worker may do better with the former.
 * @param isExhausted the worker says that the machine was too small.
 */
export function verdictOf(response: ExecuteResponse, isExhausted: boolean): AttemptVerdict {
  const { result, status } = response;
  const code = status?.code ?? Code.OK;
  const message = status?.message ?? '';
  if (isExhausted) return { verdict: 'exhausted', cause: message === '' ? 'the machine was too small' : message };
  if (code !== Code.OK) {
    return { verdict: FAULTS.has(code) ? 'worker-fault' : 'failure', cause: message };
  }
  // Done without a result would crash Bazel (R-EX-04).
  if (result === undefined) return { verdict: 'worker-fault', cause: 'the worker sent no result' };
  return result.exitCode === 0 ? { verdict: 'success' } : { verdict: 'failure', cause: `exit code ${result.exitCode}` };
}
