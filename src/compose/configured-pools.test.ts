import assert from 'node:assert/strict';
import { type Config, loadConfig } from '../config/load.ts';
import { DIGEST_FUNCTIONS } from '../digest/digest-function.ts';
import { isKind } from '../errors.ts';
import { configuredPools } from './configured-pools.ts';
import { createMatcher } from './platform.ts';

function configOf(pools: readonly object[], rules: readonly object[] = []): Config {
  const flags = [
    { path: ['execution', 'pools'], value: pools, source: 'test' },
    { path: ['execution', 'platform', 'rules'], value: rules, source: 'test' },
  ];
  const loaded = loadConfig({ environment: {}, flags });
  assert.ok(loaded.ok, JSON.stringify(loaded));
  return loaded.config;
}

function poolsOf(pools: readonly object[], rules: readonly object[] = []) {
  const config = configOf(pools, rules);
  return configuredPools(config, createMatcher(config));
}

describe('configuredPools', () => {
  it('is empty unless pools are configured', () => assert.deepEqual(poolsOf([]), []));

  it('understands platforms as those of workers, in milliseconds', () => {
    const platform = [
      { name: 'osfamily', value: 'Linux' },
      { name: 'ISA', value: 'x86-64' },
    ];
    const sizes = { slotsPerWorker: 4, minWorkers: 1, maxWorkers: 7 };
    const times = { drainSeconds: 2, waitSeconds: 3, scaleDownSeconds: 4 };
    const pools = poolsOf([{ name: 'a', platform, instanceNamePrefix: 'main', sizeClass: 2, ...sizes, ...times }]);
    const properties = [
      { name: 'ISA', values: ['x86-64'] },
      { name: 'OSFamily', values: ['linux'] },
    ];
    assert.deepEqual(pools, [
      {
        ...{ name: 'a', prefix: 'main', ...sizes, drainMs: 2000, waitMs: 3000, scaleDownMs: 4000 },
        needs: { properties, digestFunction: 'sha256', legacyOutputs: false },
        offer: { alternatives: [{ properties }], digestFunctions: DIGEST_FUNCTIONS, legacyOutputs: true, sizeClass: 2 },
      },
    ]);
  });

  it('knows what the slots of a machine share', () => {
    const rules = [{ name: 'licences', match: 'minimum', isTaken: true }];
    const [pool] = poolsOf([{ name: 'a', platform: [{ name: 'licences', value: '3' }] }], rules);
    assert.deepEqual(pool?.offer.capacity, [{ name: 'licences', amount: 3 }]);
  });

  for (const [pools, message] of [
    [[{ name: 'a', instanceNamePrefix: 'x//y' }], /^the pool "a": the instance name has an empty segment/],
    [[{ name: 'a', platform: [{ name: 'cores', value: 'many' }] }], /^the pool "a": .*cores/],
    [
      [
        { name: 'a', platform: [{ name: 'OSFamily', value: 'linux' }] },
        { name: 'b', platform: [{ name: 'OSFamily', value: 'Linux' }] },
      ],
      /^the pools "a" and "b" mean the same workers$/,
    ],
  ] as const) {
    it(`refuses ${JSON.stringify(pools).slice(0, 60)}, naming the pool`, () => {
      const rules = [{ name: 'cores', match: 'minimum' }];
      assert.throws(
        () => poolsOf(pools, rules),
        (error) => isKind(error, 'invalid-argument') && message.test(error.message),
      );
    });
  }
});
