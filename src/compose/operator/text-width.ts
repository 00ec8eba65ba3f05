/** Takes no column: marks that go onto the character before, joiners, and what only changes how others look. */
const ZERO_WIDTH = /^[\p{Mn}\p{Me}\p{Cf}\u1160-\u11ff]$/u;

/**
 * Takes two columns (Unicode, East Asian Width W and F, by blocks; and emoji). A block may hold a few narrow characters: taking
 * them for wide leaves a gap, the reverse would push a line over the edge.
 */
const WIDE =
  /^[\u1100-\u115f\u231a\u231b\u2329\u232a\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{16fe0}-\u{18cff}\u{1aff0}-\u{1b2ff}\u{1f000}-\u{1faff}\u{20000}-\u{3fffd}\p{Emoji_Presentation}]$/u;

/** Asks for the coloured, wide form of the character before. */
const EMOJI_SELECTOR = '\ufe0f';

/** What stands for the rest of a text. */
const ELLIPSIS = '…';

/** Columns that a text without control characters takes on a terminal; rather too many than too few. */
export function textWidth(text: string): number {
  // Nearly all texts: nothing beyond ASCII takes no column, or two.
  if (/^[ -~]*$/.test(text)) return text.length;
  let width = 0;
  for (const char of text) width += charWidth(char);
  return width;
}

/** As much of a text as fits, with `…` for the rest. */
export function clippedText(text: string, columns: number): string {
  if (textWidth(text) <= columns) return text;
  if (columns < 1) return '';
  let kept = '';
  let width = 0;
  for (const char of text) {
    width += charWidth(char);
    if (width > columns - 1) break;
    kept += char;
  }
  return `${kept}${ELLIPSIS}`;
}

/** A text that takes exactly so many columns, clipped or filled with blanks. */
export function paddedText(text: string, columns: number, align: 'left' | 'right' = 'left'): string {
  const clipped = clippedText(text, columns);
  const blanks = ' '.repeat(Math.max(0, columns - textWidth(clipped)));
  return align === 'left' ? `${clipped}${blanks}` : `${blanks}${clipped}`;
}

function charWidth(char: string): number {
  if (char === EMOJI_SELECTOR) return 1;
  if (ZERO_WIDTH.test(char)) return 0;
  return WIDE.test(char) ? 2 : 1;
}
