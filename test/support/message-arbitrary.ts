import fc from 'fast-check';
import type { DecodedMessage, DecodedValue } from '../../src/descriptors/decode-message.ts';
import type { DescriptorPool } from '../../src/descriptors/descriptor-pool.ts';
import type { FieldSchema, FieldType, MessageSchema } from '../../src/descriptors/schema.ts';
import { invariant } from '../../src/errors.ts';

/** Messages within messages; enough for every message of ours to hold a message that holds a message. */
const MAX_DEPTH = 3;

/** A number no enum of ours has: values of a newer schema must survive. */
const UNKNOWN_ENUM_VALUE = 4711;

/** Without a byte order mark in front, which google-protobuf drops. */
const string = fc.string({ unit: 'binary', maxLength: 8 }).filter((text) => !text.startsWith('\u{FEFF}'));
/**
 * `__proto__` is left out: generated code assigns map entries, and that key then sets a prototype. So are defaults:
 * an entry with a default key or value has two forms on the wire, and neither is wrong.
 */
const mapKey = string.filter((key) => key !== '__proto__' && key !== '');
const bytes = fc.uint8Array({ maxLength: 8 }).map((value) => Buffer.from(value).toString('base64'));
/** Not numbers that JSON lacks, and not -0, which some codecs take for the default. */
const isPlainNumber = (value: number): boolean => !Object.is(value, -0);
const finite = { noNaN: true, noDefaultInfinity: true } as const;

const SCALARS: Readonly<Partial<Record<FieldType, fc.Arbitrary<string | number | boolean>>>> = {
  string,
  bytes,
  bool: fc.boolean(),
  int32: fc.integer(),
  sint32: fc.integer(),
  uint32: fc.nat({ max: 2 ** 32 - 1 }),
  int64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
  uint64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String),
  double: fc.double(finite).filter(isPlainNumber),
  float: fc.float(finite).filter(isPlainNumber),
};

/**
 * Random messages of a schema in the form of `decodeMessage`: canonical, so that an absent field and a default one
 * are not both possible. An Any holds a type that no pool knows, and so stays closed.
 */
export function arbitraryMessage(pool: DescriptorPool, schema: MessageSchema, depth = 0): fc.Arbitrary<DecodedMessage> {
  if (schema.fullName === 'google.protobuf.Any') {
    const type_url = fc.constant('example.com/no.Such');
    return fc.record({ type_url, value: bytes.filter((value) => value !== '') }, { noNullPrototype: true });
  }
  const groups = new Map<string, FieldSchema[]>();
  for (const field of schema.fields) {
    const group = field.oneof === undefined ? `field ${field.name}` : `oneof ${field.oneof}`;
    groups.set(group, [...(groups.get(group) ?? []), field]);
  }
  const parts = [...groups.values()].map((members) => {
    const choices = members.filter((field) => field.type !== 'message' || depth < MAX_DEPTH);
    return fc.oneof(fc.constant({}), ...choices.map((field) => oneField(pool, field, depth)));
  });
  return fc.tuple(...parts).map((fields) => Object.assign({}, ...fields));
}

/** An object with that field alone, or with none if the value is one that is not written. */
function oneField(pool: DescriptorPool, field: FieldSchema, depth: number): fc.Arbitrary<DecodedMessage> {
  return fieldValue(pool, field, depth).map((value) => (value === undefined ? {} : { [field.name]: value }));
}

function fieldValue(pool: DescriptorPool, field: FieldSchema, depth: number): fc.Arbitrary<DecodedValue | undefined> {
  const entry = field.isRepeated && field.type === 'message' ? schemaOf(pool, field) : undefined;
  if (entry?.isMapEntry === true) {
    const part = entry.fields.find((one) => one.name === 'value');
    invariant(part !== undefined, `${entry.fullName} has a value`);
    const value = single(pool, part, depth).filter((one) => !isDefault(pool, part, one));
    return fc.dictionary(mapKey, value, { minKeys: 1, maxKeys: 3, noNullPrototype: true });
  }
  if (field.isRepeated) return fc.array(single(pool, field, depth), { minLength: 1, maxLength: 3 });
  return single(pool, field, depth).map((value) =>
    field.hasPresence || !isDefault(pool, field, value) ? value : undefined,
  );
}

function single(pool: DescriptorPool, field: FieldSchema, depth: number): fc.Arbitrary<DecodedValue> {
  if (field.type === 'message') return arbitraryMessage(pool, schemaOf(pool, field), depth + 1);
  if (field.type === 'enum') {
    const names = [...(pool.enum(field.typeName ?? '')?.names.values() ?? [])];
    return fc.constantFrom<string | number>(...names, UNKNOWN_ENUM_VALUE);
  }
  const scalar = SCALARS[field.type];
  invariant(scalar !== undefined, `no schema of ours has a ${field.type}; add it to SCALARS`);
  return scalar;
}

function isDefault(pool: DescriptorPool, field: FieldSchema, value: DecodedValue): boolean {
  if (field.type === 'enum') return value === pool.enum(field.typeName ?? '')?.names.get(0);
  return value === 0 || value === '' || value === false || (value === '0' && field.type !== 'string');
}

function schemaOf(pool: DescriptorPool, field: FieldSchema): MessageSchema {
  const schema = pool.message(field.typeName ?? '');
  invariant(schema !== undefined, `the pool lacks ${field.typeName}`);
  return schema;
}
