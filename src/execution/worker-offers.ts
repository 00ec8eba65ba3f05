import { LRUCache } from 'lru-cache';
import { DIGEST_FUNCTIONS, type DigestFunction, digestFunctionToWire } from '../digest/digest-function.ts';
import type { SynchronizeRequest } from '../gen/pkg/proto/remoteworker/remoteworker.ts';
import type { PlatformMatcher, WorkerOffer } from '../platform/platform.ts';

/** Offers that are remembered, of about a kilobyte: slots say theirs again with every call, and few differ. */
const MAX_REMEMBERED = 1_000;

/** Reads what slots offer, each different offer once: so equal offers are mostly the same object. */
export class WorkerOffers {
  readonly #matcher: PlatformMatcher;
  readonly #defaultDigestFunctions: readonly DigestFunction[];
  readonly #byText = new LRUCache<string, WorkerOffer>({ max: MAX_REMEMBERED });

  /** @param defaultDigestFunctions of workers that say nothing of it. */
  constructor(matcher: PlatformMatcher, defaultDigestFunctions: readonly DigestFunction[]) {
    this.#matcher = matcher;
    this.#defaultDigestFunctions = defaultDigestFunctions;
  }

  /** @throws invalid-argument: a property that does not parse. */
  read(request: Pick<SynchronizeRequest, 'platform' | 'gantry' | 'sizeClass'>): WorkerOffer {
    const text = JSON.stringify([
      request.platform?.properties,
      request.sizeClass,
      request.gantry?.offers,
      request.gantry?.digestFunctions,
      request.gantry?.legacyOutputs,
    ]);
    const known = this.#byText.get(text);
    if (known !== undefined) return known;
    const offer = this.#parse(request);
    this.#byText.set(text, offer);
    return offer;
  }

  #parse({ platform, gantry, sizeClass }: Pick<SynchronizeRequest, 'platform' | 'gantry' | 'sizeClass'>): WorkerOffer {
    const own = platform?.properties ?? [];
    const sets = gantry !== undefined && gantry.offers.length > 0 ? gantry.offers.map((set) => set.properties) : [own];
    const alternatives = sets.map((properties) => this.#matcher.parseOffer(properties));
    return {
      alternatives,
      digestFunctions:
        gantry === undefined || gantry.digestFunctions.length === 0
          ? this.#defaultDigestFunctions
          : DIGEST_FUNCTIONS.filter((fn) => gantry.digestFunctions.includes(digestFunctionToWire(fn))),
      legacyOutputs: gantry?.legacyOutputs ?? false,
      capacity: this.#matcher.capacityOf(alternatives),
      sizeClass,
    };
  }
}
