import type { Any } from '../gen/google/protobuf/any.ts';

/** Clients compare the part behind the last slash (spec, section 5.1). */
const TYPE_PREFIX = 'type.googleapis.com/';

/** Wraps an encoded message, with its full name, into an `Any`. */
export function packAny(fullName: string, value: Uint8Array): Any {
  return { typeUrl: TYPE_PREFIX + fullName, value };
}

/** Whether the `Any` holds a message of that full name. */
export function isAny(any: Any, fullName: string): boolean {
  return any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1) === fullName;
}
