/** Parts of the API that a server may leave out. A profile lists those that are there; the suite never guesses. */
export const FEATURES = [
  'actionCacheUpdate',
  'bots',
  'completenessChecking',
  'drains',
  'execution',
  'health',
  'operations',
  'operationsDelete',
  'operationsFilter',
  'operationsList',
  'operationsWait',
  'queryWriteStatus',
  'reflection',
  'restrictedInstances',
  'workers',
] as const;

/** See {@link FEATURES}. */
export type Feature = (typeof FEATURES)[number];

/** What the owner of a server says about it. */
export interface Profile {
  readonly name: string;
  /** The instance name used by every case. */
  readonly instance: string;
  readonly features: ReadonlySet<Feature>;
  /** Platform properties of an action that some worker of the server can run. */
  readonly platform: readonly { readonly name: string; readonly value: string }[];
  /** An instance name that the server does not serve; used with `restrictedInstances`. */
  readonly unknownInstance: string;
  /** The longest a single call may take before the case fails, in milliseconds. */
  readonly callTimeoutMs: number;
}

/** A server that stores blobs and action results and does nothing else. */
export const DEFAULT_PROFILE: Profile = {
  name: 'cache',
  instance: '',
  features: new Set<Feature>(['actionCacheUpdate']),
  platform: [],
  unknownInstance: 'no-such-instance',
  callTimeoutMs: 20_000,
};

/**
 * Reads the JSON text of a profile. Keys that are absent have the value of {@link DEFAULT_PROFILE}.
 * @throws TypeError for anything that is not a profile, naming the key.
 */
export function parseProfile(text: string): Profile {
  const json: unknown = JSON.parse(text);
  const fields = asRecord(json, 'profile');
  const known = ['name', 'instance', 'features', 'platform', 'unknownInstance', 'callTimeoutMs'];
  for (const key of Object.keys(fields)) {
    if (!known.includes(key)) throw new TypeError(`unknown key of a profile: ${key}`);
  }
  return {
    name: asString(fields['name'] ?? DEFAULT_PROFILE.name, 'name'),
    instance: asString(fields['instance'] ?? DEFAULT_PROFILE.instance, 'instance'),
    features: fields['features'] === undefined ? DEFAULT_PROFILE.features : parseFeatures(fields['features']),
    platform: asArray(fields['platform'] ?? [], 'platform').map(parseProperty),
    unknownInstance: asString(fields['unknownInstance'] ?? DEFAULT_PROFILE.unknownInstance, 'unknownInstance'),
    callTimeoutMs: asCount(fields['callTimeoutMs'] ?? DEFAULT_PROFILE.callTimeoutMs, 'callTimeoutMs'),
  };
}

function parseFeatures(value: unknown): ReadonlySet<Feature> {
  const features = new Set<Feature>();
  for (const name of asArray(value, 'features')) {
    const feature = FEATURES.find((known) => known === name);
    if (feature === undefined) throw new TypeError(`unknown feature: ${String(name)}; known: ${FEATURES.join(', ')}`);
    features.add(feature);
  }
  return features;
}

function parseProperty(value: unknown): { readonly name: string; readonly value: string } {
  const fields = asRecord(value, 'platform');
  return { name: asString(fields['name'], 'platform.name'), value: asString(fields['value'], 'platform.value') };
}

/** @throws TypeError unless `value` is a JSON object; `what` is named in the message. */
export function asRecord(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(`${what} must be an object`);
  }
  return { ...value };
}

/** @throws TypeError unless `value` is a string; `what` is named in the message. */
export function asString(value: unknown, what: string): string {
  if (typeof value !== 'string') throw new TypeError(`${what} must be a string`);
  return value;
}

function asArray(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new TypeError(`${what} must be a list`);
  return value;
}

function asCount(value: unknown, what: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1) {
    throw new TypeError(`${what} must be a positive whole number`);
  }
  return value;
}
