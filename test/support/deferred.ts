/** A promise that a test settles when it wants to. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
}

/** Makes one. */
export function deferred<T = void>(): Deferred<T> {
  const { promise, resolve } = Promise.withResolvers<T>();
  return { promise, resolve };
}

/** Lets everything run that is ready to, timers excepted: promises, sockets on this machine, callbacks. Not a wait for a time. */
export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** More turns than anything between two sockets of one machine takes; a few seconds of them. */
const MOST_TURNS = 200_000;

/** Gives the event loop turns until `condition` holds. Gives up in the end, or a test that fails would never be over. */
export async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; !condition(); turn++) {
    if (turn === MOST_TURNS) throw new Error(`it did not come true: ${condition}`);
    await turns(1);
  }
}
