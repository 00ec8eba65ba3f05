import type { Digest } from '../../../digest/digest.ts';
import {
  DIGEST_FUNCTIONS,
  type DigestFunction,
  digestFunctionToWire,
  hexLength,
} from '../../../digest/digest-function.ts';
import { invariant } from '../../../errors.ts';

/** Bytes of a hash that a key holds. A shorter hash counts as one that ends in zeros. */
export const KEY_BYTES = 32;

/** Words of a key: `KEY_BYTES` as numbers of four bytes. */
export const KEY_WORDS = KEY_BYTES / 4;
const KEY_HEX = KEY_BYTES * 2;

/**
 * What a row of the index is found by: a kind and the first 32 bytes of a hash. It is a scratch: made once and set anew for
 * every use, so that looking a digest up allocates nothing.
 */
export class RowKey {
  /** Number of the digest function, or that of entries. Never 0, which marks a free row. */
  kind = 0;
  /** The hash, four bytes in each, first byte highest: the order of words is the order of hex. */
  readonly words: Uint32Array = new Uint32Array(KEY_WORDS);

  /** Takes the first 64 characters of a hash in lower-case hex, which the caller has checked. */
  setHex(kind: number, hash: string): this {
    const text = hash.length < KEY_HEX ? hash.padEnd(KEY_HEX, '0') : hash;
    this.kind = kind;
    for (let index = 0; index < KEY_WORDS; index++) this.words[index] = hexWord(text, index * 8);
    return this;
  }

  /** Takes 32 bytes. */
  setBytes(kind: number, bytes: Uint8Array, offset = 0): this {
    invariant(bytes.length - offset >= KEY_BYTES, 'a key has 32 bytes');
    this.kind = kind;
    for (let index = 0; index < KEY_WORDS; index++) {
      const at = offset + index * 4;
      this.words[index] =
        ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0);
    }
    return this;
  }

  /** The hash, 64 characters. */
  hex(): string {
    let text = '';
    for (const word of this.words) text += word.toString(16).padStart(8, '0');
    return text;
  }
}

/** The digest function whose number a kind is, or undefined: of entries, and of functions that are not known. */
export function digestFunctionOfKind(kind: number): DigestFunction | undefined {
  return DIGEST_FUNCTIONS.find((fn) => digestFunctionToWire(fn) === kind);
}

/** The digest of the blob that a key names. Only for functions whose whole hash a key holds. @param sizeBytes of the blob. */
export function digestOfKey(key: RowKey, sizeBytes: number): Digest {
  const fn = digestFunctionOfKind(key.kind);
  invariant(fn !== undefined && hexLength(fn) === KEY_HEX, 'a key holds the whole hash of a blob');
  return { function: fn, hash: key.hex(), sizeBytes };
}

/** The word that 8 characters of lower-case hex spell, as 32 bits with a sign. */
export function hexWord(text: string, at: number): number {
  return (
    (nibble(text.charCodeAt(at)) << 28) |
    (nibble(text.charCodeAt(at + 1)) << 24) |
    (nibble(text.charCodeAt(at + 2)) << 20) |
    (nibble(text.charCodeAt(at + 3)) << 16) |
    (nibble(text.charCodeAt(at + 4)) << 12) |
    (nibble(text.charCodeAt(at + 5)) << 8) |
    (nibble(text.charCodeAt(at + 6)) << 4) |
    nibble(text.charCodeAt(at + 7))
  );
}

/** Of a character 0–9 or a–f. Without a table: this was as fast when measured, and needs no cache line. */
function nibble(code: number): number {
  return (code & 15) + 9 * (code >> 6);
}
