import { ANONYMOUS } from '../../src/auth/principal.ts';
import type { Call } from '../../src/rpc/call.ts';

/** A call without credentials, headers or deadline; `overrides` says what is different about this one. */
export function fakeCall(overrides: Partial<Call> = {}): Call {
  return {
    path: '/test.Service/Method',
    signal: new AbortController().signal,
    principal: ANONYMOUS,
    requestMetadata: undefined,
    deadlineMs: undefined,
    header: () => undefined,
    ...overrides,
  };
}
