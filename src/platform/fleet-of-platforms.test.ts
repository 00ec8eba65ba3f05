import assert from 'node:assert/strict';
import { explainRefusal, type NamedOffer } from './explain-refusal.ts';
import { DEFAULT_RULES } from './lexicon.ts';
import { RuleMatcher } from './matcher.ts';
import type { PlatformProperty, Requirement } from './platform.ts';

const MATCHER = new RuleMatcher({
  rules: [...DEFAULT_RULES, { name: 'rack', mode: 'preference' }],
  unknown: 'exact',
});

/** `OSFamily=linux ISA=x86-64` as properties. */
function properties(text: string): PlatformProperty[] {
  return text.split(' ').map((pair) => {
    const [name = '', ...value] = pair.split('=');
    return { name, value: value.join('=') };
  });
}

function worker(name: string, ...alternatives: readonly string[]): NamedOffer {
  const sets = alternatives.map((text) => MATCHER.parseOffer(properties(text)));
  return { name, offer: { alternatives: sets, digestFunctions: ['sha256'], legacyOutputs: false } };
}

/** Declared platforms, as workers of several systems send them; the last of them can do two things. */
const FLEET: readonly NamedOffer[] = [
  worker(
    'linux-x86',
    'OSFamily=linux ISA=x86-64 ISA=x86-avx ISA=x86-avx2 ISA=x86-sse4.2 libc=glibc cores=32 memory=128GB',
  ),
  worker('linux-x86-old', 'OSFamily=linux ISA=x86-64 ISA=x86-sse4.2 libc=glibc libc=musl cores=8 memory=16GB rack=1'),
  worker('linux-arm', 'OSFamily=linux ISA=arm-a64 ISA=arm-neon ISA=armv8 libc=musl cores=64 memory=256GB'),
  worker('mac', 'OSFamily=macos ISA=arm-a64 ISA=arm-neon ISA=armv8 cores=10 memory=32GB xcode=16.2'),
  worker('windows', 'OSFamily=windows ISA=x86-64 ISA=x86-avx2 cores=16 memory=64GB'),
  worker('linux-or-wasi', 'OSFamily=linux ISA=x86-64 cores=4', 'OSFamily=wasi ISA=wasm32 cores=4 runtime=wasmtime'),
];

function needs(text: string): Requirement {
  return MATCHER.parse(text === '' ? [] : properties(text), { digestFunction: 'sha256', legacyOutputs: false });
}

/** Who may run it, in the order of the fleet. */
function takers(text: string, fleet: readonly NamedOffer[] = FLEET): string[] {
  return fleet.filter(({ offer }) => MATCHER.match(offer, needs(text)).fits).map(({ name }) => name);
}

describe('a fleet of several platforms', () => {
  const everyone = FLEET.map(({ name }) => name);
  const routes: readonly (readonly [string, string, readonly string[]])[] = [
    ['any platform satisfies an action without properties', '', everyone],
    [
      'one system of several architectures (R-PL-05)',
      'OSFamily=linux',
      ['linux-x86', 'linux-x86-old', 'linux-arm', 'linux-or-wasi'],
    ],
    [
      'one architecture of several systems (R-PL-05)',
      'ISA=x86-64',
      ['linux-x86', 'linux-x86-old', 'windows', 'linux-or-wasi'],
    ],
    ['another architecture of other systems (R-PL-05)', 'ISA=arm-a64', ['linux-arm', 'mac']],
    [
      'Bazel on RBE: Linux in its capitals (R-PL-06)',
      'OSFamily=Linux ISA=x86-64',
      ['linux-x86', 'linux-x86-old', 'linux-or-wasi'],
    ],
    ['Buck2 with aliases (R-PL-06)', 'os=darwin arch=aarch64', ['mac']],
    ['BuildStream with the names of the lexicon (R-PL-06)', 'OSFamily=linux ISA=arm-a64', ['linux-arm']],
    ['several values of ISA are all needed (R-PL-05, R-PL-07)', 'ISA=x86-64 ISA=x86-avx2', ['linux-x86', 'windows']],
    ['values of ISA and the system (R-PL-07)', 'OSFamily=linux ISA=x86-64 ISA=x86-avx2 ISA=x86-avx', ['linux-x86']],
    ['an extension alone (R-PL-05)', 'ISA=arm-neon', ['linux-arm', 'mac']],
    ['no machine has two architectures at once', 'ISA=x86-64 ISA=arm-a64', []],
    ['any of the C libraries asked for (R-PL-07)', 'libc=musl', ['linux-x86-old', 'linux-arm']],
    ['a minimum of cores (R-PL-06, R-PL-07)', 'OSFamily=linux min-cores=16', ['linux-x86', 'linux-arm']],
    ['a minimum of memory with a unit', 'ISA=arm-a64 EstimatedMemory=64GB', ['linux-arm']],
    ['a property of one platform only, without a rule (R-PL-03)', 'xcode=16.2', ['mac']],
    ['the second alternative of an offer', 'OSFamily=wasi ISA=wasm32', ['linux-or-wasi']],
    ['what only the second alternative has', 'runtime=wasmtime', ['linux-or-wasi']],
    ['alternatives are never mixed', 'OSFamily=linux ISA=wasm32', []],
    ['alternatives are never mixed by a property of the other one', 'OSFamily=linux runtime=wasmtime', []],
    [
      'names that only matter to clients are left out (R-PL-04)',
      'os=windows persistentWorkerKey=1 max-cores=2',
      ['windows'],
    ],
    ['a preference routes nothing away (R-PL-07)', 'OSFamily=macos rack=1', ['mac']],
  ];
  for (const [what, wanted, expected] of routes) {
    it(`${what}: [${wanted}] goes to ${expected.join(', ') || 'nobody'}`, () => {
      assert.deepEqual(takers(wanted), expected);
    });
  }

  it('prefers the worker that has what would be better', () => {
    const preferred = FLEET.map(({ offer }) => MATCHER.preferred(offer, needs('OSFamily=linux rack=1')));
    assert.deepEqual(preferred, [0, 1, 0, 0, 0, 0]);
  });

  it('counts what machines share, the most of any alternative', () => {
    const cores = FLEET.map(({ offer }) => MATCHER.capacityOf(offer.alternatives)[0]?.amount);
    assert.deepEqual(cores, [32, 8, 64, 10, 16, 4]);
  });

  it('sends actions elsewhere once a worker comes back with other properties', () => {
    const wanted = 'OSFamily=linux ISA=x86-64 ISA=x86-avx2';
    assert.deepEqual(takers(wanted), ['linux-x86']);
    const moved = worker('linux-x86', 'OSFamily=windows ISA=x86-64 ISA=x86-avx2');
    const grown = worker('linux-x86-old', 'OSFamily=linux ISA=x86-64 ISA=x86-avx2');
    const [, , ...others] = FLEET;
    assert.deepEqual(takers(wanted, [moved, grown, ...others]), ['linux-x86-old']);
  });

  it('names the worker nearest to an action that nobody can run, and what it lacks', () => {
    const explain = (text: string): string => explainRefusal(MATCHER, needs(text), FLEET);
    assert.equal(
      explain('OSFamily=macos ISA=x86-64'),
      'no worker satisfies the platform: OSFamily wants macos (on offer: linux, macos, wasi, windows); the nearest worker is linux-x86',
    );
    assert.equal(
      explain('OSFamily=macos ISA=arm-a64 xcode=15'),
      'no worker satisfies the platform: xcode wants 15 (on offer: 16.2); the nearest worker is mac',
    );
    assert.equal(
      explain('OSFamily=windows cores=128'),
      'no worker satisfies the platform: cores wants 128, and no worker has more than 64; the nearest worker is windows',
    );
  });
});
