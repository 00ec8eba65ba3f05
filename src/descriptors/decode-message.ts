import protobuf, { type BinaryReader } from 'google-protobuf';
import { invariant, ReapiError } from '../errors.ts';
import type { DescriptorPool } from './descriptor-pool.ts';
import { SCALAR_READINGS, type Scalar, WireType } from './read-scalar.ts';
import type { FieldSchema, MessageSchema } from './schema.ts';

/**
 * A message for people and for comparison: plain values, keys as the schema spells them (`size_bytes`), only what
 * is on the wire, in its order. Enums are names (numbers if unknown), 64-bit integers decimal strings, bytes base64,
 * maps objects. Keys that no field can have begin with `@`:
 * - `@type`: this was a google.protobuf.Any; the other keys are those of the message in it;
 * - `@unknown`: fields the schema does not have, as `{ number, wireType, value }`.
 */
export interface DecodedMessage {
  [key: string]: DecodedValue;
}
/** See DecodedMessage. */
export type DecodedValue = Scalar | DecodedValue[] | DecodedMessage;

/** Messages within messages; ts-proto stops at the same depth. */
const MAX_DEPTH = 100;

const ANY = 'google.protobuf.Any';

/**
 * Decodes any message by its schema, with google-protobuf's reader: a code base apart from ts-proto's, on which
 * the wire tests rely. The result takes up to some fifty times the memory of `bytes`: the caller bounds these.
 *
 * @throws not-found: `fullName` is no message of the pool; invalid-argument: the bytes do not parse, or nest too deep.
 */
export function decodeMessage(pool: DescriptorPool, fullName: string, bytes: Uint8Array): DecodedMessage {
  const schema = pool.message(fullName);
  if (schema === undefined) throw new ReapiError('not-found', `${fullName} is not a known message`);
  try {
    return new Decoding(pool).message(schema, bytes, 0);
  } catch (error) {
    if (error instanceof ReapiError) throw error;
    throw new ReapiError('invalid-argument', `the bytes are not a ${fullName}`, { cause: error });
  }
}

class Decoding {
  readonly #pool: DescriptorPool;

  constructor(pool: DescriptorPool) {
    this.#pool = pool;
  }

  /** @param into what an earlier occurrence of the same singular field held: occurrences are merged. */
  message(schema: MessageSchema, bytes: Uint8Array, depth: number, into: DecodedMessage = {}): DecodedMessage {
    if (depth > MAX_DEPTH) {
      throw new ReapiError('invalid-argument', `messages are nested deeper than ${MAX_DEPTH} levels`);
    }
    const reader = new protobuf.BinaryReader(bytes);
    while (reader.nextField()) {
      const number = reader.getFieldNumber();
      const field = schema.fields.find((one) => one.number === number);
      if (field === undefined || !fits(field, reader.getWireType())) listUnknown(reader, into);
      else this.#field(schema, field, { reader, into, depth });
    }
    return schema.fullName === ANY ? this.#open(into, depth) : into;
  }

  #field(schema: MessageSchema, field: FieldSchema, at: Position): void {
    if (field.oneof !== undefined) {
      for (const other of schema.fields) {
        if (other.oneof === field.oneof && other !== field) delete at.into[other.name];
      }
    }
    const entry = field.isRepeated ? this.#mapEntry(field) : undefined;
    if (entry !== undefined) this.#putEntry(field, entry, at);
    else if (field.isRepeated) append(at.into, field.name, this.#values(field, at));
    else {
      const value = this.#values(field, at).at(-1);
      if (value !== undefined) at.into[field.name] = value;
    }
  }

  /** The values of the current field: one, or as many as are packed. */
  #values(field: FieldSchema, at: Position): DecodedValue[] {
    const { reader, into, depth } = at;
    if (field.type === 'string') return [reader.readString()];
    if (field.type === 'bytes') return [base64(reader.readBytes())];
    if (field.type === 'message') {
      const before = field.isRepeated ? undefined : into[field.name];
      return [this.message(this.#schemaOf(field), reader.readBytes(), depth + 1, isMessage(before) ? before : {})];
    }
    const values: Scalar[] = [];
    SCALAR_READINGS[field.type].readInto(reader, values);
    return values.map((value) => this.#presentable(field, value));
  }

  #presentable(field: FieldSchema, value: Scalar): Scalar {
    if (typeof value !== 'number') return value;
    if (field.type === 'enum') return this.#pool.enum(field.typeName ?? '')?.names.get(value) ?? value;
    return Number.isFinite(value) ? value : String(value);
  }

  #putEntry(field: FieldSchema, entry: MessageSchema, at: Position): void {
    const parts = this.message(entry, at.reader.readBytes(), at.depth + 1);
    const map = at.into[field.name];
    const entries = isMessage(map) ? map : {};
    at.into[field.name] = entries;
    const [key, value] = ['key', 'value'].map((name) => {
      const part = entry.fields.find((one) => one.name === name);
      invariant(part !== undefined, `${entry.fullName} has no ${name}`);
      return parts[name] ?? this.#zero(part);
    });
    invariant(value !== undefined, 'a map entry has a value');
    // Not by assignment: the key comes from outside and may be `__proto__`.
    Object.defineProperty(entries, String(key), { value, configurable: true, enumerable: true, writable: true });
  }

  #zero(field: FieldSchema): DecodedValue {
    if (field.type === 'message') return {};
    if (field.type === 'string' || field.type === 'bytes') return '';
    return this.#presentable(field, SCALAR_READINGS[field.type].zero);
  }

  #mapEntry(field: FieldSchema): MessageSchema | undefined {
    const schema = field.type === 'message' ? this.#schemaOf(field) : undefined;
    return schema?.isMapEntry === true ? schema : undefined;
  }

  #schemaOf(field: FieldSchema): MessageSchema {
    const schema = this.#pool.message(field.typeName ?? '');
    invariant(schema !== undefined, `the pool lacks ${field.typeName}`);
    return schema;
  }

  /** The message in an Any, or the Any itself if its type is unknown, its bytes do not fit, or it nests too deep. */
  #open(any: DecodedMessage, depth: number): DecodedMessage {
    const { type_url: url, value = '' } = any;
    if (typeof url !== 'string' || typeof value !== 'string') return any;
    const schema = this.#pool.message(url.slice(url.lastIndexOf('/') + 1));
    if (schema === undefined) return any;
    try {
      return this.message(schema, Buffer.from(value, 'base64'), depth + 1, { '@type': url });
    } catch {
      return any;
    }
  }
}

/** Where decoding stands: the reader is at a field's value. */
interface Position {
  readonly reader: BinaryReader;
  readonly into: DecodedMessage;
  readonly depth: number;
}

function fits(field: FieldSchema, wireType: number): boolean {
  if (field.type === 'message' || field.type === 'string' || field.type === 'bytes') {
    return wireType === WireType.delimited;
  }
  return wireType === SCALAR_READINGS[field.type].wireType || (field.isRepeated && wireType === WireType.delimited);
}

function listUnknown(reader: BinaryReader, into: DecodedMessage): void {
  const number = reader.getFieldNumber();
  const wireType = reader.getWireType();
  append(into, '@unknown', [{ number, ...unknownValue(reader, wireType) }]);
}

function unknownValue(reader: BinaryReader, wireType: number): { wireType: string; value: string } {
  if (wireType === WireType.varint) return { wireType: 'varint', value: reader.readUint64String() };
  if (wireType === WireType.fixed64) return { wireType: 'fixed64', value: reader.readFixed64String() };
  if (wireType === WireType.fixed32) return { wireType: 'fixed32', value: String(reader.readFixed32()) };
  if (wireType === WireType.delimited) return { wireType: 'delimited', value: base64(reader.readBytes()) };
  reader.skipField();
  return { wireType: 'group', value: '' };
}

function append(into: DecodedMessage, key: string, values: readonly DecodedValue[]): void {
  const list = into[key];
  if (!Array.isArray(list)) into[key] = [...values];
  else for (const value of values) list.push(value);
}

function isMessage(value: DecodedValue | undefined): value is DecodedMessage {
  return typeof value === 'object' && !Array.isArray(value);
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}
