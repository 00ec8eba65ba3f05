import type { Screen } from '../compose/operator/screen.ts';

/** The part of standard input that a screen uses. */
export interface KeySource {
  readonly isTTY?: boolean;
  setRawMode?(isRaw: boolean): unknown;
  resume(): unknown;
  pause(): unknown;
  on(event: 'data', handler: (bytes: Uint8Array) => void): unknown;
  off(event: 'data', handler: (bytes: Uint8Array) => void): unknown;
}

/** The part of standard output that a screen uses. */
export interface ScreenOutput {
  readonly columns?: number;
  readonly rows?: number;
  on(event: 'resize', handler: () => void): unknown;
  off(event: 'resize', handler: () => void): unknown;
}

/** What a terminal has that does not say how large it is. */
const USUAL_SIZE = { columns: 80, rows: 24 } as const;

/** The terminal around the process. Keys are only taken if standard input is a terminal, too. */
export function terminalScreen(input: KeySource, output: ScreenOutput): Screen {
  return {
    // A terminal may say that it is 0 by 0.
    size: () => ({ columns: output.columns || USUAL_SIZE.columns, rows: output.rows || USUAL_SIZE.rows }),
    onResize: (handler) => {
      output.on('resize', handler);
      return () => {
        output.off('resize', handler);
      };
    },
    onKey: (handler) => {
      if (input.isTTY !== true) return () => undefined;
      const onData = (bytes: Uint8Array): void => handler(Buffer.from(bytes).toString('latin1'));
      input.setRawMode?.(true);
      input.on('data', onData);
      input.resume();
      return () => {
        input.off('data', onData);
        input.setRawMode?.(false);
        input.pause();
      };
    },
  };
}
