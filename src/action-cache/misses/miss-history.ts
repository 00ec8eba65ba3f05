import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { ActionKey } from '../../digest/action-key.ts';
import { type Digest, sameDigest } from '../../digest/digest.ts';
import type { RequestMetadata } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Clock } from '../../system/clock.ts';
import { resultEntryKey } from '../entry-action-store.ts';
import { cutText } from './cut-text.ts';
import type { Miss, NotCachedCause, SkipCause, StoreMiss } from './miss.ts';
import type { ResultObserver } from './result-observer.ts';
import { type GroupMember, type TargetGroup, TargetGroups } from './target-groups.ts';

/** What is remembered of one action under one instance name. Times are wall-clock milliseconds. */
export interface ActionRecord {
  readonly key: ActionKey;
  /** Of the last event. */
  readonly seenMs: number;
  readonly storedMs: number | undefined;
  readonly miss: Miss | undefined;
  /** When it was missed, and the number of that event; 0 if it was not. */
  readonly missedMs: number;
  readonly missEvent: number;
  /** Number of the last event that proves a result was there; 0 if none does. Events are numbered in order. */
  readonly resultEvent: number;
  readonly configurationId: string;
  readonly invocationId: string;
  readonly group: { readonly targetId: string; readonly mnemonic: string } | undefined;
}

/** As the history itself sees it. Order of events is by number: the wall clock may jump. */
interface MutableRecord extends GroupMember<MutableRecord> {
  readonly key: ActionKey;
  seenMs: number;
  storedMs: number | undefined;
  /** Number and time of the last event that proves a result was there; 0 if none does. */
  resultEvent: number;
  resultMs: number;
  /** Why there is no result any more, or never was, and the number of that event. */
  gone: Miss | undefined;
  goneEvent: number;
  miss: Miss | undefined;
  missedMs: number;
  missEvent: number;
  configurationId: string;
  invocationId: string;
  /** The same hash under another instance name, function or size; the list is cut at `MAX_SAME_HASH`. */
  next: MutableRecord | undefined;
}

interface EntryEviction {
  readonly event: number;
  readonly atMs: number;
  readonly ageSeconds: number;
}

/** Bounds of a history. */
export interface MissHistoryOptions {
  /** Actions that are remembered, and as many evicted results; 0 remembers nothing. */
  readonly maxActions: number;
}

/** Records of one hash under different instance names, functions or sizes. */
const MAX_SAME_HASH = 4;

/** Longest target, mnemonic, configuration or invocation that is kept. */
const MAX_TEXT_LENGTH = 256;

/** Configurations and invocations kept as one string each. */
const MAX_SHARED_TEXTS = 1024;

const NEVER_SEEN: Miss = { reason: 'never-seen' };

/**
 * What became of the latest actions, so that a miss can be explained. In memory only, no I/O, a microsecond or
 * two for an event; what it does not remember it does not claim to know. Evictions are kept by the hash of the entry that went: the
 * hash is computed only for a miss that needs it, and evictions of actions not seen since the start count as well.
 */
export class MissHistory implements ResultObserver {
  readonly #clock: Clock;
  readonly #records: LRUCache<string, MutableRecord>;
  readonly #evictions: LRUCache<string, EntryEviction>;
  readonly #groups = new TargetGroups<MutableRecord>();
  readonly #texts = new Map<string, string>();
  readonly #sinceMs: number;
  readonly #maxActions: number;
  #event = 0;
  /** Of the last request. */
  #configurationId = '';
  #invocationId = '';

  constructor(clock: Clock, { maxActions }: MissHistoryOptions) {
    this.#clock = clock;
    this.#sinceMs = clock.nowMs();
    this.#maxActions = maxActions;
    this.#evictions = new LRUCache({ max: Math.max(1, maxActions) });
    this.#records = new LRUCache({
      max: Math.max(1, maxActions),
      dispose: (first, _, reason) => {
        if (reason === 'set') return;
        for (let at: MutableRecord | undefined = first; at !== undefined; at = at.next) this.#groups.leave(at);
      },
    });
  }

  /** How far it reaches. */
  get reach(): { readonly sinceMs: number; readonly actions: number; readonly maxActions: number } {
    return { sinceMs: this.#sinceMs, actions: this.#records.size, maxActions: this.#maxActions };
  }

  found(key: ActionKey, metadata: RequestMetadata | undefined): void {
    this.#hasResult(this.#seen(key, metadata));
  }

  /** @returns the reason, with what is known of an absent result. */
  missed(key: ActionKey, miss: StoreMiss, metadata: RequestMetadata | undefined): Miss {
    const record = this.#seen(key, metadata);
    return this.#hasMissed(record, miss.reason === 'absent' ? this.#whyAbsent(key, record) : miss);
  }

  skipped(key: ActionKey, because: SkipCause, metadata: RequestMetadata | undefined): void {
    this.#hasMissed(this.#seen(key, metadata), { reason: 'skipped', because });
  }

  stored(key: ActionKey, metadata: RequestMetadata | undefined): void {
    const record = this.#seen(key, metadata);
    record.storedMs = record.seenMs;
    this.#hasResult(record);
  }

  notStored(key: ActionKey, because: NotCachedCause, metadata: RequestMetadata | undefined): void {
    const record = this.#seen(key, metadata);
    record.gone = { reason: 'not-cached', because, atMs: record.seenMs };
    record.goneEvent = ++this.#event;
  }

  removed(key: ActionKey): void {
    const record = this.#seen(key, undefined);
    record.gone = { reason: 'removed', atMs: record.seenMs };
    record.goneEvent = ++this.#event;
  }

  /** The store removed an entry to make room. @param entryHash SHA-256 of the key of the entry, in hex. */
  evicted(entryHash: string, ageSeconds: number): void {
    if (this.#maxActions === 0) return;
    this.#evictions.set(entryHash, { event: ++this.#event, atMs: this.#clock.nowMs(), ageSeconds });
  }

  /** What is known of an action under an instance name. */
  find(key: ActionKey): ActionRecord | undefined {
    return this.#find(key);
  }

  /** What was last seen under a digest, whatever the instance name. */
  latest(action: Digest): ActionRecord | undefined {
    let latest: ActionRecord | undefined;
    for (let at = this.#records.peek(action.hash); at !== undefined; at = at.next) {
      if (sameDigest(at.key.action, action) && (latest === undefined || at.seenMs > latest.seenMs)) latest = at;
    }
    return latest;
  }

  /** Other actions of the same target, mnemonic and instance name, the latest first, at most `max`. */
  related(key: ActionKey, max: number): readonly ActionRecord[] {
    const record = this.#find(key);
    const related: ActionRecord[] = [];
    for (let at = record?.group?.newest; at !== undefined && related.length < max; at = at.older) {
      if (at !== record) related.push(at);
    }
    return related;
  }

  /** What a miss that is found now is due to. Nothing is noted. */
  explain(key: ActionKey, miss: StoreMiss): Miss {
    return miss.reason === 'absent' ? this.#whyAbsent(key, this.#find(key)) : miss;
  }

  /** The last thing that happened to the result, else where else there is one. */
  #whyAbsent(key: ActionKey, record: MutableRecord | undefined): Miss {
    const { resultEvent = 0, goneEvent = 0 } = record ?? {};
    const eviction = this.#evictions.size > 0 ? this.#evictions.peek(entryHashOf(key)) : undefined;
    if (eviction !== undefined && eviction.event > Math.max(resultEvent, goneEvent)) {
      return { reason: 'evicted', atMs: eviction.atMs, ageSeconds: eviction.ageSeconds };
    }
    if (record?.gone !== undefined && goneEvent > resultEvent) return record.gone;
    if (record !== undefined && resultEvent > 0) return { reason: 'lost', seenMs: record.resultMs };
    return this.#elsewhere(key, record) ?? NEVER_SEEN;
  }

  /** A result of the same hash under another instance name or function, or of the same target under another function. */
  #elsewhere(key: ActionKey, record: MutableRecord | undefined): Miss | undefined {
    const fn = key.action.function;
    for (let at = this.#records.peek(key.action.hash); at !== undefined; at = at.next) {
      if (at.resultEvent === 0 || at.key.action.sizeBytes !== key.action.sizeBytes) continue;
      if (at.key.action.function !== fn) return otherFunction(at);
      if (at.key.instance !== key.instance) {
        return { reason: 'other-instance', instance: at.key.instance, atMs: at.resultMs };
      }
    }
    // Of the others of its target the latest decides: the build tool was told to use another function since.
    const newest = record?.group?.newest;
    const before = newest === record ? record?.older : newest;
    return before !== undefined && before.key.action.function !== fn ? otherFunction(before) : undefined;
  }

  #hasMissed(record: MutableRecord, miss: Miss): Miss {
    record.miss = miss;
    record.missedMs = record.seenMs;
    record.missEvent = ++this.#event;
    return miss;
  }

  #hasResult(record: MutableRecord): void {
    record.resultEvent = ++this.#event;
    record.resultMs = record.seenMs;
  }

  #find(key: ActionKey): MutableRecord | undefined {
    return inChain(this.#records.peek(key.action.hash), key);
  }

  /** The record of an action, made the most recently used one. */
  #seen(key: ActionKey, metadata: RequestMetadata | undefined): MutableRecord {
    const first = this.#records.get(key.action.hash);
    const record = inChain(first, key) ?? this.#add(key, first);
    record.seenMs = this.#clock.nowMs();
    if (metadata !== undefined && this.#maxActions > 0) this.#describe(record, metadata);
    return record;
  }

  #add(key: ActionKey, next: MutableRecord | undefined): MutableRecord {
    const record: MutableRecord = {
      key,
      seenMs: 0,
      storedMs: undefined,
      resultEvent: 0,
      resultMs: 0,
      gone: undefined,
      goneEvent: 0,
      miss: undefined,
      missedMs: 0,
      missEvent: 0,
      configurationId: '',
      invocationId: '',
      group: undefined,
      older: undefined,
      newer: undefined,
      next,
    };
    if (this.#maxActions === 0) return record;
    this.#records.set(key.action.hash, record);
    let last = record;
    for (let count = 1; count < MAX_SAME_HASH && last.next !== undefined; count++) last = last.next;
    if (last.next !== undefined) this.#groups.leave(last.next);
    last.next = undefined;
    return record;
  }

  #describe(record: MutableRecord, metadata: RequestMetadata): void {
    const { targetId, actionMnemonic, configurationId, toolInvocationId } = metadata;
    // Most requests say what the one before said: comparing is cheaper than looking up.
    if (this.#configurationId !== configurationId) this.#configurationId = this.#shared(configurationId);
    if (this.#invocationId !== toolInvocationId) this.#invocationId = this.#shared(toolInvocationId);
    record.configurationId = this.#configurationId;
    record.invocationId = this.#invocationId;
    let group: TargetGroup<MutableRecord> | undefined = record.group;
    if (targetId === '') return;
    if (group?.targetId !== targetId || group.mnemonic !== actionMnemonic) {
      const target = cutText(targetId, MAX_TEXT_LENGTH);
      group = this.#groups.open(record.key.instance, target, cutText(actionMnemonic, MAX_TEXT_LENGTH));
    }
    this.#groups.move(record, group);
  }

  /** One string for all who say the same: every request brings a copy of its own. */
  #shared(text: string): string {
    if (text === '') return text;
    const shared = this.#texts.get(text);
    if (shared !== undefined) return shared;
    if (this.#texts.size >= MAX_SHARED_TEXTS) this.#texts.clear();
    const kept = cutText(text, MAX_TEXT_LENGTH);
    this.#texts.set(kept, kept);
    return kept;
  }
}

function inChain(first: MutableRecord | undefined, { instance, action }: ActionKey): MutableRecord | undefined {
  let at = first;
  while (at !== undefined && (at.key.instance !== instance || !sameDigest(at.key.action, action))) at = at.next;
  return at;
}

function otherFunction({ key, seenMs }: MutableRecord): Miss {
  return { reason: 'other-function', function: key.action.function, atMs: seenMs };
}

function entryHashOf(key: ActionKey): string {
  return hash('sha256', resultEntryKey(key), 'hex');
}
