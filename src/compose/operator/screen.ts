/** A terminal that a program has for itself for a while. */
export interface Screen {
  size(): { readonly columns: number; readonly rows: number };
  /** Calls `handler` when the size has changed. @returns ends it. */
  onResize(handler: () => void): () => void;
  /** Takes keys as they are pressed, without showing them. `handler` gets Ctrl-C as `\x03`. @returns ends it. */
  onKey(handler: (key: string) => void): () => void;
}

/** Turns to another screen than the one with the shell, without a cursor, where long lines do not go on below. */
export const ENTER_SCREEN = '\x1b[?1049h\x1b[?25l\x1b[?7l';

/** Turns back. */
export const LEAVE_SCREEN = '\x1b[?7h\x1b[?25h\x1b[?1049l';

/**
 * Lines from the top of the screen, titles in bold. The terminal shows all of it or nothing, where it knows how, and no line is
 * cleared before it is written: nothing flickers.
 */
export function screenFrame(lines: readonly { readonly text: string; readonly isTitle: boolean }[]): string {
  const texts = lines.map(({ text, isTitle }) => `${isTitle ? `\x1b[1m${text}\x1b[0m` : text}\x1b[K`);
  return `\x1b[?2026h\x1b[H${texts.join('\r\n')}\x1b[J\x1b[?2026l`;
}
