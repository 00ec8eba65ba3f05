import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** One run of an action, as it marked it. */
export interface MarkedRun {
  /** Time of day. */
  readonly begun: string;
  /** The directory it ran in, which is in the folder of its worker. */
  readonly folder: string;
}

/** What an action marked. */
export interface Marks {
  readonly runs: readonly MarkedRun[];
  /** How many of the runs came to their end. */
  readonly ends: number;
}

/** First command of an action that goes on only once the gate is open: it surely runs until then, however slow the machine is. */
export const AWAIT_GATE = 'until [ -e "$0/gate" ]; do sleep 0.05; done';

/** Lets all actions of that folder go on that wait for it. */
export function openGate(canaries: string): void {
  writeFileSync(join(canaries, 'gate'), '');
}

/** What the action of that name has marked in the folder so far. */
export function marksOf(canaries: string, name: string): Marks {
  const path = join(canaries, name);
  const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n') : [];
  const runs = lines.flatMap((line) => {
    const [, begun, folder] = /^begin (\S+) (.*)$/.exec(line) ?? [];
    return begun === undefined || folder === undefined ? [] : [{ begun, folder }];
  });
  return { runs, ends: lines.filter((line) => line === 'end').length };
}
