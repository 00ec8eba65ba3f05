import { isKind } from '../../errors.ts';
import { type Persistence, untilStored } from './until-stored.ts';

type Answer<T> = { readonly value: T } | { readonly error: unknown };

/**
 * `untilStored` for what may be refused: only `unavailable` is tried again.
 * @throws what `attempt` throws otherwise; whatever the signal was aborted with.
 */
export async function untilAnswered<T>(
  attempt: () => Promise<T>,
  persistence: Persistence,
  signal: AbortSignal,
): Promise<T> {
  const answer = await untilStored(() => answerOf(attempt), persistence, signal);
  if ('error' in answer) throw answer.error;
  return answer.value;
}

async function answerOf<T>(attempt: () => Promise<T>): Promise<Answer<T>> {
  try {
    return { value: await attempt() };
  } catch (error) {
    if (isKind(error, 'unavailable')) throw error;
    return { error };
  }
}
