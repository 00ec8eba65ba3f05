import { readFileSync } from 'node:fs';
import { ReapiError } from '../../errors.ts';

/** Linux takes no longer argument or variable: 32 pages, with the closing zero. */
const MAX_STRING_BYTES = 131_072;

/** Bounds Linux sets around a quarter of the stack's limit. */
const MIN_TOTAL_BYTES = 131_072;
const MAX_TOTAL_BYTES = 6 * 1024 * 1024;

/** A pointer for every string, and room for what starts the command: `env`, `setsid` and the paths of both. */
const POINTER_BYTES = 8;
const RESERVED_BYTES = 8192;

/** Total on a machine that does not say: a quarter of the usual stack of 8 MiB. */
const USUAL_TOTAL_BYTES = 2 * 1024 * 1024;

let known: number | undefined;

/**
 * Refuses what the system would refuse (E2BIG), so that it does not look like an exit code of the command.
 * @throws invalid-argument.
 */
export function checkArgumentSize(words: readonly string[], environment: ReadonlyMap<string, string>): void {
  let sizeBytes = RESERVED_BYTES;
  const add = (bytes: number, field: string): void => {
    if (bytes > MAX_STRING_BYTES) throw tooLong(field, `${bytes} bytes, and the system takes ${MAX_STRING_BYTES}`);
    sizeBytes += bytes + POINTER_BYTES;
  };
  for (const word of words) add(Buffer.byteLength(word) + 1, 'arguments');
  for (const [name, value] of environment) {
    add(Buffer.byteLength(name) + Buffer.byteLength(value) + 2, 'environment_variables');
  }
  known ??= totalBytes();
  if (sizeBytes > known) {
    const what = `${sizeBytes} bytes with all variables, and this worker's system takes ${known}`;
    throw tooLong('arguments', what);
  }
}

function totalBytes(): number {
  let limits: string;
  try {
    limits = readFileSync('/proc/self/limits', 'latin1');
  } catch {
    // Not Linux.
    return USUAL_TOTAL_BYTES;
  }
  const [, stack] = /^Max stack size +(\d+|unlimited)/m.exec(limits) ?? [];
  if (stack === undefined) return USUAL_TOTAL_BYTES;
  const quarter = stack === 'unlimited' ? MAX_TOTAL_BYTES : Number(stack) / 4;
  return Math.min(MAX_TOTAL_BYTES, Math.max(MIN_TOTAL_BYTES, Math.floor(quarter)));
}

function tooLong(field: string, what: string): ReapiError {
  return new ReapiError('invalid-argument', `${field}: too long: ${what}`, { field });
}
