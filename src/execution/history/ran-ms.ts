import type { ExecutedActionMetadata } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { millisecondsOf } from '../operations/wire-times.ts';

/**
 * How long a command ran: by the clock that enforces its timeout if the worker says so (R-EX-52), else from start to end.
 * @returns undefined if the worker does not say, or says nonsense.
 */
export function ranMsOf(metadata: ExecutedActionMetadata | undefined): number | undefined {
  const virtual = metadata?.virtualExecutionDuration;
  if (virtual !== undefined) return sensible(millisecondsOf(virtual));
  const start = metadata?.executionStartTimestamp;
  const end = metadata?.executionCompletedTimestamp;
  return start && end && sensible(millisecondsOf(end) - millisecondsOf(start));
}

function sensible(ms: number): number | undefined {
  return ms >= 0 ? ms : undefined;
}
