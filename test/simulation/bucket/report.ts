import { readFileSync } from 'node:fs';
import type { Verdict } from './world.ts';

/** The seeds of `seeds.txt`, in their order. */
export function knownSeeds(): readonly number[] {
  const text = readFileSync(new URL('seeds.txt', import.meta.url), 'utf8');
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return lines.map((line) => Number(line.split(' ')[0]));
}

/** Events that an account shows. */
export const LAST_EVENTS = 60;

/** What a person needs to look into a failure: the law, the last events, and how to see it again, from the first event on. */
export function account({ seed, atMs, violation, history }: Verdict, events = LAST_EVENTS): string {
  return [
    `seed ${seed}, ${(atMs / 1000).toFixed(1)} s: ${violation}`,
    ...history.slice(-events),
    `replay: npm run simulate:bucket -- --seeds 1 --from ${seed} --events 20000`,
  ].join('\n');
}
