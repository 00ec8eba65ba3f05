import { type Digest, digestFromKey, parseDigest } from '../../digest/digest.ts';
import {
  DIGEST_FUNCTIONS,
  type DigestFunction,
  digestFunctionNamed,
  resolveDigestFunction,
} from '../../digest/digest-function.ts';
import { type InstanceName, parseInstanceName } from '../../digest/instance-name.ts';
import { parseBlobName } from '../../digest/resource-name.ts';
import { ReapiError } from '../../errors.ts';
import { UsageError } from './usage-error.ts';

/** A blob or an action as it was named on the command line. */
export interface NamedDigest {
  readonly digest: Digest;
  readonly instance: InstanceName;
  /** Whether a name was given at all; the empty one may be meant. */
  readonly isInstanceGiven: boolean;
}

/** Flags that go with a digest. */
export interface DigestFlags {
  readonly instance?: string;
  readonly function?: string;
}

/** What is expected, for messages. */
const EXPECTED = 'write HASH/SIZE, HASH-SIZE or a resource name like main/blobs/HASH/SIZE';

/** `HASH/SIZE`, `HASH-SIZE`, and the names of files in a data folder, `HASH-SIZE-FUNCTION`. */
const SHORT = /^(?<hash>[^-/]+)[-/](?<size>0|[1-9]\d{0,15})(?:-(?<name>[a-z0-9]+))?$/;

/** What Bazel writes into its event protocol: the server is not part of the name. */
const BYTESTREAM_URI = /^bytestream:\/\/[^/]*\//;

/**
 * Reads a digest as people have it at hand: `HASH/SIZE`, `HASH-SIZE`, `FUNCTION/HASH/SIZE`, the resource name of a
 * ByteStream read, or such a name as a `bytestream://` URI.
 * @throws UsageError: it is none of them, or contradicts the flags.
 */
export function parseDigestArgument(text: string, flags: DigestFlags): NamedDigest {
  const wanted = functionOf(flags.function);
  try {
    const { digest, instance } = parse(text.replace(BYTESTREAM_URI, ''), wanted);
    if (wanted !== undefined && digest.function !== wanted) throw wrong(text, `its function is not ${wanted}`);
    if (flags.instance !== undefined && instance !== undefined && instance !== flags.instance) {
      throw wrong(text, `its instance name is not "${flags.instance}"`);
    }
    const name = flags.instance ?? instance;
    return { digest, instance: parseInstanceName(name ?? ''), isInstanceGiven: name !== undefined };
  } catch (error) {
    if (!(error instanceof ReapiError)) throw error;
    throw wrong(text, error.message);
  }
}

function parse(text: string, wanted: DigestFunction | undefined): { digest: Digest; instance?: string } {
  const { hash, size, name } = SHORT.exec(text)?.groups ?? {};
  if (hash !== undefined && size !== undefined) {
    const fn = functionOf(name) ?? wanted ?? resolveDigestFunction(0, hash.length);
    return { digest: parseDigest(fn, hash, Number(size)) };
  }
  if (/(?:^|\/)(?:compressed-)?blobs\//.test(text)) {
    const { digest, instance } = parseBlobName(text);
    return { digest, instance };
  }
  return { digest: digestFromKey(text) };
}

function functionOf(name: string | undefined): DigestFunction | undefined {
  if (name === undefined) return undefined;
  const fn = digestFunctionNamed(name.toLowerCase());
  if (fn !== undefined) return fn;
  throw new UsageError(`"${name}" is not a digest function; there is ${DIGEST_FUNCTIONS.join(', ')}`);
}

function wrong(text: string, why: string): UsageError {
  const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
  return new UsageError(`"${shown}" does not name a blob: ${why}; ${EXPECTED}`);
}
