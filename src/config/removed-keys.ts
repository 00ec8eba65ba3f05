/** Keys that earlier versions had, and what to do instead: whoever still sets one is told, rather than it being ignored. */
export const REMOVED_KEYS: ReadonlyMap<string, string> = new Map([
  [
    'actionCache.maxSizeBytes',
    'is gone: action results share store.maxSizeBytes with the blobs; remove it, and raise that one if need be',
  ],
  [
    'execution.maxAttempts',
    'is called execution.retries.maxAttempts now, and counts attempts whatever ended them; for lost workers alone there is execution.retries.maxLost',
  ],
]);
