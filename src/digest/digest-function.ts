import { ReapiError } from '../errors.ts';
import { DigestFunction_Value } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';

/** A digest function this server can compute, by its lower-case name as it appears in resource names and keys. */
export type DigestFunction = 'sha256';

interface FunctionFacts {
  /** Value of the `DigestFunction.Value` enum. */
  readonly wire: number;
  readonly hashBytes: number;
  /** Whether a request with function UNKNOWN may mean it, judging by hash length (spec, section 1.3). */
  readonly isInferable: boolean;
  /** Hash of zero bytes (R-CAS-01). */
  readonly emptyHash: string;
}

const FACTS: Readonly<Record<DigestFunction, FunctionFacts>> = {
  sha256: {
    wire: DigestFunction_Value.SHA256,
    hashBytes: 32,
    isInferable: true,
    emptyHash: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  },
};

/** All functions, in the order in which Capabilities announces them (R-CAP-04). */
export const DIGEST_FUNCTIONS: readonly DigestFunction[] = ['sha256'];

/** Value of the `DigestFunction.Value` enum for the wire. */
export function digestFunctionToWire(fn: DigestFunction): DigestFunction_Value {
  return FACTS[fn].wire as DigestFunction_Value;
}

/** Length of the hash in hex characters. */
export function hexLength(fn: DigestFunction): number {
  return FACTS[fn].hashBytes * 2;
}

/** Hash of the empty blob. */
export function emptyHash(fn: DigestFunction): string {
  return FACTS[fn].emptyHash;
}

/** Whether resource names and `MISSING` subjects spell the function as a segment (R-BS, section 3.1; R-EX-40). */
export function needsFunctionSegment(fn: DigestFunction): boolean {
  return !FACTS[fn].isInferable;
}

/** The function called `name`, as spelled in keys and resource names, or undefined. */
export function digestFunctionNamed(name: string): DigestFunction | undefined {
  return DIGEST_FUNCTIONS.find((fn) => fn === name);
}

/**
 * The function a request means: its `digest_function` field, else by the length of its first hash (R-DIG-03).
 * @param hexChars length of a hash in the request; undefined when it has none, then SHA-256 is assumed.
 * @throws invalid-argument for a function that is not offered, or a length that fits none.
 */
export function resolveDigestFunction(wire: number, hexChars: number | undefined): DigestFunction {
  if (wire !== DigestFunction_Value.UNKNOWN) {
    const named = DIGEST_FUNCTIONS.find((fn) => FACTS[fn].wire === wire);
    if (named) return named;
    throw new ReapiError('invalid-argument', `digest function ${wire} is not supported; offered: ${offered()}`, {
      field: 'digest_function',
    });
  }
  if (hexChars === undefined) return 'sha256';
  const inferred = DIGEST_FUNCTIONS.find((fn) => FACTS[fn].isInferable && hexLength(fn) === hexChars);
  if (inferred) return inferred;
  throw new ReapiError('invalid-argument', `no supported digest function has hashes of ${hexChars} hex characters`, {
    field: 'digest_function',
  });
}

function offered(): string {
  return DIGEST_FUNCTIONS.join(', ').toUpperCase();
}
