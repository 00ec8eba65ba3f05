import { type DestinationStream, type Logger, pino } from 'pino';

/** Structured log lines. One JSON object a line, on stdout or stderr. */
export type Log = Logger;

/** Severity from which lines are written. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** A log that writes synchronously, so that the last lines before a crash are not lost. Authorization headers never appear. */
export function createLog(level: LogLevel, destination?: DestinationStream): Log {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: ['authorization', '*.authorization'],
  };
  return pino(options, destination ?? pino.destination({ fd: 2, sync: true }));
}

/** Writes nothing; for tests and library use. */
export const NO_LOG: Log = pino({ level: 'silent' });
