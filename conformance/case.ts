import type { Endpoint } from './endpoint.ts';
import type { Feature, Profile } from './profile.ts';

/** How strongly the schema, or the clients that are out there, ask for what a case checks. Only MUST decides the exit code. */
export type Level = 'MUST' | 'SHOULD' | 'MAY';

/** What a case may use: the server under test, and what its owner says about it. */
export interface CaseContext {
  readonly endpoint: Endpoint;
  readonly profile: Profile;
}

/** One statement about a server that can be true or false. */
export interface ConformanceCase {
  /** Stable: `service.subject.what`, the key of the files in peers/. */
  readonly id: string;
  readonly level: Level;
  /** Requirement numbers of this project's checklist, for searching. */
  readonly requirements: readonly string[];
  /** The rule in one sentence of our own. */
  readonly rule: string;
  /** Optional parts of the API without which the case says nothing. */
  readonly needs: readonly Feature[];
  /** @throws when the server does not keep the rule; the message is shown. */
  run(context: CaseContext): Promise<void>;
}

type CaseHead = Omit<ConformanceCase, 'run' | 'needs' | 'requirements'> & {
  readonly requirements: string;
  readonly needs?: readonly Feature[];
};

/** Puts a case together; `requirements` is a space separated list. */
export function conformanceCase(head: CaseHead, run: ConformanceCase['run']): ConformanceCase {
  return { ...head, needs: head.needs ?? [], requirements: head.requirements.split(' '), run };
}
