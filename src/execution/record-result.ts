import { type ActionStore, resultFromMessage } from '../action-cache/action-store.ts';
import { type StoreResultOptions, storeResult } from '../action-cache/store-result.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { ExecutionReport, ExecutionWork } from './execution-work.ts';

/** Where results go, and how. */
export interface RecordParts extends Omit<StoreResultOptions, 'worker'> {
  readonly actions: ActionStore;
  readonly blobs: BlobStore;
}

/**
 * Files the result of an execution, if it may be cached: the command succeeded, the status is OK, the action does not
 * forbid it (R-AC-12, R-AC-13), and the worker did not do it itself.
 */
export async function recordResult(parts: RecordParts, work: ExecutionWork, report: ExecutionReport): Promise<void> {
  const { result, status } = report.response;
  const mayBeCached = result?.exitCode === 0 && (status?.code ?? 0) === 0 && !work.action.doNotCache;
  if (report.isRecordedByWorker || !mayBeCached) return;
  const { maxResultBytes } = parts;
  // A result has no caller that could lose interest: every waiting client wants it, and so does the next.
  const { signal } = new AbortController();
  await storeResult(parts, work.key, resultFromMessage(result), { maxResultBytes, worker: 'unknown', signal });
}
