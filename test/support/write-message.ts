import protobuf, { type BinaryWriter } from 'google-protobuf';
import type { DecodedMessage, DecodedValue } from '../../src/descriptors/decode-message.ts';
import type { DescriptorPool } from '../../src/descriptors/descriptor-pool.ts';
import type { PackableType, Scalar } from '../../src/descriptors/read-scalar.ts';
import type { FieldSchema, MessageSchema } from '../../src/descriptors/schema.ts';
import { invariant } from '../../src/errors.ts';

interface ScalarWriting {
  readonly one: (writer: BinaryWriter, number: number, value: Scalar) => void;
  readonly packed: (writer: BinaryWriter, number: number, values: readonly Scalar[]) => void;
}

const WRITINGS: Readonly<Partial<Record<PackableType, ScalarWriting>>> = {
  int32: {
    one: (writer, number, value) => writer.writeInt32(number, Number(value)),
    packed: (writer, number, values) => writer.writePackedInt32(number, values.map(Number)),
  },
  sint32: {
    one: (writer, number, value) => writer.writeSint32(number, Number(value)),
    packed: (writer, number, values) => writer.writePackedSint32(number, values.map(Number)),
  },
  int64: {
    one: (writer, number, value) => writer.writeInt64String(number, String(value)),
    packed: (writer, number, values) => writer.writePackedInt64String(number, values.map(String)),
  },
  uint32: {
    one: (writer, number, value) => writer.writeUint32(number, Number(value)),
    packed: (writer, number, values) => writer.writePackedUint32(number, values.map(Number)),
  },
  uint64: {
    one: (writer, number, value) => writer.writeUint64String(number, String(value)),
    packed: (writer, number, values) => writer.writePackedUint64String(number, values.map(String)),
  },
  bool: {
    one: (writer, number, value) => writer.writeBool(number, value === true),
    packed: (writer, number, values) => writer.writePackedBool(number, values.map(Boolean)),
  },
  enum: {
    one: (writer, number, value) => writer.writeEnum(number, Number(value)),
    packed: (writer, number, values) => writer.writePackedEnum(number, values.map(Number)),
  },
  double: {
    one: (writer, number, value) => writer.writeDouble(number, Number(value)),
    packed: (writer, number, values) => writer.writePackedDouble(number, values.map(Number)),
  },
  float: {
    one: (writer, number, value) => writer.writeFloat(number, Number(value)),
    packed: (writer, number, values) => writer.writePackedFloat(number, values.map(Number)),
  },
};

/**
 * The reverse of `decodeMessage`, with google-protobuf's writer: fields in the order of their numbers, all that
 * `message` holds and nothing else, be it a default.
 */
export function writeMessage(pool: DescriptorPool, schema: MessageSchema, message: DecodedMessage): Uint8Array {
  const writer = new protobuf.BinaryWriter();
  new Writing(pool, writer).message(schema, message);
  return writer.getResultBuffer();
}

class Writing {
  readonly #pool: DescriptorPool;
  readonly #writer: BinaryWriter;

  constructor(pool: DescriptorPool, writer: BinaryWriter) {
    this.#pool = pool;
    this.#writer = writer;
  }

  message(schema: MessageSchema, message: DecodedMessage): void {
    for (const field of schema.fields.toSorted((a, b) => a.number - b.number)) {
      const value = message[field.name];
      if (value === undefined) continue;
      if (!field.isRepeated) this.#one(field, value);
      else if (Array.isArray(value)) this.#list(field, value);
      else if (typeof value === 'object') {
        for (const [key, one] of Object.entries(value)) this.#one(field, { key, value: one });
      }
    }
  }

  #list(field: FieldSchema, values: readonly DecodedValue[]): void {
    if (field.type === 'message' || field.type === 'string' || field.type === 'bytes') {
      for (const value of values) this.#one(field, value);
    } else {
      this.#writing(field.type).packed(
        this.#writer,
        field.number,
        values.map((value) => this.#scalar(field, value)),
      );
    }
  }

  #one(field: FieldSchema, value: DecodedValue): void {
    const { number } = field;
    if (field.type === 'message') {
      const schema = this.#pool.message(field.typeName ?? '');
      invariant(schema !== undefined, `the pool lacks ${field.typeName}`);
      invariant(typeof value === 'object' && !Array.isArray(value), `${field.name} is a message`);
      this.#writer.writeMessage(number, {}, () => this.message(schema, value));
    } else if (field.type === 'string') this.#writer.writeString(number, String(value));
    else if (field.type === 'bytes') this.#writer.writeBytes(number, Buffer.from(String(value), 'base64'));
    else this.#writing(field.type).one(this.#writer, number, this.#scalar(field, value));
  }

  #writing(type: PackableType): ScalarWriting {
    const writing = WRITINGS[type];
    invariant(writing !== undefined, `no schema of ours has a ${type}; add it to WRITINGS`);
    return writing;
  }

  #scalar(field: FieldSchema, value: DecodedValue): Scalar {
    invariant(typeof value !== 'object', `${field.name} is a scalar`);
    if (field.type !== 'enum' || typeof value !== 'string') return value;
    for (const [number, name] of this.#pool.enum(field.typeName ?? '')?.names ?? []) {
      if (name === value) return number;
    }
    invariant(false, `${field.typeName} has no ${value}`);
  }
}
