import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isKind } from '../errors.ts';
import { DEFAULT_RULES } from './lexicon.ts';
import { RuleMatcher } from './matcher.ts';
import type { Match, PlatformProperty, Requirement, WorkerOffer } from './platform.ts';
import { MAX_PLATFORM_PROPERTIES, type PropertyRule } from './property-rules.ts';

const MATCHER = new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'exact' });
const DEMANDS = { digestFunction: 'sha256', legacyOutputs: false } as const;

/** `OSFamily=linux ISA=x86-64` as properties. */
function properties(text: string): PlatformProperty[] {
  return text.split(' ').flatMap((pair) => {
    const at = pair.indexOf('=');
    return at < 0 ? [] : [{ name: pair.slice(0, at), value: pair.slice(at + 1) }];
  });
}

function needs(text: string): Requirement {
  return MATCHER.parse(properties(text), DEMANDS);
}

function offer(...alternatives: readonly string[]): WorkerOffer {
  return {
    alternatives: alternatives.map((text) => MATCHER.parseOffer(properties(text))),
    digestFunctions: ['sha256'],
    legacyOutputs: false,
  };
}

function preferences(...names: readonly string[]): readonly PropertyRule[] {
  return names.map((name) => ({ name, mode: 'preference' }));
}

function match(offered: string, wanted: string): Match {
  return MATCHER.match(offer(offered), needs(wanted));
}

describe('RuleMatcher.parse', () => {
  const spellings: readonly (readonly [string, string, string])[] = [
    ['OSFamily=Linux', 'OSFamily', 'linux'],
    ['osfamily=linux', 'OSFamily', 'linux'],
    ['os=LINUX', 'OSFamily', 'linux'],
    ['OS=darwin', 'OSFamily', 'macos'],
    ['os=OSX', 'OSFamily', 'macos'],
    ['os=Windows', 'OSFamily', 'windows'],
    ['os=plan9', 'OSFamily', 'plan9'],
    ['ISA=x86-64', 'ISA', 'x86-64'],
    ['isa=x86_64', 'ISA', 'x86-64'],
    ['arch=amd64', 'ISA', 'x86-64'],
    ['Arch=AMD64', 'ISA', 'x86-64'],
    ['cpu=k8', 'ISA', 'x86-64'],
    ['arch=i686', 'ISA', 'x86-32'],
    ['arch=aarch64', 'ISA', 'arm-a64'],
    ['cpu=arm64', 'ISA', 'arm-a64'],
    ['arch=riscv64', 'ISA', 'rv64g'],
    ['libc=GNU', 'libc', 'glibc'],
    ['Pool=Big', 'pool', 'Big'],
    ['min-cores=04', 'cores', '4'],
    ['cores=2.50', 'cores', '2.5'],
    ['EstimatedCPU=1500m', 'cores', '1.5'],
    ['cpu_count=8', 'cores', '8'],
    ['memory=4096', 'memory', '4096'],
    ['EstimatedMemory=4GB', 'memory', '4294967296'],
    ['min-mem=1e9', 'memory', '1000000000'],
    ['memory_kb=2', 'memory', '2048'],
    ['memory_mb=2', 'memory', '2097152'],
    ['EstimatedFreeDiskBytes=60GB', 'disk', '64424509440'],
    ['GPUs=2', 'gpus', '2'],
    ['container-image=docker://A@sha256:b', 'container-image', 'docker://A@sha256:b'],
    ['Unknown=Value', 'Unknown', 'Value'],
  ];
  for (const [written, name, value] of spellings) {
    it(`takes ${written} for ${name}=${value} (R-PL-05, R-PL-06)`, () => {
      assert.deepEqual(needs(written).properties, [{ name, values: [value] }]);
    });
  }

  for (const name of ['persistentWorkerKey', 'persistentWorkerProtocol', 'bazel_tool_input', 'max-cores']) {
    it(`ignores ${name} (R-PL-04)`, () => {
      assert.deepEqual(needs(`${name}=anything os=linux`), needs('os=linux'));
    });
  }

  it('tolerates any order and exact duplicates, and joins the values of one name (R-BB-17)', () => {
    const expected = [
      { name: 'ISA', values: ['x86-64', 'x86-avx'] },
      { name: 'OSFamily', values: ['linux'] },
      { name: 'zone', values: ['a', 'b'] },
    ];
    assert.deepEqual(needs('zone=b OSFamily=linux ISA=x86-avx zone=a os=Linux arch=amd64').properties, expected);
  });

  it('keeps the typed demands', () => {
    const demands = { digestFunction: 'sha256', legacyOutputs: true } as const;
    assert.deepEqual(MATCHER.parse([], demands), { properties: [], ...demands });
  });

  const wrongs = [
    ...['=value', 'cores=four', 'cores=-1', 'cores=1e3', 'cores=', 'os=linux os=windows'],
    ...['cores=4GB', 'memory=much', 'memory=500m.', 'gpus=1500m', 'memory_mb=999999999999'],
  ];
  for (const wrong of wrongs) {
    it(`refuses ${wrong}`, () => {
      assert.throws(
        () => needs(wrong),
        (error) => isKind(error, 'invalid-argument'),
      );
    });
  }

  it(`refuses more than ${MAX_PLATFORM_PROPERTIES} properties`, () => {
    const many = Array.from({ length: MAX_PLATFORM_PROPERTIES + 1 }, (_, index) => ({ name: `p${index}`, value: '' }));
    assert.throws(
      () => MATCHER.parse(many, DEMANDS),
      (error) => isKind(error, 'invalid-argument'),
    );
    assert.equal(MATCHER.parse(many.slice(1), DEMANDS).properties.length, MAX_PLATFORM_PROPERTIES);
  });

  it('refuses an unknown name if the policy says so, but keeps it in an offer (R-PL-03)', () => {
    const strict = new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'refuse' });
    const unknown = properties('zone=a');
    assert.throws(
      () => strict.parse(unknown, DEMANDS),
      (error) => isKind(error, 'no-such-platform') && error.message.includes('"zone"'),
    );
    assert.deepEqual(strict.parseOffer(unknown).properties, [{ name: 'zone', values: ['a'] }]);
    assert.deepEqual(strict.parse(properties('persistentWorkerKey=x'), DEMANDS).properties, []);
  });
});

describe('Requirement.takes', () => {
  const taken = (text: string, matcher = MATCHER) => matcher.parse(properties(text), DEMANDS).takes;
  const licensed = new RuleMatcher({
    rules: [
      { name: 'zeta', mode: 'minimum', isTaken: true },
      { name: 'cores', mode: 'minimum', isTaken: true, defaultAmount: 0.5 },
      { name: 'height', mode: 'minimum' },
    ],
    unknown: 'exact',
  });

  it('is absent for an action that does not ask', () => {
    assert.equal('takes' in needs('os=linux'), false);
    assert.equal('takes' in needs('cores=0'), false);
  });

  it('has what is asked for, sorted by name, the largest if asked twice', () => {
    assert.deepEqual(taken('EstimatedMemory=1k min-cores=2 cores=10 zone=a'), [
      { name: 'cores', amount: 10 },
      { name: 'memory', amount: 1024 },
    ]);
  });

  it('has the default amount of what is not asked for, which is not demanded of a worker', () => {
    assert.deepEqual(taken('zeta=1', licensed), [
      { name: 'cores', amount: 0.5 },
      { name: 'zeta', amount: 1 },
    ]);
    assert.deepEqual(taken('cores=0', licensed), undefined);
    assert.deepEqual(taken('cores=3 height=2', licensed), [{ name: 'cores', amount: 3 }]);
    const unasked = licensed.parse([], DEMANDS);
    assert.deepEqual(unasked.properties, []);
    assert.equal(licensed.match(offer(''), unasked).fits, true);
  });
});

describe('RuleMatcher.capacityOf', () => {
  it('has the most of each name that is taken over all alternatives, sorted by name', () => {
    const { alternatives } = offer('memory=2k cores=4 cores=6 zone=9', 'cores=8', 'os=linux');
    assert.deepEqual(MATCHER.capacityOf(alternatives), [
      { name: 'cores', amount: 8 },
      { name: 'memory', amount: 2048 },
    ]);
    assert.deepEqual(MATCHER.capacityOf([]), []);
  });
});

describe('RuleMatcher.preferred', () => {
  const matcher = new RuleMatcher({
    rules: [...DEFAULT_RULES.filter(({ name }) => name !== 'pool'), ...preferences('pool', 'rack', 'disk-kind')],
    unknown: 'exact',
  });
  const wants = (text: string): Requirement => matcher.parse(properties(text), DEMANDS);
  const worker = (...alternatives: readonly string[]): WorkerOffer => ({
    ...offer(),
    alternatives: alternatives.map((text) => matcher.parseOffer(properties(text))),
  });

  it('keeps preferences apart from what is needed, and keeps them in offers', () => {
    const { properties: needed, preferences: preferred } = wants('Pool=a os=linux rack=1 pool=b');
    assert.deepEqual(needed, [{ name: 'OSFamily', values: ['linux'] }]);
    assert.deepEqual(preferred, [
      { name: 'pool', values: ['a', 'b'] },
      { name: 'rack', values: ['1'] },
    ]);
    assert.equal('preferences' in wants('os=linux'), false);
    assert.deepEqual(matcher.parseOffer(properties('pool=a pool=b')).properties, [
      { name: 'pool', values: ['a', 'b'] },
    ]);
  });

  it('never refuses for a preference (R-PL-07)', () => {
    assert.equal(matcher.match(worker('os=linux pool=b'), wants('os=linux pool=a')).fits, true);
    assert.equal(matcher.match(worker(''), wants('pool=a')).fits, true);
  });

  const table: readonly (readonly [readonly string[], string, number])[] = [
    [['pool=a rack=1'], '', 0],
    [['pool=a rack=1'], 'pool=a', 1],
    [['pool=a rack=1'], 'pool=a rack=1 disk-kind=ssd', 2],
    [['pool=a rack=1'], 'pool=b pool=a', 1],
    [['pool=a'], 'pool=b', 0],
    [['pool=a', 'pool=a rack=1'], 'pool=a rack=1', 2],
    [['os=linux pool=a', 'os=macos pool=a rack=1'], 'os=linux pool=a rack=1', 1],
    [['os=macos pool=a'], 'os=linux pool=a', 0],
    [[], 'pool=a', 0],
  ];
  for (const [alternatives, wanted, count] of table) {
    it(`counts ${count} of [${wanted}] on [${alternatives.join('] or [')}]`, () => {
      assert.equal(matcher.preferred(worker(...alternatives), wants(wanted)), count);
    });
  }

  it('counts nothing where a typed demand fails', () => {
    const legacy = matcher.parse(properties('pool=a'), { ...DEMANDS, legacyOutputs: true });
    assert.equal(matcher.preferred(worker('pool=a'), legacy), 0);
    assert.equal(matcher.preferred({ ...worker('pool=a'), legacyOutputs: true }, legacy), 1);
  });
});

describe('RuleMatcher', () => {
  const contradictions: readonly (readonly [string, PropertyRule])[] = [
    ['takes what is no amount', { name: 'a', mode: 'exact', isTaken: true }],
    ['has a unit for what is no amount', { name: 'a', mode: 'any-of', unit: 'bytes' }],
    ['counts an alias in steps of what is no amount', { name: 'a', mode: 'ignore', scaledAliases: { b: 2 } }],
    ['has a default amount of what is not taken', { name: 'a', mode: 'minimum', defaultAmount: 1 }],
    ['has a negative default amount', { name: 'a', mode: 'minimum', isTaken: true, defaultAmount: -1 }],
    ['has no number as default amount', { name: 'a', mode: 'minimum', isTaken: true, defaultAmount: Number.NaN }],
  ];
  for (const [what, rule] of contradictions) {
    it(`refuses a rule that ${what}`, () => {
      assert.throws(
        () => new RuleMatcher({ rules: [rule], unknown: 'exact' }),
        (error) => isKind(error, 'invalid-argument') && error.message.includes('"a"'),
      );
    });
  }

  it('refuses rules that claim one name twice', () => {
    const rules = [
      { name: 'a', mode: 'exact' },
      { name: 'b', aliases: ['A'], mode: 'exact' },
    ] as const;
    assert.throws(
      () => new RuleMatcher({ rules, unknown: 'exact' }),
      (error) => isKind(error, 'invalid-argument'),
    );
  });
});

describe('RuleMatcher.match', () => {
  const table: readonly (readonly [string, string, boolean])[] = [
    ['', '', true],
    ['os=linux', '', true],
    ['', 'os=linux', false],
    ['os=linux', 'OSFamily=Linux', true],
    ['os=linux', 'os=macos', false],
    ['arch=amd64 ISA=x86-avx2', 'ISA=x86-64', true],
    ['arch=amd64 ISA=x86-avx2', 'ISA=x86-64 ISA=x86-avx2', true],
    ['arch=amd64', 'ISA=x86-64 ISA=x86-avx2', false],
    ['pool=a pool=b', 'pool=b', true],
    ['pool=a pool=b', 'pool=c pool=b', true],
    ['pool=a', 'pool=A', false],
    ['libc=glibc libc=musl', 'libc=musl', true],
    ['cores=8', 'min-cores=4', true],
    ['cores=8', 'cores=8.0', true],
    ['cores=8', 'cores=10', false],
    ['', 'cores=1', false],
    ['cores=8', 'cores=2 cores=16', false],
    ['zone=a', 'zone=a', true],
    ['zone=a', 'Zone=a', false],
    ['zone=a', 'zone=a zone=b', false],
    ['zone=a zone=b', 'zone=a zone=b', true],
  ];
  for (const [offered, wanted, fits] of table) {
    it(`says that an offer of [${offered}] ${fits ? 'satisfies' : 'does not satisfy'} [${wanted}] (R-PL-07)`, () => {
      assert.equal(match(offered, wanted).fits, fits);
    });
  }

  it('names the properties that fail in the nearest alternative', () => {
    const both = offer('os=linux arch=arm64', 'os=linux arch=amd64 pool=a');
    assert.deepEqual(MATCHER.match(both, needs('os=linux arch=amd64 pool=b')), {
      fits: false,
      refusals: [{ property: 'pool', wanted: ['b'], offered: ['a'] }],
    });
  });

  it('never joins alternatives', () => {
    const both = offer('os=linux arch=amd64', 'os=macos arch=arm64');
    assert.equal(MATCHER.match(both, needs('os=macos arch=arm64')).fits, true);
    assert.equal(MATCHER.match(both, needs('os=macos arch=amd64')).fits, false);
  });

  it('refuses everything for an offer without alternatives', () => {
    assert.equal(MATCHER.match(offer(), needs('')).fits, false);
    assert.equal(MATCHER.match(offer(), needs('os=linux')).fits, false);
  });

  it('refuses a digest function or legacy outputs that the worker cannot do, by name', () => {
    const bare = { ...offer(''), digestFunctions: [] };
    const legacy = MATCHER.parse([], { ...DEMANDS, legacyOutputs: true });
    assert.deepEqual(MATCHER.match(bare, legacy), {
      fits: false,
      refusals: [
        { property: 'digest function', wanted: ['sha256'], offered: [] },
        { property: 'legacy outputs', wanted: ['yes'], offered: ['no'] },
      ],
    });
    assert.equal(MATCHER.match({ ...offer(''), legacyOutputs: true }, legacy).fits, true);
  });
});

const PROPERTY: fc.Arbitrary<PlatformProperty> = fc.oneof(
  fc.record({
    name: fc.constantFrom('ISA', 'arch', 'pool', 'libc', 'zone'),
    value: fc.constantFrom('a', 'b', 'amd64'),
  }),
  fc.record({ name: fc.constant('cores'), value: fc.nat(9).map(String) }),
  fc.record({ name: fc.constant('persistentWorkerKey'), value: fc.string() }),
);
const PLATFORM = fc.array(PROPERTY, { maxLength: 6 });

describe('RuleMatcher laws', () => {
  const offerOf = (set: readonly PlatformProperty[]): WorkerOffer => ({
    alternatives: [MATCHER.parseOffer(set)],
    digestFunctions: ['sha256'],
    legacyOutputs: false,
  });

  it('law: adding a property to an alternative, or an alternative, never turns a match into a refusal', () => {
    fc.assert(
      fc.property(PLATFORM, PROPERTY, PLATFORM, PLATFORM, (has, more, other, wants) => {
        const wanted = MATCHER.parse(wants, DEMANDS);
        if (!MATCHER.match(offerOf(has), wanted).fits) return;
        assert.equal(MATCHER.match(offerOf([...has, more]), wanted).fits, true);
        const alternatives = [...offerOf(other).alternatives, ...offerOf(has).alternatives];
        assert.equal(MATCHER.match({ ...offerOf(has), alternatives }, wanted).fits, true);
      }),
    );
  });

  it('law: whatever is asked for, a worker that offers exactly that satisfies it', () => {
    fc.assert(
      fc.property(PLATFORM, (wants) => {
        assert.equal(MATCHER.match(offerOf(wants), MATCHER.parse(wants, DEMANDS)).fits, true);
      }),
    );
  });

  it('law: a refusal names at least one property, and all of those asked for that the only alternative fails', () => {
    fc.assert(
      fc.property(PLATFORM, PLATFORM, (has, wants) => {
        const wanted = MATCHER.parse(wants, DEMANDS);
        const result = MATCHER.match(offerOf(has), wanted);
        if (result.fits) return;
        const failing = new Set(result.refusals.map((refusal) => refusal.property));
        for (const property of wanted.properties) {
          const alone = { ...wanted, properties: [property] };
          assert.equal(MATCHER.match(offerOf(has), alone).fits, !failing.has(property.name));
        }
        assert.ok(failing.size > 0);
      }),
    );
  });

  it('law: preferences and default amounts never change what fits, and no worker satisfies more preferences than there are', () => {
    const rules = DEFAULT_RULES.filter(({ name }) => !['pool', 'libc', 'cores'].includes(name));
    const strict = new RuleMatcher({ rules: [...rules, { name: 'cores', mode: 'minimum' }], unknown: 'exact' });
    const soft = new RuleMatcher({
      rules: [
        ...rules,
        ...preferences('pool', 'libc'),
        { name: 'cores', mode: 'minimum', isTaken: true, defaultAmount: 3 },
      ],
      unknown: 'exact',
    });
    fc.assert(
      fc.property(PLATFORM, PLATFORM, (has, wants) => {
        const offerBy = (matcher: RuleMatcher) => ({ ...offerOf([]), alternatives: [matcher.parseOffer(has)] });
        const hard = wants.filter(({ name }) => name !== 'pool' && name !== 'libc');
        const needed = soft.parse(wants, DEMANDS);
        const fits = soft.match(offerBy(soft), needed).fits;
        assert.equal(fits, strict.match(offerBy(strict), strict.parse(hard, DEMANDS)).fits);
        const preferred = soft.preferred(offerBy(soft), needed);
        assert.ok(preferred <= (fits ? (needed.preferences ?? []).length : 0));
      }),
    );
  });

  it('law: what fits and was asked for is never more than the capacity', () => {
    fc.assert(
      fc.property(fc.array(PLATFORM, { maxLength: 3 }), PLATFORM, (has, wants) => {
        const alternatives = has.map((set) => MATCHER.parseOffer(set));
        const needed = MATCHER.parse(wants, DEMANDS);
        if (!MATCHER.match({ ...offerOf([]), alternatives }, needed).fits) return;
        const capacity = new Map(MATCHER.capacityOf(alternatives).map(({ name, amount }) => [name, amount]));
        for (const { name, amount } of needed.takes ?? []) assert.ok(amount <= (capacity.get(name) ?? 0));
      }),
    );
  });

  it('law: parsing is deterministic, independent of order, and total but for invalid arguments', () => {
    const anything = fc.array(fc.record({ name: fc.string(), value: fc.string() }), { maxLength: 8 });
    fc.assert(
      fc.property(fc.oneof(anything, PLATFORM), (platform) => {
        const parse = (list: readonly PlatformProperty[]): unknown => {
          try {
            return MATCHER.parse(list, DEMANDS);
          } catch (error) {
            assert.ok(isKind(error, 'invalid-argument'));
            return 'invalid-argument';
          }
        };
        assert.deepEqual(parse([...platform].reverse()), parse(platform));
      }),
    );
  });
});
