import assert from 'node:assert/strict';
import { type Config, loadConfig } from '../config/load.ts';
import { isKind } from '../errors.ts';
import { DEFAULT_RULES } from '../platform/lexicon.ts';
import type { PlatformProperty } from '../platform/platform.ts';
import { createMatcher } from './platform.ts';

function configOf(platform: unknown): Config {
  const flags = [{ path: ['execution', 'platform'], value: platform, source: 'test' }];
  const loaded = loadConfig({ flags, environment: {} });
  assert.ok(loaded.ok, JSON.stringify(loaded));
  return loaded.config;
}

const pairs = (properties: Readonly<Record<string, string>>): PlatformProperty[] =>
  Object.entries(properties).map(([name, value]) => ({ name, value }));

/** Whether a worker with these properties may run an action that wants those. */
function fits(
  platform: unknown,
  wanted: Readonly<Record<string, string>>,
  offered: Readonly<Record<string, string>>,
): boolean {
  const matcher = createMatcher(configOf(platform));
  const needs = matcher.parse(pairs(wanted), { digestFunction: 'sha256', legacyOutputs: false });
  const alternatives = [matcher.parseOffer(pairs(offered))];
  return matcher.match({ alternatives, digestFunctions: ['sha256'], legacyOutputs: false }, needs).fits;
}

describe('createMatcher', () => {
  it('knows the built-in rules', () => {
    assert.equal(fits({}, { os: 'Darwin' }, { OSFamily: 'macos' }), true);
    assert.equal(fits({}, { 'min-cores': '4' }, { cores: '8' }), true);
  });

  it('ignores by default every name that the built-in rules ignore (R-PL-04)', () => {
    const ignored = DEFAULT_RULES.filter(({ mode }) => mode === 'ignore');
    for (const { name } of ignored) assert.equal(fits({}, { [name]: 'x' }, {}), true, name);
  });

  it('lets the configuration alone say which names are ignored (R-PL-04)', () => {
    assert.equal(fits({ ignore: [] }, { persistentWorkerKey: 'x' }, {}), false);
    assert.equal(fits({ ignore: ['team'] }, { team: 'x' }, {}), true);
    assert.equal(fits({ ignore: ['ISA'] }, { ISA: 'sparc-v9' }, {}), true);
  });

  it('puts a configured rule in the place of the built-in one of that name, in any case', () => {
    assert.equal(fits({}, { pool: 'a' }, { pool: 'A' }), false);
    const rules = [{ name: 'Pool', match: 'any-of', foldCase: true }];
    assert.equal(fits({ rules }, { pool: 'a' }, { pool: 'A' }), true);
  });

  it('lets a configured rule take an alias from a built-in one', () => {
    const rules = [{ name: 'machine', match: 'exact', aliases: ['CPU'] }];
    assert.equal(fits({ rules }, { cpu: 'amd64' }, { ISA: 'x86-64' }), false);
    assert.equal(fits({ rules }, { cpu: 'amd64' }, { machine: 'amd64' }), true);
    assert.equal(fits({ rules }, { arch: 'amd64' }, { ISA: 'x86-64' }), true);
  });

  it('takes the configured default amount of what an action does not ask for, and keeps the names and spellings', () => {
    const rules = [{ name: 'Cores', match: 'minimum', isTaken: true, defaultAmount: 1, aliases: ['threads'] }];
    const matcher = createMatcher(configOf({ rules }));
    const taken = (wanted: Readonly<Record<string, string>>) =>
      matcher.parse(pairs(wanted), { digestFunction: 'sha256', legacyOutputs: false }).takes;
    assert.deepEqual(taken({}), [{ name: 'Cores', amount: 1 }]);
    assert.deepEqual(taken({ threads: '2' }), [{ name: 'Cores', amount: 2 }]);
    assert.deepEqual(taken({ EstimatedCPU: '2500m' }), [{ name: 'Cores', amount: 2.5 }]);
  });

  it('takes nothing from a machine unless asked, or if the configuration says so', () => {
    const takes = (platform: unknown, wanted: Readonly<Record<string, string>>) =>
      createMatcher(configOf(platform)).parse(pairs(wanted), { digestFunction: 'sha256', legacyOutputs: false }).takes;
    assert.equal(takes({}, { OSFamily: 'linux' }), undefined);
    assert.deepEqual(takes({}, { memory_mb: '1' }), [{ name: 'memory', amount: 1_048_576 }]);
    assert.equal(takes({ rules: [{ name: 'memory', match: 'minimum' }] }, { memory: '4GB' }), undefined);
    const licence = { name: 'licence', match: 'minimum', isTaken: true };
    assert.deepEqual(takes({ rules: [licence] }, { licence: '2' }), [{ name: 'licence', amount: 2 }]);
  });

  it('lets a configured rule take a name that counts in steps from a built-in one', () => {
    const rules = [{ name: 'memory_kb', match: 'exact' }];
    assert.equal(fits({ rules }, { memory_kb: 'many' }, { memory_kb: 'many' }), true);
    assert.equal(fits({ rules }, { memory: '1' }, { memory_mb: '1' }), true);
  });

  it('makes a property with its own meaning of one that is an amount here', () => {
    const rules = [{ name: 'disk', match: 'exact' }];
    assert.equal(fits({ rules }, { disk: 'ssd' }, { disk: 'ssd' }), true);
    assert.equal(fits({ rules }, { EstimatedFreeDiskBytes: '1' }, { disk: 'ssd' }), false);
  });

  it('makes a preference of what would be needed', () => {
    const rules = [{ name: 'pool', match: 'preference' }];
    assert.equal(fits({ rules }, { pool: 'a' }, { pool: 'b' }), true);
  });

  it('refuses two configured rules for one name', () => {
    const platform = { ignore: ['a'], rules: [{ name: 'A', match: 'exact' }] };
    assert.throws(
      () => createMatcher(configOf(platform)),
      (error) => isKind(error, 'invalid-argument') && error.message === 'the property name "a" has two rules',
    );
  });
});
