import assert from 'node:assert/strict';
import { explainRefusal, type NamedOffer } from './explain-refusal.ts';
import { DEFAULT_RULES } from './lexicon.ts';
import { RuleMatcher } from './matcher.ts';
import type { PlatformProperty } from './platform.ts';

const MATCHER = new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'exact' });

function named(name: string, ...platform: readonly PlatformProperty[]): NamedOffer {
  const alternatives = [MATCHER.parseOffer(platform)];
  return { name, offer: { alternatives, digestFunctions: ['sha256'], legacyOutputs: false } };
}

function explain(platform: readonly PlatformProperty[], offers: readonly NamedOffer[]): string {
  const needs = MATCHER.parse(platform, { digestFunction: 'sha256', legacyOutputs: false });
  return explainRefusal(MATCHER, needs, offers);
}

describe('explainRefusal', () => {
  it('names the failing property, the values in the whole fleet and the nearest worker', () => {
    const offers = [
      named('far', { name: 'os', value: 'macos' }, { name: 'arch', value: 'arm64' }),
      named('near', { name: 'os', value: 'linux' }, { name: 'arch', value: 'arm64' }),
      named('as near', { name: 'os', value: 'linux' }, { name: 'arch', value: 'riscv64' }),
    ];
    assert.equal(
      explain(
        [
          { name: 'OSFamily', value: 'Linux' },
          { name: 'cpu', value: 'k8' },
        ],
        offers,
      ),
      'no worker satisfies the platform: ISA wants x86-64 (on offer: arm-a64, rv64g); the nearest worker is near',
    );
  });

  it('lists every property the nearest worker fails', () => {
    const offers = [named('only', { name: 'os', value: 'linux' })];
    assert.equal(
      explain(
        [
          { name: 'os', value: 'windows' },
          { name: 'zone', value: 'x' },
        ],
        offers,
      ),
      'no worker satisfies the platform: OSFamily wants windows (on offer: linux); zone wants x (no worker offers any); the nearest worker is only',
    );
  });

  it('says what is needed when nobody is connected, or everybody would do', () => {
    const wants = [{ name: 'os', value: 'linux' }];
    const expected = 'no worker is connected that could run it; it needs OSFamily=linux';
    assert.equal(explain(wants, []), expected);
    assert.equal(explain(wants, [named('fits', ...wants)]), expected);
    assert.match(explain([], []), /it needs no particular platform$/);
  });

  it('lists at most twelve values of a property', () => {
    const offers = Array.from({ length: 15 }, (_, index) =>
      named(`w${index}`, { name: 'zone', value: `z${String(index).padStart(2, '0')}` }),
    );
    assert.match(explain([{ name: 'zone', value: 'x' }], offers), /z00, z01.*z11 and 3 more\)/);
  });

  const machine = (name: string, memory: string, os = 'linux'): NamedOffer =>
    named(name, { name: 'os', value: os }, { name: 'memory', value: memory });
  const wants = (memory: string): PlatformProperty[] => [
    { name: 'os', value: 'linux' },
    { name: 'EstimatedMemory', value: memory },
  ];

  it('says by how much an action is too large for every machine', () => {
    assert.equal(
      explain(wants('64GB'), [machine('small', '8GB'), machine('large', '32GB')]),
      'no worker satisfies the platform: memory wants 68719476736 (64 GiB), and no worker has more than 34359738368 (32 GiB); the nearest worker is small',
    );
  });

  it('says what the nearest machine has where another one has enough', () => {
    const zoned = [...wants('2MB'), { name: 'zone', value: 'a' }];
    const linux = [
      { name: 'os', value: 'linux' },
      { name: 'zone', value: 'a' },
    ];
    const offers = [machine('mac', '3MB', 'macos'), named('near', ...linux, { name: 'memory', value: '1.5MB' })];
    assert.equal(
      explain(zoned, offers),
      'no worker satisfies the platform: memory wants 2097152 (2 MiB), of which the nearest worker has 1572864 (1.5 MiB) and the largest 3145728 (3 MiB); the nearest worker is near',
    );
    assert.match(
      explain(zoned, [machine('mac', '3MB', 'macos'), named('near', ...linux)]),
      /the nearest worker has none/,
    );
  });

  it('says when nobody counts what is taken', () => {
    const cores = [{ name: 'EstimatedCPU', value: '1500m' }];
    assert.match(explain(cores, [named('plain')]), /: cores wants 1.5 \(no worker offers any\);/);
  });

  it('never names a preference nor what an action takes without asking', () => {
    const rules = [
      { name: 'pool', mode: 'preference' },
      { name: 'cores', mode: 'minimum', isTaken: true, defaultAmount: 4 },
    ] as const;
    const matcher = new RuleMatcher({ rules, unknown: 'exact' });
    const platform = [
      { name: 'pool', value: 'a' },
      { name: 'zone', value: 'b' },
    ];
    const needs = matcher.parse(platform, { digestFunction: 'sha256', legacyOutputs: false });
    const offer = named('w', { name: 'cores', value: '2' });
    assert.equal(
      explainRefusal(matcher, needs, [offer]),
      'no worker satisfies the platform: zone wants b (no worker offers any); the nearest worker is w',
    );
  });
});
