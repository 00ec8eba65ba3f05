import type { Principal } from '../auth/principal.ts';
import type { RequestMetadata } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';

/** What a handler knows of the call it serves, beside the messages. */
export interface Call {
  /** `/package.Service/Method`. */
  readonly path: string;
  /** Aborts when the caller cancels or vanishes, when the deadline passes, and when the server is forced to stop. */
  readonly signal: AbortSignal;
  readonly principal: Principal;
  /** What the build tool says of itself (R-XC-01); undefined if absent or undecodable. */
  readonly requestMetadata: RequestMetadata | undefined;
  /** Wall-clock milliseconds; undefined if the caller set no deadline (R-XC-09). */
  readonly deadlineMs: number | undefined;
  /** The first value of a request header as text, or undefined. Names are lower-case. */
  header(name: string): string | undefined;
}
