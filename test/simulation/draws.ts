import { type InstanceName, parseInstanceName } from '../../src/digest/instance-name.ts';
import type { ShareKey } from '../../src/execution/scheduler/events.ts';
import { DEFAULT_OPTIONS, type SchedulerOptions } from '../../src/execution/scheduler/options.ts';
import { type CacheSketch, sketchOf } from '../../src/platform/locality.ts';
import type { SimPool } from './model-fleet.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { Version } from './sim-slot.ts';
import { MATCHER, type SimAction, type SimOffer, simAction, simOffer } from './vocabulary.ts';

const INSTANCES: readonly [InstanceName, ...InstanceName[]] = [
  parseInstanceName(''),
  parseInstanceName('team'),
  parseInstanceName('team/app'),
];

/** Which workers there are together; the first is the most frequent. */
const VERSIONS: readonly [Character['versions'], ...Character['versions'][]] = [
  ['ours'],
  ['ours', 'ours', 'ours', 'plain', 'previous', 'next'],
  ['plain', 'ours'],
  ['next', 'ours'],
];

/** What kind of world it is: drawn once, so that some worlds are simple and some have everything. */
export interface Character {
  readonly hasCores: boolean;
  readonly hasClasses: boolean;
  readonly hasShares: boolean;
  readonly isHedging: boolean;
  /** How often the server is killed. */
  readonly kills: number;
  /** How many clients ask again after that, as a share; where few do there are few clients at all. */
  readonly returns: number;
  /** Versions of workers; the first is the most frequent. */
  readonly versions: readonly [Version, ...Version[]];
  /** How many kinds of machines there are at first; 0: as it comes. */
  readonly kinds: number;
  /** Two machines of many fail nearly everything, and the others nothing. */
  readonly hasBrokenMachines: boolean;
}

/** What kind of world this seed makes. */
export function drawCharacter(random: SeededRandom): Character {
  const hasBrokenMachines = random.chance(0.3);
  const hasClasses = !hasBrokenMachines && random.chance(0.5);
  return {
    hasCores: random.chance(0.4),
    hasClasses,
    hasShares: random.chance(0.5),
    isHedging: random.chance(0.25),
    returns: random.pick([0.8, 0.8, 0.1]),
    kills: random.chance(0.4) ? random.between(1, 3) : 0,
    versions: random.pick(VERSIONS),
    kinds: hasBrokenMachines ? random.pick([1, 2]) : hasClasses ? 0 : random.pick([0, 0, 1]),
    hasBrokenMachines,
  };
}

/** The scheduler's options in this world. */
export function drawOptions(
  random: SeededRandom,
  { isHedging }: Character,
  pools: readonly SimPool[],
): SchedulerOptions {
  return {
    ...DEFAULT_OPTIONS,
    maxResends: random.between(2, 9),
    maxQueuedTasks: random.chance(0.2) ? 3 : DEFAULT_OPTIONS.maxQueuedTasks,
    maxOperations: random.chance(0.1) ? 5 : DEFAULT_OPTIONS.maxOperations,
    maxSlots: random.chance(0.05) ? 2 : DEFAULT_OPTIONS.maxSlots,
    reunionMs: random.pick([0, 0, 5_000]),
    adoptionGraceMs: random.pick([0, 20_000, 20_000, 60_000, 120_000]),
    retries: {
      maxAttempts: random.between(1, 6),
      maxLost: random.between(0, 3),
      maxFaults: random.between(0, 2),
      maxExhausted: random.between(0, 2),
      onLarger: random.pick(['failure', 'failure', 'exhaustion', 'nothing']),
      quarantineAfter: random.pick([0, 1, 2, 3]),
      quarantineMs: random.pick([20_000, 3_600_000]),
      maxQuarantined: 1_000,
    },
    fairness: {
      ...DEFAULT_OPTIONS.fairness,
      ageingMsPerPoint: random.pick([100, 10_000, 60_000]),
      maxPriority: random.pick([1, 5, 1_000]),
    },
    hedging: { isOn: isHedging, factor: 1.5, minMs: 2_000, maxShare: random.pick([0.05, 0.5]) },
    isolation: {
      faultsInARow: random.pick([0, 2, 2, 5]),
      window: random.pick([0, 4, 4, 40]),
      maxShare: random.pick([0.05, 0.25, 0.5]),
      forMs: random.pick([20_000, 120_000, 900_000]),
    },
    pools: pools.map(({ offer, waitMs, os }, index) => ({
      name: `pool${index}`,
      prefix: offer.prefix,
      offer: offer.wire,
      needs: MATCHER.parse([{ name: 'OSFamily', value: os }], { digestFunction: 'sha256', legacyOutputs: false }),
      waitMs,
    })),
  };
}

/** A configured pool. */
export function drawPool(random: SeededRandom, offer: SimOffer): SimPool {
  return { offer, waitMs: random.pick([10_000, 30_000, 100_000]), os: offer.sets[0]?.os ?? 'linux' };
}

/** The actions clients ask for. */
export function drawActions(random: SeededRandom, { hasCores, hasClasses }: Character): [SimAction, ...SimAction[]] {
  const draw = (number: number): SimAction => {
    const durationMs = random.pick([100, 3_000, 20_000, 70_000, 150_000]);
    const special: SimAction['nature'] = random.pick(['crashes', 'is-refused', 'fails']);
    const big = hasClasses && random.chance(0.3) ? 'is-big' : 'ordinary';
    return simAction(number, random.pick(INSTANCES), {
      os: random.pick(['linux', 'linux', 'linux', 'macos', undefined]),
      pool: random.pick([undefined, undefined, undefined, undefined, 'a', 'b', 'gpu']),
      cores: hasCores ? random.pick([undefined, 1, 1, 2, 4]) : undefined,
      durationMs,
      expectedMs: random.pick([undefined, durationMs, 500, 30_000]),
      nature: random.chance(0.15) ? special : big,
    });
  };
  const actions: [SimAction, ...SimAction[]] = [draw(0)];
  for (let number = random.between(1, 9); number > 0; number--) actions.push(draw(number));
  return actions;
}

/** What a machine can do. */
export function drawOffer(random: SeededRandom, { hasCores, hasClasses }: Character): SimOffer {
  const pools = ['a', 'b'].filter(() => random.chance(0.6));
  const sets = [{ os: random.pick(['linux', 'linux', 'macos']), pools }];
  if (random.chance(0.2)) sets.push({ os: 'macos', pools: ['gpu'] });
  return simOffer({
    sets,
    prefix: random.chance(0.85) ? INSTANCES[0] : random.pick(INSTANCES),
    cores: hasCores ? random.pick([1, 2, 4, 4]) : undefined,
    sizeClass: hasClasses ? random.pick([1, 4]) : 0,
  });
}

/** Who asks: a principal, a build, an invocation. */
export function drawShares(random: SeededRandom): readonly ShareKey[] {
  if (random.chance(0.1)) return [];
  const principal = random.between(0, 2);
  const path = [{ id: `principal${principal}`, weight: principal + 1 }];
  if (random.chance(0.2)) return path;
  return [
    ...path,
    { id: `build${random.between(0, 1)}`, weight: 1 },
    { id: `invocation${random.between(0, 2)}`, weight: 1 },
  ];
}

/** What a machine says it has cached. */
export function drawSketch(random: SeededRandom): CacheSketch {
  return sketchOf([random.between(0, 9).toString(16).padStart(64, '0')]);
}
