import { clippedText, paddedText, textWidth } from './text-width.ts';

/** One column of a table. */
export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
  /** Whether it is made narrower when the table is too wide. */
  readonly isFlexible?: boolean;
}

/** Between two columns. */
const GAP = '  ';

/** A flexible column is not made narrower than this. */
const MIN_FLEXIBLE = 8;

/**
 * A table of at most `width` columns, titles first: every column as wide as its widest cell, flexible ones less if the table would be too
 * wide; what is too wide even so is cut. Cells hold no control characters. No line ends with a blank.
 */
export function tableLines(columns: readonly Column[], rows: readonly (readonly string[])[], width: number): string[] {
  const cells = [columns.map(({ title }) => title), ...rows];
  const widths = columns.map((_, index) => Math.max(...cells.map((row) => textWidth(row[index] ?? ''))));
  narrow(columns, widths, width);
  return cells.map((row) => {
    const line = columns.map(({ align }, index) => paddedText(row[index] ?? '', widths[index] ?? 0, align)).join(GAP);
    return clippedText(line.trimEnd(), width);
  });
}

/** Takes columns from the widest flexible one until the table fits or there is nothing to take. */
function narrow(columns: readonly Column[], widths: number[], width: number): void {
  let excess = widths.reduce((sum, each) => sum + each + GAP.length, -GAP.length) - width;
  while (excess > 0) {
    let widest = -1;
    for (const [index, column] of columns.entries()) {
      const isNarrowable = column.isFlexible === true && (widths[index] ?? 0) > MIN_FLEXIBLE;
      if (isNarrowable && (widths[index] ?? 0) > (widths[widest] ?? 0)) widest = index;
    }
    if (widest < 0) return;
    widths[widest] = (widths[widest] ?? 0) - 1;
    excess--;
  }
}
