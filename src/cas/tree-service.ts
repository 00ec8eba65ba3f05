import { type Authorizer, demand } from '../auth/authorizer.ts';
import { type Digest, digestFromWire, digestPath } from '../digest/digest.ts';
import { resolveDigestFunction } from '../digest/digest-function.ts';
import type { InstanceNames } from '../digest/instance-name.ts';
import { ReapiError } from '../errors.ts';
import { GetTreeRequest } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Call } from '../rpc/call.ts';
import { decode, type Messages } from '../rpc/methods.ts';
import { delimitedSize } from '../system/protobuf-wire.ts';
import type { BlobStore } from './blob-store.ts';
import { encodeTreePage } from './cas-wire.ts';
import { walkDirectories } from './tree.ts';

/** Bounds on one GetTree. */
export interface TreeReaderLimits {
  /** Largest message that is sent; clients receive at most 4 MiB (R-XC-05). */
  readonly maxMessageBytes: number;
  /** Most distinct directories in a tree. */
  readonly maxTreeDirectories: number;
  /** Longest path from the root, in directories. */
  readonly maxTreeDepth: number;
  /** Most directories in one message, also if the client asks for more (R-CAS-16). */
  readonly maxDirectoriesPerPage: number;
}

/** Room for the page token and its tag. */
const TOKEN_BYTES = 64;

const TOKEN = /^([0-9a-f]{16})-([1-9]\d{0,9})$/;

/**
 * GetTree: all pages in one stream (R-CAS-15), directories as they are stored.
 *
 * A page token says how many directories came before, so a resumed call walks again from the root: the order is a
 * function of the tree. Directories that vanish or appear in between shift it; the client then sees one twice or misses
 * one that was reported absent, which the API allows.
 */
export class TreeReader {
  readonly #store: BlobStore;
  readonly #access: { readonly authorizer: Authorizer; readonly instances: InstanceNames };
  readonly #limits: TreeReaderLimits;

  constructor(
    store: BlobStore,
    access: { readonly authorizer: Authorizer; readonly instances: InstanceNames },
    limits: TreeReaderLimits,
  ) {
    this.#store = store;
    this.#access = access;
    this.#limits = limits;
  }

  /** @throws blob-not-found for an absent root (R-CAS-14); invalid-argument; too-large. */
  async *getTree(encoded: Uint8Array, call: Call): Messages {
    const request = decode(GetTreeRequest, encoded);
    const instance = this.#access.instances.resolve(request.instanceName);
    await demand(this.#access.authorizer, call.principal, 'cas:read', instance);
    const fn = resolveDigestFunction(request.digestFunction, request.rootDigest?.hash.length);
    const root = digestFromWire(fn, request.rootDigest, 'root_digest');
    if (request.pageSize < 0) {
      throw new ReapiError('invalid-argument', `page_size is ${request.pageSize}`, { field: 'page_size' });
    }
    const startAt = parseToken(request.pageToken, root);
    yield* this.#pages(root, { startAt, pageSize: request.pageSize }, call.signal);
  }

  async *#pages(
    root: Digest,
    wish: { readonly startAt: number; readonly pageSize: number },
    signal: AbortSignal,
  ): Messages {
    const { maxDirectoriesPerPage, maxMessageBytes } = this.#limits;
    const pageCap = wish.pageSize === 0 ? maxDirectoriesPerPage : Math.min(wish.pageSize, maxDirectoriesPerPage);
    let page: Uint8Array[] = [];
    let pageBytes = TOKEN_BYTES;
    let count = 0;
    for await (const directory of this.#present(root, signal)) {
      if (count++ < wish.startAt) continue;
      const sizeBytes = delimitedSize(1, directory.length);
      if (page.length > 0 && (page.length >= pageCap || pageBytes + sizeBytes > maxMessageBytes)) {
        yield encodeTreePage(page, formatToken(root, count - 1));
        page = [];
        pageBytes = TOKEN_BYTES;
      }
      page.push(directory);
      pageBytes += sizeBytes;
    }
    if (page.length === 0) throw badToken();
    yield encodeTreePage(page, '');
  }

  async *#present(root: Digest, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    const { maxTreeDirectories, maxTreeDepth, maxMessageBytes } = this.#limits;
    const walkLimits = {
      maxDirectories: maxTreeDirectories,
      maxDepth: maxTreeDepth,
      maxDirectoryBytes: maxMessageBytes - 2 * TOKEN_BYTES,
    };
    let isRoot = true;
    for await (const { digest, bytes } of walkDirectories(this.#store, root, walkLimits, signal)) {
      if (bytes !== undefined) yield bytes;
      else if (isRoot)
        throw new ReapiError('blob-not-found', `the root directory ${digestPath(digest)} is not in the store`);
      isRoot = false;
    }
  }
}

function formatToken(root: Digest, count: number): string {
  return `${root.hash.slice(0, 16)}-${count}`;
}

/** How many directories were sent before. @throws invalid-argument for a token that this root never had. */
function parseToken(token: string, root: Digest): number {
  if (token === '') return 0;
  const match = TOKEN.exec(token);
  if (match === null || match[1] !== root.hash.slice(0, 16)) throw badToken();
  return Number(match[2]);
}

function badToken(): ReapiError {
  return new ReapiError('invalid-argument', 'page_token is not one of this tree', { field: 'page_token' });
}
