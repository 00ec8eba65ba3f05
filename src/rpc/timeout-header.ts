import type { IncomingHttpHeaders } from 'node:http2';

const HEADER = 'grpc-timeout';

/** In milliseconds; the units of the gRPC protocol. */
const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** The longest that grpc-js counts right: it truncates milliseconds to 31 bits. Almost 25 days. */
const LONGEST = { text: '596H', ms: 596 * 3_600_000 };

/**
 * Shortens a `grpc-timeout` that grpc-js would overflow, which makes a call of a month fail at once. Everything
 * else is left as it is, malformed values too: grpc-js refuses them. Call it before grpc-js sees the headers.
 */
export function capTimeout(headers: IncomingHttpHeaders): void {
  const value = headers[HEADER];
  const [, digits, unit] = (typeof value === 'string' && /^(\d{1,8})([HMSmun])$/.exec(value)) || [];
  if (Number(digits) * (UNITS[unit ?? ''] ?? 0) > LONGEST.ms) headers[HEADER] = LONGEST.text;
}
