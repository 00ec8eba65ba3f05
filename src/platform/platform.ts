import type { DigestFunction } from '../digest/digest-function.ts';

/** A platform property as clients and workers send it (REAPI, Platform.Property). */
export interface PlatformProperty {
  readonly name: string;
  readonly value: string;
}

/** What an action needs of a worker: platform properties after aliases and folding, and typed demands. */
export interface Requirement {
  /** Sorted by name; each with all values asked for, sorted, without duplicates. */
  readonly properties: readonly { readonly name: string; readonly values: readonly string[] }[];
  /** The worker hashes outputs with it (R-CAP-14). */
  readonly digestFunction: DigestFunction;
  /** The command uses `output_files` / `output_directories` instead of `output_paths` (API 2.0, R-CM-05). */
  readonly legacyOutputs: boolean;
  /** Amounts taken from the node while the action runs, sorted by name. Absent: none. */
  readonly takes?: readonly Amount[];
  /** Properties that are better to have and not needed, like `properties`. Absent: none. */
  readonly preferences?: Requirement['properties'];
}

/** So much of something that can be counted: cores, bytes of memory, licences. */
export interface Amount {
  readonly name: string;
  readonly amount: number;
}

/** One set of properties a worker has, canonical like a requirement's. */
export interface PropertySet {
  readonly properties: readonly { readonly name: string; readonly values: readonly string[] }[];
}

/** What a worker can do. It satisfies a requirement if one alternative does, and all typed demands hold. */
export interface WorkerOffer {
  /** At least one; never a cross product: `{linux, x86-64}` or `{wasi, wasm32}`. */
  readonly alternatives: readonly PropertySet[];
  readonly digestFunctions: readonly DigestFunction[];
  readonly legacyOutputs: boolean;
  /** What all slots of the node share, sorted by name; of a name that is absent there is no end. */
  readonly capacity?: readonly Amount[];
  /** Buildbarn's size class of the worker; absent or 0: none (R-BB-22). */
  readonly sizeClass?: number;
}

/** One reason why an offer does not do. */
export interface Refusal {
  /** Property name as the client may write it, or the name of a typed demand (`digest function`, `legacy outputs`). */
  readonly property: string;
  readonly wanted: readonly string[];
  /** Values this offer has for it; empty if none. */
  readonly offered: readonly string[];
}

/** Result of matching: fits, or which properties of the nearest alternative fail (at least one). */
export type Match = { readonly fits: true } | { readonly fits: false; readonly refusals: readonly Refusal[] };

/** Demands that follow from the command rather than from its platform properties. */
export type TypedDemands = Pick<Requirement, 'digestFunction' | 'legacyOutputs'>;

/** Meaning of platform properties. Rules come from configuration. */
export interface PlatformMatcher {
  /** @throws invalid-argument: a value that does not parse; no-such-platform: a name that the policy refuses (R-PL-03). */
  parse(platform: readonly PlatformProperty[], demands: TypedDemands): Requirement;
  /** The property set of a worker. Unknown names are kept. @throws invalid-argument: a value that does not parse. */
  parseOffer(platform: readonly PlatformProperty[]): PropertySet;
  /** Pure, total, and monotone per alternative: adding a property never turns a match into a refusal. */
  match(offer: WorkerOffer, needs: Requirement): Match;
  /** How many of the preferences the offer satisfies, in its best alternative that fits. 0 without preferences. */
  preferred(offer: WorkerOffer, needs: Requirement): number;
  /** What the slots of a node share: of each name that is taken, the most any of its alternatives has. */
  capacityOf(alternatives: readonly PropertySet[]): readonly Amount[];
}
