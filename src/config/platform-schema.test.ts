import assert from 'node:assert/strict';
import { configurationSchema } from './schema.ts';

/** What is wrong with a rule, as `key: message`. */
function problemsOf(rule: object): readonly string[] {
  const issues = configurationSchema.safeParse({ execution: { platform: { rules: [rule] } } }).error?.issues ?? [];
  return issues.map(({ path, message }) => `${path.slice(4).join('.')}: ${message}`);
}

describe('execution.platform.rules', () => {
  it('take nothing from a machine unless they say so', () => {
    const { execution } = configurationSchema.parse({
      execution: { platform: { rules: [{ name: 'gpu', match: 'exact' }] } },
    });
    assert.deepEqual(execution.platform.rules, [
      { name: 'gpu', match: 'exact', aliases: [], foldCase: false, isTaken: false, defaultAmount: 0 },
    ]);
  });

  for (const rule of [
    { name: 'cores', match: 'minimum', isTaken: true, defaultAmount: 1 },
    { name: 'licences', match: 'minimum', isTaken: true },
    { name: 'cores', match: 'minimum', isTaken: false },
    { name: 'zone', match: 'preference' },
  ]) {
    it(`accept ${JSON.stringify(rule)}`, () => assert.deepEqual(problemsOf(rule), []));
  }

  for (const match of ['exact', 'any-of', 'all-of', 'preference', 'ignore']) {
    it(`take amounts only, not what is matched as ${match}`, () => {
      assert.deepEqual(problemsOf({ name: 'cores', match, isTaken: true, defaultAmount: 2 }), [
        'isTaken: only what is matched as a `minimum` can be taken: it has to be an amount',
      ]);
    });
  }

  it('have a default amount only of what is taken', () => {
    assert.deepEqual(problemsOf({ name: 'cores', match: 'minimum', defaultAmount: 1 }), [
      'defaultAmount: needs `isTaken: true`: it is what an action takes that does not say how much',
    ]);
    assert.match(problemsOf({ name: 'a', match: 'minimum', isTaken: true, defaultAmount: -1 }).join(), /defaultAmount/);
  });
});
