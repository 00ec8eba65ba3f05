import { type ActionKey, actionKeyText } from '../digest/action-key.ts';
import { isKind, throwIfAborted } from '../errors.ts';
import type { OperationState, Operations } from '../execution/operations.ts';
import { ExecuteResponse } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { Code } from '../gen/google/rpc/code.ts';
import type { ExplanationSource, KnownOperation } from './operation-explanations.ts';

/** Operations looked at before other calls have their turn. */
const LOOKED_AT_PER_TURN = 1_000;

const CODE_NAMES: ReadonlyMap<number, string> = new Map(Object.entries(Code).map(([name, code]) => [code, name]));

/** What explanations need to know of operations: those of before a restart are found by name only. */
export function knownOperations(
  operations: Pick<Operations, 'find' | 'list'>,
): Pick<ExplanationSource, 'findOperation' | 'finishedOf'> {
  return {
    findOperation: async (name, signal) => {
      try {
        return knownOperation(await operations.find(name, signal));
      } catch (error) {
        if (isKind(error, 'operation-not-found')) return undefined;
        throw error;
      }
    },
    finishedOf: async (key, limit, signal) => finishedOf(operations, key, { limit, signal }),
  };
}

async function finishedOf(
  operations: Pick<Operations, 'list'>,
  key: ActionKey,
  { limit, signal }: { readonly limit: number; readonly signal: AbortSignal },
): Promise<readonly KnownOperation[]> {
  const text = actionKeyText(key);
  const found: KnownOperation[] = [];
  let lookedAt = 0;
  for (const state of operations.list()) {
    if (
      state.response !== undefined &&
      state.key.action.hash === key.action.hash &&
      actionKeyText(state.key) === text
    ) {
      found.push(knownOperation(state));
      if (found.length === limit) return found;
    }
    lookedAt++;
    if (lookedAt % LOOKED_AT_PER_TURN === 0) {
      await new Promise(setImmediate);
      throwIfAborted(signal);
    }
  }
  return found;
}

function knownOperation({ name, key, createdAtMs, finishedAtMs, attempts, response }: OperationState): KnownOperation {
  if (response === undefined) return { name, key, createdAtMs };
  return { name, key, createdAtMs, ended: { atMs: finishedAtMs ?? createdAtMs, how: endingOf(response), attempts } };
}

/** How it ended, for people. */
function endingOf(response: Uint8Array): string {
  const { status, result, cachedResult } = ExecuteResponse.decode(response);
  if (status !== undefined && status.code !== Code.OK) {
    const code = CODE_NAMES.get(status.code) ?? `code ${status.code}`;
    return status.message === '' ? code : `${code}, ${status.message}`;
  }
  const exit = `exit code ${result?.exitCode ?? 0}`;
  return cachedResult ? `${exit}, answered from the cache` : exit;
}
