import assert from 'node:assert/strict';
import { configurationSchema } from './schema.ts';

const LINUX = [{ name: 'OSFamily', value: 'linux' }];

function poolsOf(pools: readonly object[]) {
  return configurationSchema.parse({ execution: { pools } }).execution.pools;
}

/** What is wrong with pools, as `key: message`. */
function problemsOf(pools: readonly object[]): readonly string[] {
  const issues = configurationSchema.safeParse({ execution: { pools } }).error?.issues ?? [];
  return issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
}

describe('execution.pools', () => {
  it('are none unless some are named', () => {
    assert.deepEqual(configurationSchema.parse({}).execution.pools, []);
  });

  it('have defaults for everything but the name, from zero workers', () => {
    assert.deepEqual(poolsOf([{ name: 'linux' }]), [
      {
        ...{ name: 'linux', platform: [], instanceNamePrefix: '', sizeClass: 0, slotsPerWorker: 1 },
        ...{ minWorkers: 0, maxWorkers: 100, drainSeconds: 60, waitSeconds: 600, scaleDownSeconds: 300 },
      },
    ]);
  });

  for (const [pool, message] of [
    [{}, /^execution\.pools\.0\.name: /],
    [{ name: '' }, /name: must be 1 to 63 letters/],
    [{ name: '-a' }, /name: must be 1 to 63 letters/],
    [{ name: 'a b' }, /name: must be 1 to 63 letters/],
    [{ name: 'a'.repeat(64) }, /name: must be 1 to 63 letters/],
    [{ name: 'a', minWorkers: 5, maxWorkers: 4 }, /^execution\.pools\.0\.minWorkers: must not be above maxWorkers/],
    [{ name: 'a', slotsPerWorker: 0 }, /slotsPerWorker: .*>=1/],
    [{ name: 'a', drainSeconds: 0 }, /drainSeconds: .*>=1/],
    [{ name: 'a', colour: 'red' }, /colour/],
    [{ name: 'a', platform: [{ name: '', value: 'x' }] }, /platform\.0\.name: /],
  ] as const) {
    it(`refuses ${JSON.stringify(pool).slice(0, 60)}, naming the key`, () => {
      const [problem = '', ...others] = problemsOf([pool]);
      assert.deepEqual(others, []);
      assert.match(problem, message);
    });
  }

  it('have different names', () => {
    const problems = problemsOf([{ name: 'a' }, { name: 'a', platform: LINUX }, { name: 'A', sizeClass: 1 }]);
    assert.deepEqual(problems, ['execution.pools.1.name: there is a pool "a" already']);
  });

  it('can be told apart by what their workers report', () => {
    const properties = [...LINUX, { name: 'ISA', value: 'x86-64' }];
    const [problem = '', ...others] = problemsOf([
      { name: 'a', platform: properties },
      { name: 'b', platform: properties, sizeClass: 1 },
      { name: 'c', platform: properties, instanceNamePrefix: 'main' },
      { name: 'd', platform: LINUX },
      { name: 'e', platform: [{ name: 'isa', value: 'x86-64' }, ...LINUX] },
    ]);
    assert.deepEqual(others, []);
    assert.match(problem, /^execution\.pools\.4\.platform: is the same as that of "a"/);
  });

  it('are at most a hundred', () => {
    const many = Array.from({ length: 101 }, (_, at) => ({ name: `p${at}`, sizeClass: at }));
    assert.deepEqual(problemsOf(many.slice(0, 100)), []);
    assert.match(problemsOf(many).join(), /^execution\.pools: /);
  });
});
