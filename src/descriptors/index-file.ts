import type {
  DescriptorProto,
  EnumDescriptorProto,
  FieldDescriptorProto,
  FileDescriptorProto,
  ServiceDescriptorProto,
} from 'google-protobuf/google/protobuf/descriptor_pb.js';
import { invariant } from '../errors.ts';
import type { EnumSchema, FieldSchema, FieldType, MessageSchema, MethodSchema, ServiceSchema } from './schema.ts';

/** What one file declares. */
export interface FileIndex {
  readonly messages: MessageSchema[];
  readonly enums: EnumSchema[];
  readonly services: ServiceSchema[];
  /** Full names of all of these, and of fields, oneofs, enum values and methods. */
  readonly symbols: string[];
}

/** FieldDescriptorProto.Type, whose numbers are those of this list from 1 on. 10 is the groups of proto2. */
const FIELD_TYPES: readonly (FieldType | undefined)[] = [
  undefined,
  'double',
  'float',
  'int64',
  'uint64',
  'int32',
  'fixed64',
  'fixed32',
  'bool',
  'string',
  undefined,
  'message',
  'bytes',
  'uint32',
  'enum',
  'sfixed32',
  'sfixed64',
  'sint32',
  'sint64',
];

/** FieldDescriptorProto.Label.LABEL_REPEATED. */
const LABEL_REPEATED = 3;

/** Collects everything a file declares, nested types included. */
export function indexFile(file: FileDescriptorProto): FileIndex {
  const index: FileIndex = { messages: [], enums: [], services: [], symbols: [] };
  const scope = file.getPackage() ?? '';
  for (const message of file.getMessageTypeList()) addMessage(index, scope, message);
  for (const type of file.getEnumTypeList()) addEnum(index, scope, type);
  for (const service of file.getServiceList()) addService(index, scope, service);
  for (const extension of file.getExtensionList()) index.symbols.push(join(scope, extension.getName()));
  return index;
}

function addMessage(index: FileIndex, scope: string, message: DescriptorProto): void {
  const fullName = join(scope, message.getName());
  const oneofs = message.getOneofDeclList().map((oneof) => oneof.getName() ?? '');
  const fields = message.getFieldList().map((field) => fieldSchema(field, oneofs));
  index.messages.push({ fullName, fields, isMapEntry: message.getOptions()?.getMapEntry() ?? false });
  index.symbols.push(
    fullName,
    ...[...fields.map((field) => field.name), ...oneofs].map((name) => join(fullName, name)),
  );
  for (const nested of message.getNestedTypeList()) addMessage(index, fullName, nested);
  for (const type of message.getEnumTypeList()) addEnum(index, fullName, type);
}

function fieldSchema(field: FieldDescriptorProto, oneofs: readonly string[]): FieldSchema {
  const type = FIELD_TYPES[field.getType() ?? 0];
  invariant(type !== undefined, `the field ${field.getName()} has a type of proto2`);
  // The compiler puts a proto3 `optional` field into a oneof of its own, which is not in the source.
  const isOptional = field.getProto3Optional() ?? false;
  const oneof = field.hasOneofIndex() && !isOptional ? oneofs[field.getOneofIndex() ?? 0] : undefined;
  const isRepeated = field.getLabel() === LABEL_REPEATED;
  return {
    name: field.getName() ?? '',
    number: field.getNumber() ?? 0,
    type,
    isRepeated,
    typeName: field.hasTypeName() ? withoutDot(field.getTypeName()) : undefined,
    oneof,
    hasPresence: !isRepeated && (type === 'message' || isOptional || oneof !== undefined),
  };
}

function addEnum(index: FileIndex, scope: string, type: EnumDescriptorProto): void {
  const fullName = join(scope, type.getName());
  const names = new Map<number, string>();
  index.symbols.push(fullName);
  for (const value of type.getValueList()) {
    const name = value.getName() ?? '';
    const number = value.getNumber() ?? 0;
    if (!names.has(number)) names.set(number, name);
    // Values are siblings of their enum, as in C++.
    index.symbols.push(join(scope, name));
  }
  index.enums.push({ fullName, names });
}

function addService(index: FileIndex, scope: string, service: ServiceDescriptorProto): void {
  const fullName = join(scope, service.getName());
  const methods = service.getMethodList().map(
    (method): MethodSchema => ({
      name: method.getName() ?? '',
      requestType: withoutDot(method.getInputType()),
      responseType: withoutDot(method.getOutputType()),
      isClientStreaming: method.getClientStreaming() ?? false,
      isServerStreaming: method.getServerStreaming() ?? false,
    }),
  );
  index.services.push({ fullName, methods });
  index.symbols.push(fullName, ...methods.map((method) => join(fullName, method.name)));
}

function join(scope: string, name: string | undefined): string {
  return scope === '' ? (name ?? '') : `${scope}.${name ?? ''}`;
}

/** The compiler writes resolved names as `.package.Name`. */
function withoutDot(name: string | undefined): string {
  return (name ?? '').replace(/^\./, '');
}
