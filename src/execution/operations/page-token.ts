import { createHash } from 'node:crypto';
import { ReapiError } from '../../errors.ts';

/** The list a token belongs to. */
export interface ListScope {
  /** The collection that is listed, as in the request. */
  readonly name: string;
  readonly filter: string;
}

/** Version, order, and the head of the hash of the scope. */
const VERSION = 1;
const SCOPE_AT = 9;
const TOKEN_BYTES = 17;

/**
 * The token of the page behind the operation with this order. It names a place among all operations and no operation, so
 * that it stays good while they come and go, and through a restart.
 */
export function pageTokenOf(order: number, scope: ListScope): string {
  const bytes = Buffer.alloc(TOKEN_BYTES);
  bytes.writeUInt8(VERSION);
  bytes.writeBigUInt64BE(BigInt(order), 1);
  hashOf(scope).copy(bytes, SCOPE_AT);
  return bytes.toString('base64url');
}

/** The order in a token. @throws invalid-argument for a token that we did not give, or gave for another name or filter. */
export function orderInPageToken(token: string, scope: ListScope): number {
  const bytes = Buffer.from(token, 'base64url');
  if (bytes.length !== TOKEN_BYTES || bytes[0] !== VERSION || bytes.toString('base64url') !== token) {
    throw wrong('the page token is not one of ours');
  }
  if (!hashOf(scope).equals(bytes.subarray(SCOPE_AT))) {
    throw wrong('the page token belongs to a list with another name or filter');
  }
  return Number(bytes.readBigUInt64BE(1));
}

function hashOf({ name, filter }: ListScope): Buffer {
  return createHash('sha256')
    .update(JSON.stringify([name, filter]))
    .digest()
    .subarray(0, TOKEN_BYTES - SCOPE_AT);
}

function wrong(message: string): ReapiError {
  return new ReapiError('invalid-argument', message, { field: 'page_token' });
}
