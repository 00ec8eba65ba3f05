import { readFileSync } from 'node:fs';
import type { Verdict } from './world.ts';

/** The seeds of `seeds.txt`, in their order. */
export function knownSeeds(): readonly number[] {
  const text = readFileSync(new URL('seeds.txt', import.meta.url), 'utf8');
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return lines.map((line) => Number(line.split(' ')[0]));
}

/** What a person needs to look into a failure: the law, the last events, and how to see it again. */
export function account({ seed, steps, violation, history }: Verdict): string {
  return [
    `seed ${seed}, step ${steps}: ${violation}`,
    ...history,
    `replay: npm run simulate -- --seeds 1 --from ${seed}`,
  ].join('\n');
}
