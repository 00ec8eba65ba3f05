import { asRecord, asString } from './profile.ts';

/** Cases that a server is known to fail, each with the reason. */
export interface KnownDeviations {
  readonly server: string;
  /** Case id to reason. */
  readonly reasons: ReadonlyMap<string, string>;
}

/** For a server about which nothing is known. */
export const NO_DEVIATIONS: KnownDeviations = { server: '', reasons: new Map() };

/**
 * Reads a file of peers/: `{ "server": …, "tried": …, "deviations": { id: reason } }`.
 * @throws TypeError for anything else, for a reason that is no sentence, and for ids that are not in `knownIds`.
 */
export function parseKnownDeviations(text: string, knownIds: ReadonlySet<string>): KnownDeviations {
  const json: unknown = JSON.parse(text);
  const fields = asRecord(json, 'peer file');
  const reasons = new Map<string, string>();
  for (const [id, value] of Object.entries(asRecord(fields['deviations'], 'deviations'))) {
    if (!knownIds.has(id)) throw new TypeError(`no case has the id ${id}`);
    const reason = asString(value, id);
    if (reason.trim().length < 10) throw new TypeError(`${id} needs a reason`);
    reasons.set(id, reason);
  }
  return { server: asString(fields['server'], 'server'), reasons };
}
