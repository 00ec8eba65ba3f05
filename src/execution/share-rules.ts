import type { RequestMetadata } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ShareKey } from './scheduler/events.ts';

/** Whom the fleet is shared among. */
export type ShareLevel = 'principal' | 'correlated' | 'invocation';

/** Shares that are not 1. */
export interface ShareWeight {
  readonly level: ShareLevel;
  /** Ends in `*` for all that begin like it. */
  readonly id: string;
  readonly weight: number;
}

/** What the rules go by. */
export interface ShareRulesOptions {
  /** From the outermost. */
  readonly levels: readonly ShareLevel[];
  readonly weights: readonly ShareWeight[];
}

/** Says whose share of the fleet an action is counted for. */
export class ShareRules {
  readonly #options: ShareRulesOptions;

  constructor(options: ShareRulesOptions) {
    this.#options = options;
  }

  /**
   * From the outermost to the innermost. Without correlated invocations an invocation stands for itself; whoever says nothing of
   * itself shares one place with its like.
   */
  sharesOf(principal: string, metadata: RequestMetadata | undefined): readonly ShareKey[] {
    const invocation = metadata?.toolInvocationId ?? '';
    const ids: Readonly<Record<ShareLevel, string>> = {
      principal,
      correlated: metadata?.correlatedInvocationsId || invocation,
      invocation,
    };
    return this.#options.levels.map((level) => ({ id: ids[level], weight: this.#weightOf(level, ids[level]) }));
  }

  /** The exact id wins, then the longest beginning. */
  #weightOf(level: ShareLevel, id: string): number {
    let best: ShareWeight | undefined;
    for (const rule of this.#options.weights) {
      if (rule.level !== level) continue;
      if (rule.id === id) return rule.weight;
      const isPrefix = rule.id.endsWith('*') && id.startsWith(rule.id.slice(0, -1));
      if (isPrefix && (best === undefined || rule.id.length > best.id.length)) best = rule;
    }
    return best?.weight ?? 1;
  }
}
