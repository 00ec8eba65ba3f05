import { z } from 'zod';

/** Bytes in one of each unit that a size may be written in. Bare letters (`20G`) are refused: people mean both by them. */
const BYTES_PER_UNIT: ReadonlyMap<string, number> = new Map([
  ['b', 1],
  ['kb', 1000],
  ['mb', 1000 ** 2],
  ['gb', 1000 ** 3],
  ['tb', 1000 ** 4],
  ['kib', 1024],
  ['mib', 1024 ** 2],
  ['gib', 1024 ** 3],
  ['tib', 1024 ** 4],
]);

/** Bytes in one kibibyte. */
export const KIB = 1024;
/** Bytes in one mebibyte. */
export const MIB = 1024 ** 2;
/** Bytes in one gibibyte. */
export const GIB = 1024 ** 3;

/**
 * Bytes from text: a whole number, or a number with a unit (`20GiB`, `1.5 MB`, case ignored).
 * The one parser for configuration files, environment variables and flags. Undefined if it is not a size.
 */
export function parseSize(text: string): number | undefined {
  const [, digits, unit = 'b'] = /^\s*(\d+(?:\.\d+)?)\s*([a-z]+)?\s*$/i.exec(text) ?? [];
  const factor = BYTES_PER_UNIT.get(unit.toLowerCase());
  if (digits === undefined || factor === undefined) return undefined;
  const bytes = Number(digits) * factor;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Shortest exact way to write a number of bytes: `20 GiB`, `1536 MiB`, `7 B`. */
export function formatSize(bytes: number): string {
  for (const [unit, factor] of [
    ['TiB', 1024 * GIB],
    ['GiB', GIB],
    ['MiB', MIB],
    ['KiB', KIB],
  ] as const) {
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor} ${unit}`;
  }
  return `${bytes} B`;
}

/** Range and default of a number. */
interface Range {
  readonly min: number;
  readonly max: number;
  readonly by: number;
}

/** A size in bytes, written as a number or with a unit. */
export function size(range: Range, description: string) {
  const bytes = z.int().min(range.min).max(range.max).meta({ unit: 'bytes' });
  return z.preprocess(readSize, bytes).default(range.by).describe(description);
}

/** A whole number of seconds. */
export function seconds(range: Range, description: string) {
  return z.int().min(range.min).max(range.max).meta({ unit: 'seconds' }).default(range.by).describe(description);
}

/** A whole number of things. */
export function count(range: Range, description: string) {
  return z.int().min(range.min).max(range.max).default(range.by).describe(description);
}

/** Turns text into bytes for `size`; other values pass, so that their type is reported by the schema. */
function readSize(value: unknown, context: z.RefinementCtx): unknown {
  if (typeof value !== 'string') return value;
  const bytes = parseSize(value);
  if (bytes !== undefined) return bytes;
  const message = `"${value}" is not a size; write bytes, or a number with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB`;
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
}
