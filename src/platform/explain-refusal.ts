import { showAmount } from './amount.ts';
import type { PlatformMatcher, Refusal, Requirement, WorkerOffer } from './platform.ts';

/** An offer and whose it is. */
export interface NamedOffer {
  readonly name: string;
  readonly offer: WorkerOffer;
}

/** Most values listed for one property: an error message is for people. */
const MAX_LISTED_VALUES = 12;

/**
 * Why no worker can run it: the properties that the nearest worker (the one with the fewest refusals, the first of equals)
 * fails, the values on offer in the whole fleet, and that worker's name (R-EX, section 5.3). Preferences refuse nobody, so
 * they play no part.
 */
export function explainRefusal(matcher: PlatformMatcher, needs: Requirement, offers: readonly NamedOffer[]): string {
  let nearest: { readonly name: string; readonly refusals: readonly Refusal[] } | undefined;
  for (const { name, offer } of offers) {
    const match = matcher.match(offer, needs);
    if (match.fits) continue;
    if (nearest === undefined || match.refusals.length < nearest.refusals.length) {
      nearest = { name, refusals: match.refusals };
    }
  }
  if (nearest === undefined) return `no worker is connected that could run it; it needs ${wholePlatform(needs)}`;
  const failing = nearest.refusals.map(
    (refusal) => describeAmount(refusal, needs, offers) ?? describe(refusal, offers),
  );
  return `no worker satisfies the platform: ${failing.join('; ')}; the nearest worker is ${nearest.name}`;
}

function describe(refusal: Refusal, offers: readonly NamedOffer[]): string {
  const wanted = refusal.wanted.length === 0 ? 'nothing' : refusal.wanted.join(', ');
  const values = [...valuesOnOffer(refusal, offers)].sort();
  const listed = values.slice(0, MAX_LISTED_VALUES).join(', ');
  const more = values.length > MAX_LISTED_VALUES ? ` and ${values.length - MAX_LISTED_VALUES} more` : '';
  const onOffer = values.length === 0 ? 'no worker offers any' : `on offer: ${listed}${more}`;
  return `${refusal.property} wants ${wanted} (${onOffer})`;
}

/** Of what is taken from a machine, only the most that some machine has is of interest. Undefined if it is not taken. */
function describeAmount(refusal: Refusal, needs: Requirement, offers: readonly NamedOffer[]): string | undefined {
  const wanted = needs.takes?.find(({ name }) => name === refusal.property)?.amount;
  if (wanted === undefined) return undefined;
  const wants = `${refusal.property} wants ${showAmount(wanted)}`;
  const amounts = [...valuesOnOffer(refusal, offers)].map(Number);
  if (amounts.length === 0) return `${wants} (no worker offers any)`;
  const most = Math.max(...amounts);
  if (most < wanted) return `${wants}, and no worker has more than ${showAmount(most)}`;
  const has = refusal.offered.length === 0 ? 'none' : showAmount(Math.max(...refusal.offered.map(Number)));
  return `${wants}, of which the nearest worker has ${has} and the largest ${showAmount(most)}`;
}

function valuesOnOffer(refusal: Refusal, offers: readonly NamedOffer[]): Set<string> {
  const values = new Set<string>(refusal.offered);
  for (const { offer } of offers) {
    for (const { properties } of offer.alternatives) {
      for (const property of properties) {
        if (property.name === refusal.property) for (const value of property.values) values.add(value);
      }
    }
  }
  return values;
}

function wholePlatform(needs: Requirement): string {
  const properties = needs.properties.map(({ name, values }) => `${name}=${values.join(',')}`);
  return properties.length === 0 ? 'no particular platform' : properties.join(' ');
}
