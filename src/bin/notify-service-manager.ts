import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { isReadinessAwaited } from '../config/load.ts';

const run = promisify(execFile);

/** How long the helper may take. */
const TIMEOUT_MS = 5000;

/** How the service manager is told. */
export interface NotifyOptions {
  /** Default: whether it asked, by `NOTIFY_SOCKET`. */
  readonly isAwaited?: boolean;
  /** Default: systemd's own program. */
  readonly program?: string;
}

/**
 * Tells systemd that this process is ready or stopping, if it asked to be told. Node has no datagram sockets for
 * files, so systemd's own program does it; the unit needs `NotifyAccess=all` for that.
 * @returns what went wrong, for people: the service goes on without.
 */
export async function notifyServiceManager(
  state: 'READY=1' | 'STOPPING=1',
  options: NotifyOptions = {},
): Promise<string | undefined> {
  if (!(options.isAwaited ?? isReadinessAwaited())) return undefined;
  try {
    await run(options.program ?? 'systemd-notify', [state], { timeout: TIMEOUT_MS });
    return undefined;
  } catch (error) {
    return `cannot tell the service manager ${state}: ${error instanceof Error ? error.message : String(error)}`;
  }
}
