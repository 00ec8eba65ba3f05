import type { Container } from './containers.ts';
import { MAX_PACK_RECORDS } from './pack-format.ts';

/** Packs below this part of the full size are put together. */
const SMALL_SHARE = 1 / 4;

/** Above that no pack is small, however large a full one is: copies are made in packs of twice that (`CopyForward`). */
const MAX_SMALL_BYTES = 8 * 1024 * 1024;

/** Nor is a pack with so many rows: packs of tiny blobs are full long before they are large. */
const MAX_SMALL_ROWS = MAX_PACK_RECORDS / 4;

/** So many small packs of about the same size are worth the work; fewer wait for more. */
const MIN_SMALL_PACKS = 16;

/** Sizes of small packs that count as about the same: within this factor. A blob is then copied a few times at most. */
const TIER_FACTOR = 4;
const SMALLEST_TIER_BYTES = 64 * 1024;

/** Packs of which less than this is referred to are given up; small ones when there are enough of them to be put together. */
const MIN_LIVE_SHARE = 0.5;

/** What a row takes of a pack beside its body: the record of a blob in the footer. */
const ROW_OVERHEAD_BYTES = 35;

/**
 * A pack is not looked at before that age: what is being stored just now may come in parts. Nor does it go because there is too much:
 * what is that new was promised, it would only be copied. In seconds.
 */
const MIN_AGE_SECONDS = 600;

/** Bytes that one round condemns at most: they are copied, and are stored twice until they are deleted. */
const MAX_ROUND_BYTES = 256 * 1024 * 1024;

/** Rows that one round condemns at most: all of them are listed at once. */
const MAX_ROUND_ROWS = 262_144;

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
 * What to condemn now, by the rules: what is too old, what is too much (the oldest first), packs that are mostly garbage, and small packs.
 * @param isOurs whether this server looks after a container.
 * @param now seconds since 1970.
 */
export function chooseVictims(
  containers: readonly Container[],
  isOurs: (container: Container) => boolean,
  now: number,
  rules: VictimRules,
): readonly Victims[] {
  const staying = containers.filter(({ condemned, isDamaged }) => condemned === undefined && !isDamaged);
  const left = new Set(staying.filter(isOurs));
  const victims: Victims[] = [];
  const add = (picked: readonly Container[], keepSinceSeconds: number): void => {
    const chosen = bounded(picked);
    if (chosen.length === 0) return;
    for (const container of chosen) left.delete(container);
    victims.push({ containers: chosen, keepSinceSeconds });
  };
  const { retentionSeconds, maxBytes, packBytes } = rules;
  if (retentionSeconds > 0) {
    const sinceSeconds = now - retentionSeconds;
    add(expired([...left], sinceSeconds), sinceSeconds);
  }
  const oldest = staying.reduce((least, { createdSeconds }) => Math.min(least, createdSeconds), now);
  const tooMuch = surplus(staying, maxBytes).filter((container) => left.has(container));
  add(
    tooMuch.filter(({ createdSeconds }) => now - createdSeconds >= MIN_AGE_SECONDS),
    Math.floor((now + oldest) / 2),
  );
  add(wasteful([...left], now, packBytes), 0);
  // Of this server only: what another one writes does not become more because this one copies.
  for (const tier of smallPacks([...left], packBytes)) add(tier, 0);
  return victims;
}

/** As many as one round takes, at least one. */
function bounded(containers: readonly Container[]): readonly Container[] {
  let bytes = 0;
  let rows = 0;
  return containers.filter(({ sizeBytes, liveRows }, index) => {
    bytes += sizeBytes;
    rows += liveRows;
    return index === 0 || (bytes <= MAX_ROUND_BYTES && rows <= MAX_ROUND_ROWS);
  });
}

function expired(containers: readonly Container[], sinceSeconds: number): readonly Container[] {
  return byAge(containers.filter(({ createdSeconds }) => createdSeconds <= sinceSeconds));
}

/** The oldest, until the others are within the limit. Whoever looks after them condemns them: all servers come to the same order. */
function surplus(containers: readonly Container[], maxBytes: number): readonly Container[] {
  if (maxBytes === 0) return [];
  let bytes = containers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  // Sorting a million is worth avoiding.
  if (bytes <= maxBytes) return [];
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
    const { liveBytes, liveRows, sizeBytes, createdSeconds } = container;
    if (isSmallPack(container, packBytes) || now - createdSeconds < MIN_AGE_SECONDS) return false;
    return liveBytes + liveRows * ROW_OVERHEAD_BYTES < sizeBytes * MIN_LIVE_SHARE;
  });
}

function isSmallPack({ digest, sizeBytes, liveRows }: Container, packBytes: number): boolean {
  const endBytes = Math.min(packBytes * SMALL_SHARE, MAX_SMALL_BYTES);
  return digest === undefined && sizeBytes < endBytes && liveRows < MAX_SMALL_ROWS;
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
  return containers.toSorted((a, b) => a.createdSeconds - b.createdSeconds || (a.key < b.key ? -1 : 1));
}
