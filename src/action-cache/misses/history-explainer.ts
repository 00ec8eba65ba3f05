import type { BlobStore } from '../../cas/blob-store.ts';
import type { ActionKey } from '../../digest/action-key.ts';
import { type Digest, sameDigest } from '../../digest/digest.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { Command } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ActionStore } from '../action-store.ts';
import { actionCodec, type DifferenceLimits, differenceOf, outputPaths } from './action-difference.ts';
import { DifferenceList } from './difference-list.ts';
import { MessageReader } from './message-reader.ts';
import type { Miss, StoreMiss } from './miss.ts';
import type { ActionRecord, MissHistory } from './miss-history.ts';
import type { MissExplainer, MissOrigin, MissQuery, MissReport, PreviousAction } from './miss-report.ts';
import { pathInTree } from './path-in-tree.ts';

/** What explanations are made from. */
export interface ExplainerParts {
  readonly history: MissHistory;
  /** Asked whether there is a result now. */
  readonly actions: ActionStore;
  readonly blobs: BlobStore;
}

/** Bounds on one explanation. */
export interface ExplainerLimits extends DifferenceLimits {
  /** Earlier actions of the same target whose outputs are looked at to find the one to compare with. */
  readonly maxCandidates: number;
}

/** Limits that keep an explanation below some thousand reads, and a report readable. */
export const DEFAULT_EXPLAINER_LIMITS = {
  maxCandidates: 64,
  maxDirectories: 2000,
  maxPerPart: 50,
  maxTextLength: 300,
} as const;

/** Explains misses from the history, the store as it is now, and the messages of the actions, as far as they are left. */
export class HistoryExplainer implements MissExplainer {
  readonly #parts: ExplainerParts;
  readonly #limits: ExplainerLimits;

  constructor(parts: ExplainerParts, limits: ExplainerLimits) {
    this.#parts = parts;
    this.#limits = limits;
  }

  async explain({ instance, digest }: MissQuery, signal: AbortSignal): Promise<MissReport> {
    const { history, actions } = this.#parts;
    const latest = history.latest(digest);
    const name = instance === undefined ? (latest?.key.instance ?? parseInstanceName('')) : parseInstanceName(instance);
    const key: ActionKey = { instance: name, action: digest };
    const record = history.find(key);
    let missNow: StoreMiss | undefined;
    const result = await actions.get(key, signal, (miss) => {
      missNow = miss;
    });
    const noted = missNow === undefined || isCurrent(record) ? record : undefined;
    const miss = noted?.miss ?? (missNow && history.explain(key, missNow));
    const previous = record && (await this.#previous(record, signal));
    return {
      action: digest,
      instance: name,
      isCached: result !== undefined,
      ...(miss && { miss: await this.#withPath(miss, signal) }),
      ...(noted?.miss && { missedMs: noted.missedMs }),
      ...(record?.storedMs !== undefined && { storedMs: record.storedMs }),
      ...(record && { origin: originOf(record) }),
      ...(previous && { previous }),
      history: history.reach,
    };
  }

  /** Says where in its directory a blob that is gone would be. */
  async #withPath(miss: Miss, signal: AbortSignal): Promise<Miss> {
    if (miss.reason !== 'incomplete' || miss.role.kind !== 'tree-file') return miss;
    const within = await pathInTree(this.#parts.blobs, miss.role.tree, miss.blob, {
      maxTreeBytes: this.#limits.maxMessageBytes,
      signal,
    });
    return within === undefined ? miss : { ...miss, role: { ...miss.role, within } };
  }

  async #previous(record: ActionRecord, signal: AbortSignal): Promise<PreviousAction | undefined> {
    const candidates = this.#parts.history
      .related(record.key, this.#limits.maxCandidates)
      .filter(({ key }) => !sameDigest(key.action, record.key.action));
    const [latest] = candidates;
    if (latest === undefined) return undefined;
    const same = await this.#withSameOutputs(record, candidates, signal);
    // Without a twin, one of the same configuration is nearer than one of another.
    const nearest = candidates.find(({ configurationId }) => configurationId === record.configurationId) ?? latest;
    const chosen = same ?? nearest;
    const pair = { before: chosen.key.action, after: record.key.action };
    return {
      action: chosen.key.action,
      instance: chosen.key.instance,
      seenMs: chosen.seenMs,
      match: same === undefined ? 'same-target' : 'same-outputs',
      difference: await differenceOf(this.#parts.blobs, pair, this.#limits, signal),
    };
  }

  /** A target may have hundreds of actions of one mnemonic: its earlier self is the one that makes the same files. */
  async #withSameOutputs(
    record: ActionRecord,
    candidates: readonly ActionRecord[],
    signal: AbortSignal,
  ): Promise<ActionRecord | undefined> {
    const wanted = await this.#outputsOf(record.key.action, signal);
    if (wanted === undefined) return undefined;
    for (const candidate of candidates) {
      if ((await this.#outputsOf(candidate.key.action, signal)) === wanted) return candidate;
    }
    return undefined;
  }

  /** The outputs of an action as one text, or undefined if its messages are gone or it declares none. */
  async #outputsOf(digest: Digest, signal: AbortSignal): Promise<string | undefined> {
    const { maxMessageBytes } = this.#limits;
    const reader = new MessageReader(this.#parts.blobs, new DifferenceList(this.#limits), { maxMessageBytes, signal });
    const action = await reader.read('before', 'Action', actionCodec(digest.function), digest);
    if (action === undefined) return undefined;
    const command = await reader.read('before', 'Command', Command, action.command);
    const paths = command === undefined ? [] : outputPaths(command);
    return paths.length === 0 ? undefined : JSON.stringify([command?.workingDirectory, ...paths]);
  }
}

/** Whether the miss that was noted is why there is no result now: one before the last result is not. */
function isCurrent(record: ActionRecord | undefined): boolean {
  return record !== undefined && record.missEvent > record.resultEvent;
}

function originOf({ group, configurationId, invocationId }: ActionRecord): MissOrigin {
  return { targetId: group?.targetId ?? '', mnemonic: group?.mnemonic ?? '', configurationId, invocationId };
}
