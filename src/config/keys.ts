import { parse, YAMLError } from 'yaml';
import { z } from 'zod';
import { configurationSchema } from './schema.ts';
import { formatSize } from './units.ts';

/** What a key's environment variable starts with. */
export const ENVIRONMENT_PREFIX = 'GANTRY_';

/** One key of the configuration that holds a value (a section holds keys). */
export interface ConfigurationKey {
  readonly path: readonly string[];
  /** `GANTRY_` and the path in upper snake case: `store.maxSizeBytes` is `GANTRY_STORE_MAX_SIZE_BYTES`. */
  readonly environment: string;
  readonly description: string;
  /** How text, from a variable or a flag, is read: as it is, or as YAML. */
  readonly isText: boolean;
  /** A variable that sets it is where it is read from, when it is needed. */
  readonly isSecret: boolean;
  /** For people: `size`, `seconds`, `number`, `text`, `secret`, `true or false`, the alternatives, or `list`. */
  readonly type: string;
  /** For people; empty if there is none beyond the type. */
  readonly range: string;
  /** For people. */
  readonly default: string;
}

/** A section and its keys, for the reference. */
export interface ConfigurationSection {
  readonly path: readonly string[];
  readonly description: string;
}

/** The parts of JSON Schema that zod writes for our schema. */
interface Node {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly const?: unknown;
  readonly anyOf?: readonly Node[];
  readonly oneOf?: readonly Node[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly unit?: string;
}

const ROOT = z.toJSONSchema(configurationSchema, { io: 'output' }) as Node;

/** Every key, in the order of the schema. */
export const CONFIGURATION_KEYS: readonly ConfigurationKey[] = [...leaves(ROOT, [])];

/** Every section, in the order of the schema, outer ones first. */
export const CONFIGURATION_SECTIONS: readonly ConfigurationSection[] = [...sections(ROOT, [])];

/** The environment variable of a key. */
export function environmentName(path: readonly string[]): string {
  return ENVIRONMENT_PREFIX + path.map(upperSnake).join('_');
}

/** The names that may stand directly under a path; none if it is no section. */
export function namesUnder(path: readonly string[]): readonly string[] {
  let node: Node | undefined = ROOT;
  for (const name of path) node = node?.properties?.[name];
  return Object.keys(node?.properties ?? {});
}

/**
 * The value that the text of a variable or flag stands for. Keys whose values are text take it as it is, all others as
 * YAML, so that lists and alternatives can be written too. What is no YAML stays text, for the schema to refuse.
 */
export function readText(key: ConfigurationKey, text: string): unknown {
  if (key.isText) return text;
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof YAMLError) return text;
    throw error;
  }
}

function* leaves(node: Node, path: readonly string[]): Iterable<ConfigurationKey> {
  for (const [name, child] of Object.entries(node.properties ?? {})) {
    const at = [...path, name];
    if (isSection(child)) yield* leaves(child, at);
    else yield keyOf(child, at);
  }
}

function* sections(node: Node, path: readonly string[]): Iterable<ConfigurationSection> {
  for (const [name, child] of Object.entries(node.properties ?? {})) {
    if (!isSection(child)) continue;
    yield { path: [...path, name], description: child.description ?? '' };
    yield* sections(child, [...path, name]);
  }
}

/** Alternatives (`kind: …`) and lists are set as a whole; only plain objects are sections. */
function isSection(node: Node): boolean {
  return node.type === 'object' && node.properties !== undefined;
}

function keyOf(node: Node, path: readonly string[]): ConfigurationKey {
  return {
    path,
    environment: environmentName(path),
    description: node.description ?? '',
    isText: node.type === 'string',
    isSecret: node.unit === 'secret' || node.unit === 'text or secret',
    type: typeOf(node),
    range: rangeOf(node),
    default: valueText(node.default, node.unit),
  };
}

function upperSnake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

function typeOf(node: Node): string {
  if (node.enum !== undefined) return node.enum.join(' or ');
  if (node.const !== undefined) return String(node.const);
  if (node.anyOf !== undefined && node.unit === undefined) return node.anyOf.map(typeOf).join(' or ');
  if (node.oneOf !== undefined)
    return node.oneOf.map((each) => `kind: ${each.properties?.['kind']?.const}`).join(' or ');
  if (node.unit !== undefined) return node.unit === 'bytes' ? 'size' : node.unit;
  const names: Readonly<Record<string, string>> = {
    integer: 'number',
    number: 'number',
    string: 'text',
    boolean: 'true or false',
    array: 'list',
  };
  return names[node.type ?? ''] ?? '';
}

function rangeOf(node: Node): string {
  if (node.anyOf !== undefined) return node.anyOf.map(rangeOf).join('');
  if (node.minimum === undefined || node.maximum === undefined) return '';
  return `${valueText(node.minimum, node.unit)} to ${valueText(node.maximum, node.unit)}`;
}

function valueText(value: unknown, unit: string | undefined): string {
  if (typeof value === 'number') return unit === 'bytes' ? formatSize(value) : String(value);
  if (typeof value === 'string') return value === '' ? 'empty' : value;
  return JSON.stringify(value) ?? '';
}
