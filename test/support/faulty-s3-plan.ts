import { SeededRandom } from '../simulation/seeded-random.ts';
import type { S3Operation } from './faulty-s3-operation.ts';

/** A request as a plan sees it. */
export interface PlannedRequest {
  readonly method: string;
  /** `/bucket/key` as on the wire, without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly operation: S3Operation;
  /** Requests since the plan was set; the first is 0. */
  readonly index: number;
}

/**
 * What goes wrong with one request, and what whoever talks to S3 must survive:
 *
 * - `status`: refused with an error of S3, and nothing was done.
 * - `fail-after`: it was done, and the connection is reset instead of an answer. Doing it again must be harmless.
 * - `reset`: the connection breaks after so many bytes of the body of the request (it is not done) or of the answer (it is). As always
 *   with TCP, what the client has not read by then is lost: a slow one gets fewer bytes, or not even the head.
 * - `stall`: nothing moves after so many bytes, until `release` or until somebody gives up.
 * - `slow-first-byte`: done at once, but the answer begins late.
 * - `truncate`: the answer ends after so many bytes although it promised more.
 * - `shorten`: the answer of a GetObject is so many bytes long and says so: only who knows the length notices.
 * - `corrupt`: one bit of the answer of a GetObject is wrong. Only who verifies notices.
 *
 * A body that is not longer than `afterBytes` loses its last byte, and a message without a body is cut before it begins: a planned fault
 * happens. Only `shorten` and `corrupt` need an answer of GetObject that has bytes.
 */
export type Fault =
  | { readonly kind: 'status'; readonly status: number; readonly code: string }
  | { readonly kind: 'fail-after' }
  | { readonly kind: 'reset' | 'stall'; readonly of: 'request' | 'response'; readonly afterBytes: number }
  | { readonly kind: 'slow-first-byte'; readonly ms: number }
  | { readonly kind: 'truncate'; readonly afterBytes: number }
  | { readonly kind: 'shorten'; readonly afterBytes: number }
  | { readonly kind: 'corrupt'; readonly atByte: number };

/** Decides about one request; undefined lets it pass. */
export type FaultPlan = (request: PlannedRequest) => Fault | undefined;

/** Probability of each kind, in [0, 1]; their sum is at most 1. */
export type FaultRates = Readonly<Partial<Record<Fault['kind'], number>>>;

/** Refusals that S3 documents as passing. */
const PASSING: readonly [Fault, ...Fault[]] = [
  { kind: 'status', status: 500, code: 'InternalError' },
  { kind: 'status', status: 503, code: 'SlowDown' },
  { kind: 'status', status: 503, code: 'ServiceUnavailable' },
  { kind: 'status', status: 400, code: 'RequestTimeout' },
];

/** How far into a body a drawn fault may be: 2 to this power of bytes, 4 MiB. */
const MAX_AFTER_BYTES_LOG2 = 22;

/** How late a drawn answer may begin. */
const MAX_SLOW_MS = 2_000;

/**
 * Draws faults by seed. The fault of a request depends on its number alone, so that a request that comes earlier or later does not change
 * what happens to the others. Byte positions are drawn evenly over powers of two: small bodies are cut, too.
 */
export function seededPlan(seed: number, rates: FaultRates): FaultPlan {
  return ({ index }) => {
    const random = new SeededRandom(Math.imul(seed, 1_000_003) + index);
    let left = random.fraction();
    for (const [kind, rate] of Object.entries(rates)) {
      left -= rate;
      if (left < 0) return drawn(kind, random);
    }
    return undefined;
  };
}

function drawn(kind: string, random: SeededRandom): Fault {
  const afterBytes = Math.floor(2 ** (random.fraction() * MAX_AFTER_BYTES_LOG2)) - 1;
  switch (kind) {
    case 'status':
      return random.pick(PASSING);
    case 'fail-after':
      return { kind };
    case 'reset':
    case 'stall':
      return { kind, of: random.pick(['request', 'response']), afterBytes };
    case 'slow-first-byte':
      return { kind, ms: random.between(1, MAX_SLOW_MS) };
    case 'truncate':
    case 'shorten':
      return { kind, afterBytes };
    case 'corrupt':
      return { kind, atByte: afterBytes };
    default:
      throw new Error(`no such fault: ${kind}`);
  }
}
