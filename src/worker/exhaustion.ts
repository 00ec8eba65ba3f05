import { ReapiError, systemCode } from '../errors.ts';

/** How the system says that there is no room left: on the disk, in a quota of it, in memory. */
const NO_ROOM: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'ENOMEM']);

/**
 * The machine was too small for the action. The response says RESOURCE_EXHAUSTED, which clients try again after a pause
 * as they do INTERNAL (spec section 5.3), and which says what it is to a scheduler that is not ours; ours is told by
 * `WorkerReport.exhausted` as well, because a full CAS is RESOURCE_EXHAUSTED too. Never an exit code: the action may
 * well succeed on a larger machine.
 */
export class MachineTooSmall extends ReapiError {
  constructor(message: string, cause?: unknown) {
    super('quota-exceeded', message, { cause });
  }
}

/**
 * What this machine's disk refused, as a failure of an attempt. `internal` unless the disk is full: not `unavailable`,
 * which is what a server is that may come back.
 * @param what in words, for people; the system's name of the failure is added.
 */
export function diskFailure(what: string, error: unknown): ReapiError {
  if (error instanceof ReapiError) return error;
  const code = systemCode(error) ?? 'unknown';
  if (NO_ROOM.has(code)) return new MachineTooSmall(`${what}: the machine has no room left (${code})`, error);
  return new ReapiError('internal', `${what} (${code})`, { cause: error });
}
