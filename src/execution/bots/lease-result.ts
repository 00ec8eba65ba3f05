import {
  type ActionResult,
  ExecutedActionMetadata,
  ExecuteResponse,
} from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { Code } from '../../gen/google/rpc/code.ts';
import type { Status } from '../../gen/google/rpc/status.ts';
import type { ExecutionReport } from '../execution-work.ts';
import { ranMsOf } from '../history/ran-ms.ts';
import type { Completion, Verdict } from '../scheduler/events.ts';

/** How a lease ended, as its bot says. */
export interface LeaseEnd {
  /** Of the lease, not of the command. A bot that sets none, but a result, means OK. */
  readonly status: Status | undefined;
  readonly result: ActionResult | undefined;
  /** The bot said before that it had taken the lease. */
  readonly wasAccepted: boolean;
  /** Named in the result unless the bot did (R-EX, section 5.4). */
  readonly bot: string;
}

/** What another bot would not do better: the action or its inputs are wrong, or it took too long. */
const FINAL: ReadonlySet<number> = new Set([
  Code.INVALID_ARGUMENT,
  Code.DEADLINE_EXCEEDED,
  Code.NOT_FOUND,
  Code.FAILED_PRECONDITION,
  Code.OUT_OF_RANGE,
  Code.UNIMPLEMENTED,
]);

/** By which a bot says that it lacks something which the lease needs; it has not taken the lease then. */
const REFUSALS: ReadonlySet<number> = new Set([Code.FAILED_PRECONDITION, Code.UNIMPLEMENTED]);

/** What a completed lease means for its task (R-RW-10). The server records the result (R-RW-16). */
export function completionOf(end: LeaseEnd): Completion<ExecutionReport> {
  const status = statusOf(end);
  const result = end.result && withMetadata(end.result, end.bot);
  const verdict = verdictOf(end, status.code);
  const ranMs = ranMsOf(result?.executionMetadata);
  return {
    result: { response: ExecuteResponse.fromPartial({ status, result }), isRecordedByWorker: false },
    verdict,
    ...(verdict !== 'success' && { cause: causeOf(end, status) }),
    ...(ranMs !== undefined && { ranMs }),
  };
}

function statusOf({ status, result }: LeaseEnd): Status {
  const code = status?.code ?? Code.OK;
  if (code !== Code.OK && status !== undefined) return status;
  // A success without result would crash Bazel (R-EX-04).
  if (result === undefined) {
    return { code: Code.INTERNAL, message: 'the bot completed its lease without an ActionResult', details: [] };
  }
  return { code: Code.OK, message: '', details: [] };
}

function verdictOf(end: LeaseEnd, code: number): Verdict {
  if (code === Code.OK) return end.result?.exitCode === 0 ? 'success' : 'failure';
  if (code === Code.RESOURCE_EXHAUSTED) return 'exhausted';
  return FINAL.has(code) && !isRefusal(end, code) ? 'failure' : 'worker-fault';
}

/** A bot that works fast is done before it says that it began, so the code has to tell. */
function isRefusal({ result, wasAccepted }: LeaseEnd, code: number): boolean {
  return !wasAccepted && result === undefined && REFUSALS.has(code);
}

function causeOf(end: LeaseEnd, { code, message }: Status): string {
  if (code === Code.OK) return `exit code ${end.result?.exitCode ?? 0}`;
  const said = message === '' ? `status code ${code}` : message;
  return isRefusal(end, code) ? `refused: ${said}` : said;
}

function withMetadata(result: ActionResult, bot: string): ActionResult {
  const metadata = result.executionMetadata ?? ExecutedActionMetadata.fromPartial({});
  return { ...result, executionMetadata: metadata.worker === '' ? { ...metadata, worker: bot } : metadata };
}
