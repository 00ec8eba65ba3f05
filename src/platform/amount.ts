/**
 * How amounts of something may be written besides plain decimal numbers.
 *
 * - `bytes`: `4GB`, `512M`, `1.5 GiB`, `4e9`. Every letter is a power of 1024 with or without `i` and `B`: so BuildBuddy reads
 *   `EstimatedMemory`, and the same rule for actions and workers makes both mean the same.
 * - `milli`: `1500m` is 1.5, as Kubernetes and BuildBuddy write processors.
 */
export type AmountUnit = 'bytes' | 'milli';

const PLAIN = /^\d{1,15}(?:\.\d{1,6})?$/;
const BYTES = /^(\d{1,15}(?:\.\d{1,6})?(?:e\d{1,2})?) ?(?:([kmgt])i?b?|b)?$/;
const MILLI = /^(\d{1,12}(?:\.\d{1,3})?)m$/;
const PREFIXES = ['k', 'm', 'g', 't'];

/** Amounts are rounded up to this many decimal places. */
const DECIMALS = 6;

/** A number from 0 to 2^53 − 1, or undefined if the text is none. Bytes are rounded up to whole ones. */
export function parseAmount(text: string, unit?: AmountUnit): number | undefined {
  const amount = readAmount(text, unit);
  return amount !== undefined && amount <= Number.MAX_SAFE_INTEGER ? amount : undefined;
}

/** The amount in larger units if it is a number of bytes for sure, for people: `34359738368 (32 GiB)`. */
export function showAmount(amount: number): string {
  const [unit, size] = [['TiB', 1024 ** 4] as const, ['GiB', 1024 ** 3] as const, ['MiB', 1024 ** 2] as const].find(
    ([, bytes]) => amount >= bytes,
  ) ?? ['', 1];
  // Nothing but bytes is counted in millions.
  return unit === '' ? String(amount) : `${amount} (${Number((amount / size).toFixed(1))} ${unit})`;
}

function readAmount(text: string, unit: AmountUnit | undefined): number | undefined {
  if (unit === 'bytes') {
    const [, digits, prefix = ''] = BYTES.exec(text.toLowerCase()) ?? [];
    return digits === undefined ? undefined : Math.ceil(Number(digits) * 1024 ** (PREFIXES.indexOf(prefix) + 1));
  }
  const milli = unit === 'milli' ? MILLI.exec(text)?.[1] : undefined;
  if (milli !== undefined) return Number((Number(milli) / 1000).toFixed(DECIMALS));
  return PLAIN.test(text) ? Number(text) : undefined;
}
