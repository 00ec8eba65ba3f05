import type { DecodedMessage, DecodedValue } from '../../src/descriptors/decode-message.ts';
import type { DescriptorPool } from '../../src/descriptors/descriptor-pool.ts';
import type { FieldSchema, MessageSchema } from '../../src/descriptors/schema.ts';
import { invariant } from '../../src/errors.ts';

/** What ts-proto exports for a message, seen from outside: its messages are plain objects. */
export interface MessageCodec {
  encode(message: PlainMessage): { finish(): Uint8Array };
  decode(bytes: Uint8Array): PlainMessage;
}

/** A ts-proto message: camelCase keys, bigint for 64 bits, `{ $case, value }` for a oneof. */
export interface PlainMessage {
  [key: string]: unknown;
}

const WRAPPER = /^google\.protobuf\.(Bool|Bytes|Double|Float|U?Int32|U?Int64|String)Value$/;
const LONG = new Set(['int64', 'uint64', 'sint64', 'fixed64', 'sfixed64']);

/** Ts-proto makes a list of its paths of it. */
const FIELD_MASK = 'google.protobuf.FieldMask';

/** The generated codec of every message of the pool, by full name; map entries have none of their own. */
export async function generatedCodecs(pool: DescriptorPool): Promise<ReadonlyMap<string, MessageCodec>> {
  const codecs = new Map<string, MessageCodec>();
  for (const { fullName, isMapEntry } of pool.messages()) {
    const file = pool.fileOf(fullName);
    if (isMapEntry || file === undefined) continue;
    const generated: PlainMessage = await import(`../../src/gen/${file.name.replace(/\.proto$/, '.ts')}`);
    const name = fullName.slice(`${generated['protobufPackage']}.`.length).replaceAll('.', '_');
    const codec = generated[name];
    invariant(isCodec(codec), `no codec was generated for ${fullName}`);
    codecs.set(fullName, codec);
  }
  return codecs;
}

function isCodec(value: unknown): value is MessageCodec {
  return typeof value === 'object' && value !== null && 'encode' in value && 'decode' in value;
}

/** Turns a message between the form of `decodeMessage` and that of ts-proto. */
export class TsProtoForm {
  readonly #pool: DescriptorPool;

  constructor(pool: DescriptorPool) {
    this.#pool = pool;
  }

  /** As ts-proto would decode it: every field is there, absent ones with their default. */
  from(schema: MessageSchema, message: DecodedMessage): PlainMessage {
    const plain: PlainMessage = {};
    for (const field of schema.fields) {
      const value = message[field.name];
      if (field.oneof === undefined) plain[camelCase(field.name)] = this.#fromField(field, value);
      else if (value !== undefined) {
        plain[camelCase(field.oneof)] = { $case: camelCase(field.name), value: this.#fromOne(field, value) };
      } else plain[camelCase(field.oneof)] ??= undefined;
    }
    return plain;
  }

  /** As `decodeMessage` would show it if all that is not default were on the wire. */
  to(schema: MessageSchema, plain: PlainMessage): DecodedMessage {
    const message: DecodedMessage = {};
    for (const field of schema.fields) {
      const value = field.oneof === undefined ? plain[camelCase(field.name)] : member(field, plain);
      const shown = value === undefined ? undefined : this.#toField(field, value);
      if (shown !== undefined) message[field.name] = shown;
    }
    return message;
  }

  #fromField(field: FieldSchema, value: DecodedValue | undefined): unknown {
    if (value === undefined) return field.isRepeated ? (this.#isMap(field) ? {} : []) : this.#default(field);
    if (!field.isRepeated) return this.#fromOne(field, value);
    if (Array.isArray(value)) return value.map((one) => this.#fromOne(field, one));
    invariant(typeof value === 'object', `${field.name} is a map`);
    const part = this.#mapValue(field);
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, this.#fromOne(part, one)]));
  }

  #fromOne(field: FieldSchema, value: DecodedValue): unknown {
    if (field.type === 'message') {
      invariant(typeof value === 'object' && !Array.isArray(value), `${field.name} is a message`);
      const plain = this.from(this.#schemaOf(field), value);
      if (field.typeName === FIELD_MASK) return plain['paths'];
      return WRAPPER.test(field.typeName ?? '') ? plain['value'] : plain;
    }
    if (field.type === 'bytes') return new Uint8Array(Buffer.from(String(value), 'base64'));
    if (field.type === 'enum' && typeof value === 'string') return this.#enumNumber(field, value);
    return LONG.has(field.type) ? BigInt(String(value)) : value;
  }

  #toField(field: FieldSchema, value: unknown): DecodedValue | undefined {
    if (field.isRepeated && Array.isArray(value)) {
      return value.length === 0 ? undefined : value.map((one) => this.#toOne(field, one));
    }
    if (this.#isMap(field)) {
      invariant(isPlain(value), `${field.name} is a map`);
      const part = this.#mapValue(field);
      const entries = Object.entries(value).map(([key, one]) => [key, this.#toOne(part, one)] as const);
      return entries.length === 0 ? undefined : Object.fromEntries(entries);
    }
    const shown = this.#toOne(field, value);
    return field.hasPresence || shown !== this.#toOne(field, this.#default(field)) ? shown : undefined;
  }

  #toOne(field: FieldSchema, value: unknown): DecodedValue {
    if (field.type === 'message') {
      const isMask = field.typeName === FIELD_MASK;
      const plain = WRAPPER.test(field.typeName ?? '') ? { value } : isMask ? { paths: value } : value;
      invariant(isPlain(plain), `${field.name} is a message`);
      return this.to(this.#schemaOf(field), plain);
    }
    if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
    if (typeof value === 'bigint') return String(value);
    if (field.type === 'enum') return this.#pool.enum(field.typeName ?? '')?.names.get(Number(value)) ?? Number(value);
    invariant(typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean', 'a scalar');
    return value;
  }

  #default(field: FieldSchema): unknown {
    if (field.hasPresence) return undefined;
    if (field.type === 'string') return '';
    if (field.type === 'bytes') return new Uint8Array();
    if (field.type === 'bool') return false;
    return LONG.has(field.type) ? 0n : 0;
  }

  #enumNumber(field: FieldSchema, name: string): number {
    for (const [number, other] of this.#pool.enum(field.typeName ?? '')?.names ?? []) {
      if (other === name) return number;
    }
    invariant(false, `${field.typeName} has no ${name}`);
  }

  #isMap(field: FieldSchema): boolean {
    return field.isRepeated && field.type === 'message' && this.#schemaOf(field).isMapEntry;
  }

  #mapValue(field: FieldSchema): FieldSchema {
    const value = this.#schemaOf(field).fields.find((one) => one.name === 'value');
    invariant(value !== undefined, `${field.typeName} has a value`);
    return value;
  }

  #schemaOf(field: FieldSchema): MessageSchema {
    const schema = this.#pool.message(field.typeName ?? '');
    invariant(schema !== undefined, `the pool lacks ${field.typeName}`);
    return schema;
  }
}

function member(field: FieldSchema, plain: PlainMessage): unknown {
  const choice = plain[camelCase(field.oneof ?? '')];
  return isPlain(choice) && choice['$case'] === camelCase(field.name) ? choice['value'] : undefined;
}

function isPlain(value: unknown): value is PlainMessage {
  return typeof value === 'object' && value !== null;
}

function camelCase(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
