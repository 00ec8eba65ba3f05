import type { BinaryReader } from 'google-protobuf';
import type { FieldType } from './schema.ts';

/** Numbers of the wire format's types. Groups (3 and 4) exist in unknown fields only. */
export const WireType = { varint: 0, fixed64: 1, delimited: 2, startGroup: 3, fixed32: 5 } as const;

/** 64-bit integers are decimal strings: exact, and JSON as protobuf maps it. */
export type Scalar = string | number | boolean;

/** The types that may be packed when repeated. */
export type PackableType = Exclude<FieldType, 'message' | 'string' | 'bytes'>;

/** How one packable type is read. */
export interface ScalarReading {
  /** Of a single value; many may also come packed, as delimited. */
  readonly wireType: number;
  /** The value of an absent field. */
  readonly zero: Scalar;
  /** Appends the value or the packed values of the current field. */
  readonly readInto: (reader: BinaryReader, into: Scalar[]) => void;
}

// What google-protobuf 4 has and @types/google-protobuf, written for 3.15, does not know.
declare module 'google-protobuf' {
  interface BinaryReader {
    readPackableInt32Into(into: Scalar[]): void;
    readPackableInt64StringInto(into: Scalar[]): void;
    readPackableUint32Into(into: Scalar[]): void;
    readPackableUint64StringInto(into: Scalar[]): void;
    readPackableSint32Into(into: Scalar[]): void;
    readPackableSint64StringInto(into: Scalar[]): void;
    readPackableFixed32Into(into: Scalar[]): void;
    readPackableFixed64StringInto(into: Scalar[]): void;
    readPackableSfixed32Into(into: Scalar[]): void;
    readPackableSfixed64StringInto(into: Scalar[]): void;
    readPackableFloatInto(into: Scalar[]): void;
    readPackableDoubleInto(into: Scalar[]): void;
    readPackableBoolInto(into: Scalar[]): void;
    readPackableEnumInto(into: Scalar[]): void;
  }
}

const { varint, fixed32, fixed64 } = WireType;

/** Every packable type. Enums are read as their number. */
export const SCALAR_READINGS: Readonly<Record<PackableType, ScalarReading>> = {
  int32: { wireType: varint, zero: 0, readInto: (reader, into) => reader.readPackableInt32Into(into) },
  int64: { wireType: varint, zero: '0', readInto: (reader, into) => reader.readPackableInt64StringInto(into) },
  uint32: { wireType: varint, zero: 0, readInto: (reader, into) => reader.readPackableUint32Into(into) },
  uint64: { wireType: varint, zero: '0', readInto: (reader, into) => reader.readPackableUint64StringInto(into) },
  sint32: { wireType: varint, zero: 0, readInto: (reader, into) => reader.readPackableSint32Into(into) },
  sint64: { wireType: varint, zero: '0', readInto: (reader, into) => reader.readPackableSint64StringInto(into) },
  fixed32: { wireType: fixed32, zero: 0, readInto: (reader, into) => reader.readPackableFixed32Into(into) },
  fixed64: { wireType: fixed64, zero: '0', readInto: (reader, into) => reader.readPackableFixed64StringInto(into) },
  sfixed32: { wireType: fixed32, zero: 0, readInto: (reader, into) => reader.readPackableSfixed32Into(into) },
  sfixed64: { wireType: fixed64, zero: '0', readInto: (reader, into) => reader.readPackableSfixed64StringInto(into) },
  float: { wireType: fixed32, zero: 0, readInto: (reader, into) => reader.readPackableFloatInto(into) },
  double: { wireType: fixed64, zero: 0, readInto: (reader, into) => reader.readPackableDoubleInto(into) },
  bool: { wireType: varint, zero: false, readInto: (reader, into) => reader.readPackableBoolInto(into) },
  enum: { wireType: varint, zero: 0, readInto: (reader, into) => reader.readPackableEnumInto(into) },
};
