/** Upper bounds of a histogram in seconds, each with the number of values up to it. */
export type Cumulative = readonly (readonly [bound: number, count: number])[];

/** A histogram without labels among a server's metrics; empty if it has none of that name. */
export async function histogramAt(httpAddress: string, name: string): Promise<Cumulative> {
  const text = await (await fetch(`http://${httpAddress}/metrics`)).text();
  const lines = text.matchAll(new RegExp(`^${name}_bucket{le="([^"]+)"} (\\d+)$`, 'gm'));
  return Array.from(lines, ([, bound, count]) => [bound === '+Inf' ? Infinity : Number(bound), Number(count)]);
}

/** What was observed between two looks. */
export function since(before: Cumulative, after: Cumulative): Cumulative {
  return after.map(([bound, count], at) => [bound, count - (before[at]?.[1] ?? 0)]);
}

/** The value that a share of all is not above, as if values lay evenly between two bounds; undefined without values. */
export function quantileOf(histogram: Cumulative, share: number): number | undefined {
  const wanted = (histogram.at(-1)?.[1] ?? 0) * share;
  if (wanted === 0) return undefined;
  let low: readonly [number, number] = [0, 0];
  for (const [bound, count] of histogram) {
    if (count >= wanted) {
      if (bound === Infinity) return low[0];
      return low[0] + ((bound - low[0]) * (wanted - low[1])) / (count - low[1]);
    }
    low = [bound, count];
  }
  return undefined;
}
