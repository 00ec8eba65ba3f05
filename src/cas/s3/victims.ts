import type { Container } from './containers.ts';

/** Packs below this part of the full size are put together. */
const SMALL_SHARE = 1 / 4;

/** So many small packs of about the same size are worth the work; fewer wait for more. */
const MIN_SMALL_PACKS = 16;

/** Sizes of small packs that count as about the same: within this factor. A blob is then copied a few times at most. */
const TIER_FACTOR = 4;
const SMALLEST_TIER_BYTES = 64 * 1024;

/** Packs of which less than this is referred to are given up; small ones when there are enough of them to be put together. */
const MIN_LIVE_SHARE = 0.5;

/** A pack is not looked at before that age: what is being stored just now may come in parts. In seconds. */
const MIN_AGE_SECONDS = 600;

/** Bytes that one round condemns at most: they are copied, and are stored twice until they are deleted. */
const MAX_ROUND_BYTES = 256 * 1024 * 1024;

/** When containers have to go. */
export interface VictimRules {
  readonly packBytes: number;
  /** What was not used for so many seconds goes; 0: it stays. */
  readonly retentionSeconds: number;
  /** Bytes of objects in the bucket, condemned ones not counted; 0: no limit. */
  readonly maxBytes: number;
}

/** Containers that are condemned together. */
export interface Victims {
  readonly containers: readonly Container[];
  /** What was used since then stays, in seconds since 1970. */
  readonly keepSinceSeconds: number;
}

/**
 * What to condemn now, by the rules: what is too old, what is too much (the oldest first), small packs, and packs that are mostly garbage.
 * @param isOurs whether this server looks after a container.
 */
export function chooseVictims(
  containers: readonly Container[],
  isOurs: (container: Container) => boolean,
  now: number,
  rules: VictimRules,
): readonly Victims[] {
  const staying = containers.filter(({ condemned, isDamaged }) => condemned === undefined && !isDamaged);
  const chosen = new Set<Container>();
  const victims: Victims[] = [];
  const add = (picked: readonly Container[], keepSinceSeconds: number): void => {
    const fresh = bounded(picked.filter((container) => !chosen.has(container) && isOurs(container)));
    if (fresh.length === 0) return;
    for (const container of fresh) chosen.add(container);
    victims.push({ containers: fresh, keepSinceSeconds });
  };
  const { retentionSeconds } = rules;
  if (retentionSeconds > 0) {
    add(expired(staying, now - retentionSeconds), now - retentionSeconds);
  }
  const oldest = staying.reduce((least, { createdSeconds }) => Math.min(least, createdSeconds), now);
  add(surplus(staying, rules.maxBytes), now - (now - oldest) / 2);
  add(wasteful(staying, now, rules.packBytes), 0);
  for (const tier of smallPacks(staying, rules.packBytes)) add(tier, 0);
  return victims;
}

/** As many as one round takes, at least one. */
function bounded(containers: readonly Container[]): readonly Container[] {
  let bytes = 0;
  return containers.filter(({ sizeBytes }, index) => {
    bytes += sizeBytes;
    return index === 0 || bytes <= MAX_ROUND_BYTES;
  });
}

function expired(containers: readonly Container[], sinceSeconds: number): readonly Container[] {
  return byAge(containers.filter(({ createdSeconds }) => createdSeconds <= sinceSeconds));
}

/** The oldest, until the others are within the limit. Whoever looks after them condemns them: all servers come to the same choice. */
function surplus(containers: readonly Container[], maxBytes: number): readonly Container[] {
  if (maxBytes === 0) return [];
  let bytes = containers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const picked: Container[] = [];
  for (const container of byAge(containers)) {
    if (bytes <= maxBytes) break;
    picked.push(container);
    bytes -= container.sizeBytes;
  }
  return picked;
}

function wasteful(containers: readonly Container[], now: number, packBytes: number): readonly Container[] {
  return containers.filter((container) => {
    const { liveBytes, sizeBytes, createdSeconds } = container;
    if (isSmallPack(container, packBytes) || now - createdSeconds < MIN_AGE_SECONDS) return false;
    return liveBytes < sizeBytes * MIN_LIVE_SHARE;
  });
}

function isSmallPack({ digest, sizeBytes }: Container, packBytes: number): boolean {
  return digest === undefined && sizeBytes < packBytes * SMALL_SHARE;
}

/** Small packs of about the same size, if there are enough of them. */
function smallPacks(containers: readonly Container[], packBytes: number): readonly (readonly Container[])[] {
  const tiers = new Map<number, Container[]>();
  for (const container of containers) {
    if (!isSmallPack(container, packBytes)) continue;
    const { sizeBytes } = container;
    const tier = Math.max(0, Math.floor(Math.log(sizeBytes / SMALLEST_TIER_BYTES) / Math.log(TIER_FACTOR)));
    const same = tiers.get(tier) ?? [];
    same.push(container);
    tiers.set(tier, same);
  }
  return [...tiers.values()].filter((tier) => tier.length >= MIN_SMALL_PACKS);
}

function byAge(containers: readonly Container[]): readonly Container[] {
  return containers.toSorted((a, b) => a.createdSeconds - b.createdSeconds || a.local - b.local);
}
