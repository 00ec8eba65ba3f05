import { type ActionStore, resultFromMessage } from '../action-cache/action-store.ts';
import { executionCauseOf, type NotCachedCause, storeCauseOf } from '../action-cache/misses/miss.ts';
import type { ResultObserver } from '../action-cache/misses/result-observer.ts';
import { type StoreResultOptions, storeResult } from '../action-cache/store-result.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { ErrorKind } from '../errors.ts';
import type { ActionResult } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ExecutionReport, ExecutionWork } from './execution-work.ts';

/** Where results go, and how. */
export interface RecordParts extends Omit<StoreResultOptions, 'worker'> {
  readonly actions: ActionStore;
  readonly blobs: BlobStore;
  readonly observed?: RecordObserver;
}

/** What has to be known of the work whose result is kept. */
export type RecordedWork = Pick<ExecutionWork, 'key' | 'action' | 'requestMetadata'>;

/** Who is told what became of a result. */
export interface RecordObserver {
  readonly observer: ResultObserver;
  /** The kind of failure that a worker means by a status code. */
  readonly kindOfCode: (code: number) => ErrorKind;
}

/**
 * Files the result of an execution, if it may be cached: the command succeeded, the status is OK, the action does not
 * forbid it (R-AC-12, R-AC-13), and the worker did not do it itself.
 */
export async function recordResult(parts: RecordParts, work: RecordedWork, report: ExecutionReport): Promise<void> {
  const { observed, maxResultBytes } = parts;
  const { key, requestMetadata } = work;
  const { result, status } = report.response;
  const code = status?.code ?? 0;
  const mayBeCached = result?.exitCode === 0 && code === 0 && !work.action.doNotCache;
  if (!mayBeCached) {
    observed?.observer.notStored(key, obstacle(work, result, code, observed), requestMetadata);
    return;
  }
  // A worker that stores the result itself does so by a call of its own, which is observed as any other.
  if (report.isRecordedByWorker) return;
  // A result has no caller that could lose interest: every waiting client wants it, and so does the next.
  const { signal } = new AbortController();
  try {
    await storeResult(parts, key, resultFromMessage(result), { maxResultBytes, worker: 'unknown', signal });
  } catch (error) {
    observed?.observer.notStored(key, storeCauseOf(error), requestMetadata);
    throw error;
  }
  observed?.observer.stored(key, requestMetadata);
}

/** Why a result may not be cached. */
function obstacle(
  work: RecordedWork,
  result: ActionResult | undefined,
  code: number,
  { kindOfCode }: RecordObserver,
): NotCachedCause {
  if (code !== 0) return executionCauseOf(kindOfCode(code));
  if (result === undefined) return { kind: 'worker-failed' };
  return work.action.doNotCache ? { kind: 'do-not-cache' } : { kind: 'exit-code', exitCode: result.exitCode };
}
