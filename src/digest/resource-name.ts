import { ReapiError } from '../errors.ts';
import { DigestFunction_Value } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { type Digest, digestPath, parseDigest } from './digest.ts';
import {
  type DigestFunction,
  digestFunctionNamed,
  needsFunctionSegment,
  resolveDigestFunction,
} from './digest-function.ts';

// Names in ByteStream calls (spec, section 3.1):
//
//   read   [instance/] blobs/ [function/] hash/size
//          [instance/] compressed-blobs/compressor/ [function/] hash/size
//   write  [instance/] uploads/uuid/ (one of the read forms without instance) [/metadata]
//   log    parent/logstreams/id [/write token]
//
// The first `uploads`, `blobs` or `compressed-blobs` ends the instance name (R-BS-01). One leading slash is accepted (R-BS-02).

/** Compressors that names can spell; whether one may be used is another question (R-BS-04). */
export type NamedCompressor = 'zstd' | 'deflate' | 'brotli';

/** A blob as a ByteStream call names it. */
export interface BlobName {
  /** As it stands in the name; `InstanceNames.resolve` checks it. */
  readonly instance: string;
  readonly digest: Digest;
  /** Undefined: the bytes as they are. */
  readonly compressor?: NamedCompressor;
}

/** A blob together with the client's id for one attempt to upload it. */
export interface UploadName extends BlobName {
  /** Any text without slashes; usually a version 4 UUID (R-BS-03). */
  readonly upload: string;
  /** What follows the size, for people; ignored. */
  readonly metadata?: string;
}

/** A log stream; with a token, the name for writing (spec, section 8). */
export interface LogName {
  readonly parent: string;
  readonly id: string;
  readonly writeToken?: string;
}

/** What a name is about, judging by its segments alone; it may still be malformed. */
export type ResourceKind = 'blob' | 'log' | 'unknown';

const COMPRESSORS: readonly NamedCompressor[] = ['zstd', 'deflate', 'brotli'];

/** Functions that names spell out, offered here or not: they make a better message than a hash of wrong length. */
const FUNCTION_SEGMENTS: ReadonlySet<string> = new Set(['sha256tree', 'blake3', 'gitsha1']);

const DECIMAL = /^(0|[1-9]\d{0,15})$/;

/** Longest name in characters: instance name, UUID and digest leave ample room for metadata. */
export const MAX_RESOURCE_NAME_LENGTH = 4096;

/** Which kind of name it is. Logs only if neither `uploads` nor `blobs` occurs (R-LS-13). */
export function resourceKind(name: string): ResourceKind {
  const segments = name.split('/');
  if (segments.some(isBlobKeyword)) return 'blob';
  return segments.includes('logstreams') ? 'log' : 'unknown';
}

/** A name for reading a blob. @throws invalid-argument (R-BS-01, R-BS-04, R-BS-05). */
export function parseBlobName(name: string): BlobName {
  const segments = split(name);
  const at = segments.findIndex(isBlobKeyword);
  if (at < 0) throw wrong(name, 'names no blob');
  if (segments[at] === 'uploads') throw wrong(name, 'is a name for writing, not for reading');
  const { blob, rest } = parseBlob(name, segments.slice(at));
  if (rest.length > 0) throw wrong(name, 'goes on after the size');
  return { instance: segments.slice(0, at).join('/'), ...blob };
}

/** A name for writing a blob. @throws invalid-argument (R-BS-01, R-BS-04, R-BS-05, R-BS-54). */
export function parseUploadName(name: string): UploadName {
  const segments = split(name);
  const at = segments.findIndex(isBlobKeyword);
  if (at < 0) throw wrong(name, 'names no upload');
  if (segments[at] !== 'uploads') throw wrong(name, 'is a name for reading, not for writing');
  const upload = segments[at + 1];
  if (upload === undefined || upload === '') throw wrong(name, 'has no upload id');
  const { blob, rest } = parseBlob(name, segments.slice(at + 2));
  const metadata = rest.length > 0 ? { metadata: rest.join('/') } : {};
  return { instance: segments.slice(0, at).join('/'), upload, ...blob, ...metadata };
}

/** A name of a log stream. @throws invalid-argument (R-LS-13). */
export function parseLogName(name: string): LogName {
  if (resourceKind(name) !== 'log') throw wrong(name, 'names no log stream');
  const segments = split(name);
  const at = segments.indexOf('logstreams');
  const [id, writeToken, ...rest] = segments.slice(at + 1);
  if (id === undefined || id === '' || writeToken === '') throw wrong(name, 'has an empty part');
  if (rest.length > 0) throw wrong(name, 'goes on after the token');
  const parent = segments.slice(0, at).join('/');
  return writeToken === undefined ? { parent, id } : { parent, id, writeToken };
}

/** The canonical name for reading. */
export function formatBlobName(blob: BlobName): string {
  return `${prefix(blob.instance)}${blobPath(blob)}`;
}

/** The canonical name for writing. */
export function formatUploadName(name: UploadName): string {
  const metadata = name.metadata === undefined ? '' : `/${name.metadata}`;
  return `${prefix(name.instance)}uploads/${name.upload}/${blobPath(name)}${metadata}`;
}

/** The canonical name of a log stream. */
export function formatLogName(name: LogName): string {
  const token = name.writeToken === undefined ? '' : `/${name.writeToken}`;
  return `${prefix(name.parent)}logstreams/${name.id}${token}`;
}

function blobPath(blob: BlobName): string {
  const path = digestPath(blob.digest);
  return blob.compressor === undefined ? `blobs/${path}` : `compressed-blobs/${blob.compressor}/${path}`;
}

function prefix(instance: string): string {
  return instance === '' ? '' : `${instance}/`;
}

function isBlobKeyword(segment: string): boolean {
  return segment === 'uploads' || segment === 'blobs' || segment === 'compressed-blobs';
}

function split(name: string): string[] {
  if (name.length > MAX_RESOURCE_NAME_LENGTH) throw wrong(name, 'is too long');
  return (name.startsWith('/') ? name.slice(1) : name).split('/');
}

interface ParsedBlob {
  readonly blob: Omit<BlobName, 'instance'>;
  readonly rest: readonly string[];
}

function parseBlob(name: string, segments: readonly string[]): ParsedBlob {
  let rest = segments.slice(1);
  let compressor: NamedCompressor | undefined;
  if (segments[0] === 'compressed-blobs') {
    compressor = COMPRESSORS.find((known) => known === rest[0]);
    if (compressor === undefined) throw wrong(name, 'has an unknown compressor');
    rest = rest.slice(1);
  } else if (segments[0] !== 'blobs') {
    throw wrong(name, 'has no "blobs" after the upload id');
  }
  const named = functionSegment(name, rest[0]);
  if (named !== undefined) rest = rest.slice(1);
  const [hash, size] = rest;
  if (hash === undefined || size === undefined) throw wrong(name, 'has no hash and size');
  if (!DECIMAL.test(size)) throw wrong(name, 'has no decimal size');
  const fn = named ?? resolveDigestFunction(DigestFunction_Value.UNKNOWN, hash.length);
  const digest = parseDigest(fn, hash, Number(size));
  return { blob: compressor === undefined ? { digest } : { digest, compressor }, rest: rest.slice(2) };
}

function functionSegment(name: string, segment: string | undefined): DigestFunction | undefined {
  const fn = segment === undefined ? undefined : digestFunctionNamed(segment);
  if (fn !== undefined && needsFunctionSegment(fn)) return fn;
  if (segment !== undefined && FUNCTION_SEGMENTS.has(segment)) {
    throw wrong(name, `has the digest function ${segment}, which is not supported`);
  }
  return undefined;
}

function wrong(name: string, what: string): ReapiError {
  const shown = JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}…` : name);
  return new ReapiError('invalid-argument', `the resource name ${shown} ${what}`, { field: 'resource_name' });
}
