import { type Digest, parseDigest } from '../digest/digest.ts';
import { digestFunctionNamed } from '../digest/digest-function.ts';
import { isKind } from '../errors.ts';

/** `<hash>-<size>-<function>`: begins with the fan-out folder's two characters and tells the size at start. */
export function fileName(digest: Digest): string {
  return `${digest.hash}-${digest.sizeBytes}-${digest.function}`;
}

/** The digest in a file's name, or undefined if it is no name of ours. */
export function digestFromName(name: string): Digest | undefined {
  const [hash = '', size = '', fn = ''] = name.split('-');
  const digestFunction = digestFunctionNamed(fn);
  if (digestFunction === undefined || !/^\d{1,16}$/.test(size)) return undefined;
  try {
    const digest = parseDigest(digestFunction, hash, Number(size));
    return fileName(digest) === name ? digest : undefined;
  } catch (error) {
    if (isKind(error, 'invalid-argument')) return undefined;
    throw error;
  }
}

/** The size in a file's name, or undefined if it is no name of ours. */
export function sizeFromName(name: string): number | undefined {
  return digestFromName(name)?.sizeBytes;
}
