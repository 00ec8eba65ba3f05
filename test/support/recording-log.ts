import { createLog, type Log } from '../../src/system/log.ts';

/** A line of a log, as far as tests look at it: how grave it is, and whether there is one at all. */
export interface LoggedLine {
  readonly level: string;
  readonly msg: string;
}

/** A log whose lines a test can count. */
export function recordingLog(): { readonly log: Log; readonly lines: readonly LoggedLine[] } {
  const lines: LoggedLine[] = [];
  const log = createLog('warn', { write: (line) => void lines.push(JSON.parse(line)) });
  return { log, lines };
}
