/** Scalar and composite field types, by the names the schema language uses. */
export type FieldType =
  | 'double'
  | 'float'
  | 'int64'
  | 'uint64'
  | 'int32'
  | 'fixed64'
  | 'fixed32'
  | 'bool'
  | 'string'
  | 'message'
  | 'bytes'
  | 'uint32'
  | 'enum'
  | 'sfixed32'
  | 'sfixed64'
  | 'sint32'
  | 'sint64';

/** One field of a message. */
export interface FieldSchema {
  /** As in the schema, `size_bytes`. */
  readonly name: string;
  readonly number: number;
  readonly type: FieldType;
  readonly isRepeated: boolean;
  /** Full name of the message or enum; undefined for scalars. */
  readonly typeName: string | undefined;
  /** Name of the oneof it belongs to. A proto3 `optional` field belongs to none. */
  readonly oneof: string | undefined;
  /** Absent and default differ: messages, members of a oneof, and proto3 `optional`. */
  readonly hasPresence: boolean;
}

/** One message type. */
export interface MessageSchema {
  readonly fullName: string;
  /** In the order of the schema. */
  readonly fields: readonly FieldSchema[];
  /** Stands for one entry of a map field, with `key` and `value`. */
  readonly isMapEntry: boolean;
}

/** One enum type. */
export interface EnumSchema {
  readonly fullName: string;
  /** Names by number; the first of aliases. */
  readonly names: ReadonlyMap<number, string>;
}

/** One method of a service. */
export interface MethodSchema {
  readonly name: string;
  readonly requestType: string;
  readonly responseType: string;
  readonly isClientStreaming: boolean;
  readonly isServerStreaming: boolean;
}

/** One service. */
export interface ServiceSchema {
  readonly fullName: string;
  readonly methods: readonly MethodSchema[];
}

/** One file of the set. */
export interface FileSchema {
  /** As imports spell it. */
  readonly name: string;
  /** The serialized FileDescriptorProto as the compiler wrote it, options included. */
  readonly bytes: Uint8Array;
  /** Names of the files it imports. */
  readonly dependencies: readonly string[];
}
