import { RequestMetadata } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Any } from '../../gen/google/protobuf/any.ts';

/** One step on the way down the tree of shares, as Buildbarn names it. */
export interface InvocationId {
  readonly any: Any;
  /** Equal exactly for equal ids, whoever encoded them. */
  readonly key: string;
}

const REQUEST_METADATA = 'type.googleapis.com/build.bazel.remote.execution.v2.RequestMetadata';
const AUTHENTICATION_METADATA = 'type.googleapis.com/buildbarn.auth.AuthenticationMetadata';

/**
 * Shares by the messages that Buildbarn's own key extractors make, which are those its browser and portal can show: the
 * innermost share is a RequestMetadata with `tool_invocation_id` alone, the one around it a RequestMetadata with
 * `correlated_invocations_id` alone, and the principal an AuthenticationMetadata whose public part is its name.
 * Remembers what it made: a queue of 100,000 tasks has few different shares.
 */
export class InvocationIds {
  readonly #made = new Map<string, InvocationId>();

  /** @param shares from the outermost to the innermost. */
  of(shares: readonly { readonly id: string }[]): readonly InvocationId[] {
    return shares.map(({ id }, index) => this.#one(id, shares.length - 1 - index));
  }

  /** @param height 0 for the innermost share. */
  #one(id: string, height: number): InvocationId {
    const text = `${Math.min(height, 2)}${id}`;
    const known = this.#made.get(text);
    if (known !== undefined) return known;
    const made = { any: anyOf(id, height), key: '' };
    made.key = invocationKey(made.any);
    this.#made.set(text, made);
    return made;
  }
}

/** A text by which ids can be compared and sorted. */
export function invocationKey({ typeUrl, value }: Any): string {
  return `${typeUrl.slice(typeUrl.lastIndexOf('/') + 1)}\0${Buffer.from(value).toString('latin1')}`;
}

/** Whether `path` leads to the place of `ids` or through it. */
export function isBelow(path: readonly InvocationId[], keys: readonly string[]): boolean {
  return keys.every((key, index) => path[index]?.key === key);
}

function anyOf(id: string, height: number): Any {
  if (height >= 2) return { typeUrl: AUTHENTICATION_METADATA, value: new Uint8Array(authenticationMetadata(id)) };
  const partial = height === 0 ? { toolInvocationId: id } : { correlatedInvocationsId: id };
  return { typeUrl: REQUEST_METADATA, value: RequestMetadata.encode(RequestMetadata.fromPartial(partial)).finish() };
}

/** `{public: {string_value: name}}`: field 1, a google.protobuf.Value, with field 3. */
function authenticationMetadata(name: string): Uint8Array {
  return delimited(1, delimited(3, Buffer.from(name)));
}

function delimited(field: number, payload: Uint8Array): Uint8Array {
  const length: number[] = [];
  for (let rest = payload.length; ; rest >>>= 7) {
    length.push(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest);
    if (rest <= 0x7f) break;
  }
  return Buffer.concat([Buffer.from([(field << 3) | 2, ...length]), payload]);
}
