import type { Config } from '../config/load.ts';
import { DIGEST_FUNCTIONS } from '../digest/digest-function.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { ReapiError } from '../errors.ts';
import type { ScalingPool } from '../execution/scaling/scaling-pool.ts';
import type { PoolOptions } from '../execution/scheduler/options.ts';
import type { PlatformMatcher } from '../platform/platform.ts';

/** A configured pool, for the scheduler that waits for its workers and for the scaling that wants them. */
export type ConfiguredPool = PoolOptions & ScalingPool;

/**
 * The pools of `execution.pools`, taken to have workers of ours: with all digest functions and legacy outputs.
 * @throws invalid-argument naming the pool: a prefix or property that is none, or two that mean the same.
 */
export function configuredPools({ execution }: Config, matcher: PlatformMatcher): readonly ConfiguredPool[] {
  const names = new Map<string, string>();
  return execution.pools.map((pool) => {
    const made = poolOf(pool, matcher);
    const { prefix, offer } = made;
    const meaning = JSON.stringify([prefix, offer.alternatives, offer.sizeClass ?? 0]);
    const other = names.get(meaning);
    if (other !== undefined) {
      const message = `the pools "${other}" and "${pool.name}" mean the same workers`;
      throw new ReapiError('invalid-argument', message, { field: 'execution.pools' });
    }
    names.set(meaning, pool.name);
    return made;
  });
}

function poolOf(pool: Config['execution']['pools'][number], matcher: PlatformMatcher): ConfiguredPool {
  const { name, sizeClass, slotsPerWorker, minWorkers, maxWorkers } = pool;
  try {
    const alternatives = [matcher.parseOffer(pool.platform)];
    const capacity = matcher.capacityOf(alternatives);
    return {
      name,
      prefix: parseInstanceName(pool.instanceNamePrefix),
      offer: {
        ...{ alternatives, digestFunctions: DIGEST_FUNCTIONS, legacyOutputs: true },
        ...(capacity.length === 0 ? {} : { capacity }),
        ...(sizeClass === 0 ? {} : { sizeClass }),
      },
      needs: matcher.parse(pool.platform, { digestFunction: 'sha256', legacyOutputs: false }),
      ...{ slotsPerWorker, minWorkers, maxWorkers },
      drainMs: pool.drainSeconds * 1000,
      waitMs: pool.waitSeconds * 1000,
      scaleDownMs: pool.scaleDownSeconds * 1000,
    };
  } catch (error) {
    throw ReapiError.wrap(error, `the pool "${name}"`);
  }
}
