/**
 * What a node has cached, as a Bloom filter over its large files: `bits` is a power of two of bits, and a digest sets `hashes`
 * of them (see `mayHold`).
 */
export interface CacheSketch {
  readonly bits: Uint8Array;
  readonly hashes: number;
}

/** The largest inputs of an action, the largest first; at most `MAX_SKETCHED_INPUTS`. */
export type InputSketch = readonly { readonly hash: string; readonly sizeBytes: number }[];

/** Most inputs that are looked for on a node: the largest make the difference. */
export const MAX_SKETCHED_INPUTS = 16;

/** Smaller files are not worth waiting for a certain node. */
export const MIN_SKETCHED_BYTES = 64 * 1024;

/** Largest sketch of a node: room for 52,428 files. A thousand nodes take 64 MiB of the scheduler's memory. */
export const MAX_SKETCH_BYTES = 64 * 1024;

/** Most bits for a digest; more would only make looking slower. */
const MAX_HASHES = 16;

/** Bits for each file, or up to twice as many, as their number is a power of two: then 1.2 % are found by mistake, or fewer. */
const BITS_PER_ENTRY = 10;
const HASHES = 4;
const MIN_SKETCH_BYTES = 8;

/**
 * A sketch of these files, about 10 to 20 bits for each. What does not fit into `maxBytes` is left out, the last first, and
 * counts as not held: so the most worthwhile files, the largest or those used last, come first.
 */
export function sketchOf(
  hashes: Iterable<string>,
  { maxBytes }: { readonly maxBytes: number } = { maxBytes: MAX_SKETCH_BYTES },
): CacheSketch {
  const limit = 2 ** Math.floor(Math.log2(Math.max(MIN_SKETCH_BYTES, Math.min(maxBytes, MAX_SKETCH_BYTES))));
  const maxEntries = Math.floor((limit * 8) / BITS_PER_ENTRY);
  const entries: string[] = [];
  for (const hash of hashes) {
    if (entries.length === maxEntries) break;
    entries.push(hash);
  }
  let bytes = MIN_SKETCH_BYTES;
  while (bytes * 8 < entries.length * BITS_PER_ENTRY) bytes *= 2;
  const bits = new Uint8Array(bytes);
  const mask = bytes * 8 - 1;
  for (const hash of entries) {
    const step = stepOf(hash);
    for (let index = 0, at = startOf(hash); index < HASHES; index++, at += step) {
      const bit = at & mask;
      bits[bit >>> 3] = (bits[bit >>> 3] ?? 0) | (1 << (bit & 7));
    }
  }
  return { bits, hashes: HASHES };
}

/**
 * Whether the node may have the file: never false if it was put into the sketch.
 *
 * A digest is uniform already, so its own hex digits say which bits are its: with a = digits 1–8 and b = digits 9–16 made odd,
 * both as numbers, the bits a, a + b, a + 2b, … modulo the number of bits. Bit n is bit n mod 8, the lowest first, of byte n / 8.
 */
export function mayHold({ bits, hashes }: CacheSketch, hash: string): boolean {
  const mask = bits.length * 8 - 1;
  const step = stepOf(hash);
  for (let index = 0, at = startOf(hash); index < hashes; index++, at += step) {
    const bit = at & mask;
    if (((bits[bit >>> 3] ?? 0) & (1 << (bit & 7))) === 0) return false;
  }
  return true;
}

/** How many bytes of these inputs the node probably has. */
export function heldBytes(sketch: CacheSketch, inputs: InputSketch): number {
  let bytes = 0;
  for (const { hash, sizeBytes } of inputs) if (mayHold(sketch, hash)) bytes += sizeBytes;
  return bytes;
}

/** Whether a sketch from outside is one: a power of two of bytes up to `MAX_SKETCH_BYTES`, and 1 to 16 bits for a digest. */
export function isWellFormed(bits: Uint8Array, hashes: number): boolean {
  const bytes = bits.length;
  const isSize = bytes > 0 && bytes <= MAX_SKETCH_BYTES && (bytes & (bytes - 1)) === 0;
  return isSize && Number.isInteger(hashes) && hashes >= 1 && hashes <= MAX_HASHES;
}

/** Collects the largest inputs of an action. */
export class LargestInputs {
  /** Sorted, the largest first: with so few, moving some is cheaper than a heap. */
  readonly #inputs: { readonly hash: string; readonly sizeBytes: number }[] = [];

  /** Takes notice of an input. Nobody may add one twice. */
  add({ hash, sizeBytes }: InputSketch[number]): void {
    if (sizeBytes < MIN_SKETCHED_BYTES) return;
    const last = this.#inputs[MAX_SKETCHED_INPUTS - 1];
    if (last !== undefined && last.sizeBytes >= sizeBytes) return;
    if (last !== undefined) this.#inputs.pop();
    const at = this.#inputs.findIndex((input) => input.sizeBytes < sizeBytes);
    this.#inputs.splice(at < 0 ? this.#inputs.length : at, 0, { hash, sizeBytes });
  }

  /** The largest of those added; of equals the first. */
  get sketch(): InputSketch {
    return [...this.#inputs];
  }
}

function startOf(hash: string): number {
  return Number.parseInt(hash.slice(0, 8), 16) | 0;
}

/** Odd, so that the bits of a digest are all different. */
function stepOf(hash: string): number {
  return Number.parseInt(hash.slice(8, 16), 16) | 1;
}
