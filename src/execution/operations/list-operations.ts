import { type InstanceName, parseInstanceName } from '../../digest/instance-name.ts';
import { ReapiError, throwIfAborted } from '../../errors.ts';
import type { OperationState, Operations } from '../operations.ts';
import { operationFilter } from './operation-filter.ts';
import { orderInPageToken, pageTokenOf } from './page-token.ts';

/** What is asked for, as in `ListOperationsRequest`. */
export interface ListRequest {
  readonly name: string;
  readonly filter: string;
  readonly pageSize: number;
  readonly pageToken: string;
}

/** One page. An empty token ends the list; a page may be empty and still have one. */
export interface ListPage {
  readonly operations: readonly OperationState[];
  readonly nextPageToken: string;
}

/** Most operations in a page. */
const MAX_PAGE_SIZE = 1000;

/** Operations in a page for whoever names no number. */
export const DEFAULT_PAGE_SIZE = 100;

/** What the operations of a page take, unless it is but one, in bytes: the page has to fit into a message of 4 MiB. */
const MAX_PAGE_BYTES = 1024 * 1024;

/** Of an operation, for what is the same in all. */
const OPERATION_BYTES = 256;

/** Operations looked at for one page; then the caller gets what there is, and a token to go on. */
const MAX_LOOKED_AT = 100_000;

/** Operations looked at before other calls have their turn. */
const LOOKED_AT_PER_TURN = 1000;

/** The instance name that a collection belongs to; undefined is all of them. @throws invalid-argument if it is malformed. */
export function instanceOfCollection(name: string): InstanceName | undefined {
  if (name === '' || name === 'operations') return undefined;
  return parseInstanceName(name.endsWith('/operations') ? name.slice(0, -'/operations'.length) : name);
}

/**
 * One page of the operations in memory, the newest first (R-OP-03). Each is given once by a list that is followed to its end, whatever
 * comes and goes meanwhile; what was created after the first page is not in it.
 * @param isAllowed whether the caller may see operations of an instance; asked once for each.
 * @throws invalid-argument for a wrong filter, token, name or page size; cancelled.
 */
export async function listOperations(
  operations: Operations,
  request: ListRequest,
  isAllowed: (instance: InstanceName) => Promise<boolean>,
  signal: AbortSignal,
): Promise<ListPage> {
  const pageSize = pageSizeOf(request.pageSize);
  const instance = instanceOfCollection(request.name);
  const isWanted = operationFilter(request.filter);
  const before = request.pageToken === '' ? undefined : orderInPageToken(request.pageToken, request);
  const allowed = new Map<InstanceName, boolean>();
  const page: OperationState[] = [];
  let bytes = 0;
  let lookedAt = 0;
  for (const state of operations.list(before)) {
    lookedAt++;
    if (lookedAt % LOOKED_AT_PER_TURN === 0) await nextTurn(signal);
    const of = state.key.instance;
    if ((instance === undefined || of === instance) && isWanted(state)) {
      const mayBeSeen = allowed.get(of) ?? (await isAllowed(of));
      allowed.set(of, mayBeSeen);
      if (mayBeSeen) {
        bytes += bytesOf(state);
        const last = page.at(-1);
        if (last !== undefined && (page.length === pageSize || bytes > MAX_PAGE_BYTES)) {
          return { operations: page, nextPageToken: pageTokenOf(last.order, request) };
        }
        page.push(state);
      }
    }
    if (lookedAt === MAX_LOOKED_AT) return { operations: page, nextPageToken: pageTokenOf(state.order, request) };
  }
  return { operations: page, nextPageToken: '' };
}

/** About what an operation takes in a page. Its texts are limited each, but are not small together. */
function bytesOf({ name, ids, slot = '', attempts, response }: OperationState): number {
  const tried = attempts.map((attempt) => attempt.slot + attempt.node + (attempt.end?.cause ?? ''));
  const texts = [name, slot, ...Object.values(ids), ...tried];
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text), OPERATION_BYTES + (response?.length ?? 0));
}

function pageSizeOf(asked: number): number {
  if (asked < 0) throw new ReapiError('invalid-argument', 'page_size is negative', { field: 'page_size' });
  return asked === 0 ? DEFAULT_PAGE_SIZE : Math.min(asked, MAX_PAGE_SIZE);
}

async function nextTurn(signal: AbortSignal): Promise<void> {
  await new Promise(setImmediate);
  throwIfAborted(signal);
}
