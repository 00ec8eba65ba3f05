import { setTimeout as delay } from 'node:timers/promises';

/** Looks again and again until `look` gives a value: for what only the operating system can tell. */
export async function eventually<T>(
  what: string,
  look: () => T | undefined | Promise<T | undefined>,
  tries = 600,
): Promise<T> {
  for (let attempt = 0; attempt < tries; attempt += 1) {
    const value = await look();
    if (value !== undefined) return value;
    await delay(50);
  }
  throw new Error(`still not: ${what}`);
}
