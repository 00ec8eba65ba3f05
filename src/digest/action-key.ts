import type { Digest } from './digest.ts';
import type { InstanceName } from './instance-name.ts';

/** What an action result is filed under. The same digest under two instance names is two entries (R-AC-15). */
export interface ActionKey {
  readonly instance: InstanceName;
  readonly action: Digest;
}

/** A string that is equal exactly for equal keys. Stable, it is stored on disk. */
export function actionKeyText(key: ActionKey): string {
  const { function: fn, hash, sizeBytes } = key.action;
  // `join` makes one flat string, a template a rope of six: queues keep a hundred thousand of them.
  return [fn, hash, sizeBytes, key.instance].join('/');
}
