/**
 * Calls `work` for 0 … `count` − 1, in order of starting, with at most `width` at a time. The first failure stops further
 * starts and is thrown once what runs has ended.
 */
export async function forEachBounded(
  count: number,
  width: number,
  work: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  let failure: { readonly error: unknown } | undefined;
  const runner = async (): Promise<void> => {
    while (next < count && failure === undefined) {
      const index = next++;
      try {
        await work(index);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, count) }, runner));
  if (failure !== undefined) throw failure.error;
}
