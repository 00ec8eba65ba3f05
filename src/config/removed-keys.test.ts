import assert from 'node:assert/strict';
import { CONFIGURATION_KEYS } from './keys.ts';
import { loadConfig } from './load.ts';
import { REMOVED_KEYS } from './removed-keys.ts';

describe('REMOVED_KEYS', () => {
  const known = new Set(CONFIGURATION_KEYS.map(({ path }) => path.join('.')));

  for (const [key, instead] of REMOVED_KEYS) {
    it(`tells whoever still sets ${key} what to do instead`, () => {
      const path = key.split('.');
      const loaded = loadConfig({ environment: {}, flags: [{ path, value: 3, source: 'test' }] });
      assert.ok(!loaded.ok);
      assert.deepEqual(loaded.problems, [{ key, message: instead, source: 'test' }]);
    });

    it(`names only keys that there are, for ${key}`, () => {
      const named = instead.match(/\b[a-z]+[A-Za-z]*(?:\.[a-z]+[A-Za-z]*)+/g) ?? [];
      assert.ok(named.length > 0);
      assert.deepEqual(
        named.filter((each) => !known.has(each)),
        [],
      );
      assert.ok(!known.has(key));
    });
  }

  it('finds them in variables too', () => {
    const loaded = loadConfig({ environment: { GANTRY_EXECUTION_MAX_ATTEMPTS: '3' } });
    assert.ok(!loaded.ok);
    assert.deepEqual(
      loaded.problems.map(({ key, source }) => [key, source]),
      [['execution.maxAttempts', 'GANTRY_EXECUTION_MAX_ATTEMPTS']],
    );
  });
});
