import type { Amount, Requirement, WorkerOffer } from '../../platform/platform.ts';

type Properties = Requirement['properties'];

/** Whether two offers, both canonical, say the same. Workers repeat theirs in every call, so it allocates nothing. */
export function sameOffer(a: WorkerOffer, b: WorkerOffer): boolean {
  return (
    a === b ||
    (a.legacyOutputs === b.legacyOutputs &&
      (a.sizeClass ?? 0) === (b.sizeClass ?? 0) &&
      sameList(a.digestFunctions, b.digestFunctions, Object.is) &&
      sameList(a.capacity ?? NONE, b.capacity ?? NONE, sameAmount) &&
      sameList(a.alternatives, b.alternatives, (one, other) => sameProperties(one.properties, other.properties)))
  );
}

const NONE: readonly Amount[] = [];

function sameAmount(a: Amount, b: Amount): boolean {
  return a.name === b.name && a.amount === b.amount;
}

function sameProperties(a: Properties, b: Properties): boolean {
  return sameList(a, b, (one, other) => one.name === other.name && sameList(one.values, other.values, Object.is));
}

function sameList<T>(a: readonly T[], b: readonly T[], same: (one: T, other: T) => boolean): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) {
    const [one, other] = [a[at], b[at]];
    if (one === undefined || other === undefined || !same(one, other)) return false;
  }
  return true;
}
