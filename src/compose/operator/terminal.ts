import type { Clock } from '../../system/clock.ts';

/** Where an operator command writes. */
export interface Terminal {
  /** Writes text to standard output and standard error. */
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Writes bytes to standard output; resolves when it takes more, with false if nobody reads any more. */
  readonly writeOut: (bytes: Uint8Array) => Promise<boolean>;
  /** Whether people look at standard output and standard error as they are written. */
  readonly isTerminal: { readonly out: boolean; readonly err: boolean };
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/** Text of others without what a terminal would take for a command: control characters are shown as `\x1b`. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}|\p{Bidi_Control}/gu, escaped);
}

/** A value as JSON that may be printed: what is between quotes holds no control characters. */
export function jsonText(value: unknown): string {
  // JSON escapes the other control characters itself; its own line ends stay.
  return `${JSON.stringify(value, undefined, 2).replace(/[\u007f-\u009f]|\p{Bidi_Control}/gu, jsonEscaped)}\n`;
}

function escaped(char: string): string {
  const code = char.charCodeAt(0);
  return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : jsonEscaped(char);
}

function jsonEscaped(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
