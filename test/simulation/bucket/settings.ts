import type { BucketTierOptions } from '../../../src/cas/s3/bucket-tier.ts';
import type { SeededRandom } from '../seeded-random.ts';

/** Largest blob that shares an object. */
export const MAX_PACKED_BYTES = 1500;

/** Everything about a world that its seed decides at the beginning. */
export interface Settings {
  readonly machines: number;
  readonly options: BucketTierOptions;
  readonly localBytes: number;
  /** By which wall clocks are wrong, at most. */
  readonly offsetMs: number;
  readonly lifeMs: number;
  /** Between what clients do, on average. */
  readonly pauseMs: number;
  /** Share of calls that go wrong, and probability of something happening to a machine instead of a call of a client. */
  readonly callFaults: number;
  readonly mishaps: number;
  readonly blobs: number;
  readonly entries: number;
}

/** Draws a world: seconds and bytes are few, so that many generations of containers live and die. */
export function drawSettings(random: SeededRandom): Settings {
  const refreshMs = random.between(40, 120) * 1000;
  return {
    machines: random.between(2, 3),
    options: {
      durability: random.chance(0.7) ? 's3' : 'local',
      maxBacklogBytes: 30_000,
      uploadWaitMs: random.between(5, 40) * 1000,
      refreshMs,
      promiseSeconds: random.between(60, 600),
      retentionSeconds: random.chance(0.8) ? random.between(2400, 6000) : 0,
      maxBytes: random.chance(0.2) ? 30_000 : 0,
      packBytes: 16 * 1024,
      maxSmallPacksPerSecond: 1 / 4,
      maxPackedBlobBytes: MAX_PACKED_BYTES,
      maxEntryBytes: 1000,
      maxConcurrentRequests: 8,
    },
    localBytes: random.between(10, 50) * 1000,
    offsetMs: 60_000,
    lifeMs: random.between(40, 120) * 60_000,
    pauseMs: random.between(15, 40) * 1000,
    callFaults: random.pick([0, 0.02, 0.05, 0.15]),
    mishaps: random.pick([0.01, 0.03, 0.06]),
    blobs: random.between(20, 60),
    entries: random.between(4, 12),
  };
}
