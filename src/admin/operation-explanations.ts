import { type ActionKey, actionKeyText } from '../digest/action-key.ts';
import { digestPath } from '../digest/digest.ts';
import { ReapiError, throwIfAborted } from '../errors.ts';
import { attemptsText, blockText, explanationText } from '../execution/scheduler/explanation-text.ts';
import type { Block as BlockView, SchedulerView, TaskView } from '../execution/scheduler/view.ts';
import type { Attempt, Block, ExplainActionResponse, OperationExplanation } from '../gen/gantry/v1/fleet.ts';
import { actionToWire, quarantinedToWire, secondsSince } from './fleet-messages.ts';

/** An operation as it is remembered. Times are wall times, also those of the attempts. */
export interface KnownOperation {
  readonly name: string;
  readonly key: ActionKey;
  readonly createdAtMs: number;
  /** Set once it has finished. */
  readonly ended?: {
    readonly atMs: number;
    /** For people: `exit code 1`, `answered from the cache`, the message of an error. */
    readonly how: string;
    readonly attempts: readonly KnownAttempt[];
  };
}

/** One attempt. `how` is a text, as a stored one may be of another version. */
export interface KnownAttempt {
  readonly attempt: number;
  readonly slot: string;
  readonly node: string;
  readonly startedAtMs: number;
  readonly end?: { readonly atMs: number; readonly how: string; readonly cause: string };
}

/** What explanations are made of. */
export interface ExplanationSource {
  readonly view: SchedulerView<unknown>;
  /** The scheduler's time. */
  readonly nowMs: () => number;
  /** Wall time, since the Unix epoch, of a time of the scheduler. */
  readonly wallMs: (schedulerMs: number) => number;
  /** Unfinished ones, and finished ones within their retention. */
  readonly findOperation: (name: string, signal: AbortSignal) => Promise<KnownOperation | undefined>;
  /** The newest finished ones of an action, at most `limit`. */
  readonly finishedOf: (key: ActionKey, limit: number, signal: AbortSignal) => Promise<readonly KnownOperation[]>;
}

/** Most operations that are explained of one action. */
export const MAX_EXPLAINED = 20;

/** Where something is known of an operation, and the explanation. */
export interface FoundOperation {
  readonly key: ActionKey;
  /** As it is when this is called. @throws operation-not-found: it has been forgotten meanwhile. */
  readonly explain: () => Promise<OperationExplanation>;
}

/** Finds operations and says why they are where they are. */
export class OperationExplanations {
  readonly #source: ExplanationSource;

  constructor(source: ExplanationSource) {
    this.#source = source;
  }

  /** The action first, so that the caller can be asked who they are before anything is told. @throws operation-not-found. */
  async find(name: string, signal: AbortSignal): Promise<FoundOperation> {
    const known = await this.#source.findOperation(name, signal);
    const task = this.#source.view.taskOf(name);
    const key = known?.key ?? task?.key;
    if (key === undefined) throw notFound();
    return { key, explain: () => this.#explain(name, signal) };
  }

  /** All that is known of an action. */
  async ofAction(key: ActionKey, signal: AbortSignal): Promise<ExplainActionResponse> {
    const { view, nowMs } = this.#source;
    const finished = await this.#source.finishedOf(key, MAX_EXPLAINED, signal);
    const text = actionKeyText(key);
    const live = await this.#explained(this.#liveOf(key, text), signal);
    const ended = finished.slice(0, MAX_EXPLAINED - live.length).map((known) => this.#ofKnown(known));
    const quarantined = view.quarantined().find((entry) => actionKeyText(entry.key) === text);
    const operations = [...live, ...ended];
    const response = { operations, quarantine: quarantined && quarantinedToWire(quarantined, nowMs()) };
    return { ...response, text: actionText(key, response) };
  }

  /** Unfinished work of an action: names, and explanations of what has none by which it could be found again after a turn. */
  #liveOf(key: ActionKey, text: string): readonly (string | OperationExplanation)[] {
    const live: (string | OperationExplanation)[] = [];
    for (const task of this.#source.view.tasks()) {
      if (live.length === MAX_EXPLAINED) break;
      if (task.key.action.hash !== key.action.hash || actionKeyText(task.key) !== text) continue;
      live.push(task.operations[0] ?? this.#ofTask(task));
    }
    return live;
  }

  /** One a turn: in a long queue a rank takes tens of milliseconds. What has finished meanwhile is left out. */
  async #explained(live: readonly (string | OperationExplanation)[], signal: AbortSignal) {
    const explained: OperationExplanation[] = [];
    for (const each of live) {
      if (typeof each !== 'string') {
        explained.push(each);
        continue;
      }
      if (explained.length > 0) await new Promise(setImmediate);
      throwIfAborted(signal);
      const task = this.#source.view.taskOf(each);
      if (task !== undefined) explained.push(this.#ofTask(task, each));
    }
    return explained;
  }

  async #explain(name: string, signal: AbortSignal): Promise<OperationExplanation> {
    const task = this.#source.view.taskOf(name);
    if (task !== undefined) return this.#ofTask(task, name);
    // The scheduler does not have it, so it has finished or will enter.
    const known = await this.#source.findOperation(name, signal);
    if (known === undefined) throw notFound();
    return this.#ofKnown(known);
  }

  #ofTask(task: TaskView<unknown>, name = task.operations[0]): OperationExplanation {
    const { view, nowMs, wallMs } = this.#source;
    const now = nowMs();
    const explained = name === undefined ? undefined : view.explain(name, now);
    const facts = explained ?? {
      ...{ state: task.state, rank: undefined, competitors: undefined, blocks: [], expectedStartMs: undefined },
      attempts: task.attempts,
    };
    return {
      operation: name ?? '',
      action: actionToWire(task.key),
      state: facts.state,
      text: explained?.text ?? explanationText(facts, now),
      rank: facts.rank,
      competitors: facts.competitors,
      blocks: facts.blocks.map((block) => blockToWire(block, now)),
      expectedStartSeconds: facts.expectedStartMs === undefined ? undefined : secondsSince(now, facts.expectedStartMs),
      attempts: facts.attempts.map((attempt) => attemptToWire(attempt, now, wallMs)),
      ageSeconds: secondsSince(task.queuedAtMs, now),
      priority: task.priority,
      shares: task.shares.map(({ id }) => id),
      expectedSeconds: task.expectedMs === undefined ? undefined : task.expectedMs / 1000,
      operations: task.operations.length,
      ending: '',
    };
  }

  #ofKnown({ name, key, createdAtMs, ended }: KnownOperation): OperationExplanation {
    const nowMs = this.#source.wallMs(this.#source.nowMs());
    return {
      operation: name,
      action: actionToWire(key),
      state: ended === undefined ? 'preparing' : 'finished',
      text: ended === undefined ? 'The cache and its inputs are being looked up.' : endedText(ended),
      rank: undefined,
      competitors: undefined,
      blocks: [],
      expectedStartSeconds: undefined,
      attempts: (ended?.attempts ?? []).map((attempt) => attemptToWire(attempt, nowMs, (wallMs) => wallMs)),
      ageSeconds: secondsSince(createdAtMs, nowMs),
      priority: 0,
      shares: [],
      expectedSeconds: undefined,
      operations: 1,
      ending: ended?.how ?? '',
    };
  }
}

function notFound(): ReapiError {
  return new ReapiError('operation-not-found', 'there is no such operation; it may have expired');
}

function endedText({ atMs, how, attempts }: NonNullable<KnownOperation['ended']>): string {
  const why = how === '' ? '' : `: ${how.replace(/\.$/, '')}`;
  const history = attemptsText(attempts);
  return `It finished at ${new Date(atMs).toISOString()}${why}.${history === '' ? '' : ` ${history}`}`;
}

function actionText(key: ActionKey, { operations, quarantine }: Omit<ExplainActionResponse, 'text'>): string {
  const refused =
    quarantine === undefined
      ? []
      : [`It is refused for another ${Math.ceil(quarantine.leftSeconds)} s: ${quarantine.reason}`];
  const told = operations.map(({ operation, text }) => `${operation || 'work of a former server'}: ${text}`);
  const nothing = 'It is not in the queue, and no finished operation of it is retained.';
  const lines = [...refused, ...told];
  const instance = key.instance === '' ? '' : `, instance name "${key.instance}"`;
  return [`Action ${digestPath(key.action)}${instance}`, ...(lines.length === 0 ? [nothing] : lines)].join('\n');
}

function blockToWire(block: BlockView, nowMs: number): Block {
  return {
    kind: block.kind,
    text: blockText(block, nowMs),
    slots: block.kind === 'all-busy' || block.kind === 'drained' ? block.slots : 0,
    pool: block.kind === 'pool-empty' ? block.pool : '',
    waitSeconds: block.kind === 'pool-empty' ? secondsSince(nowMs, block.untilMs) : 0,
    resource: block.kind === 'resource' ? block.resource : '',
    wanted: block.kind === 'resource' ? block.wanted : 0,
    mostFree: block.kind === 'resource' ? block.mostFree : 0,
    nodes: block.kind === 'avoids-nodes' ? [...block.nodes] : [],
    share: block.kind === 'turn' ? block.share : '',
    running: block.kind === 'turn' ? block.running : 0,
  };
}

/** @param nowMs of the same clock as the attempt's times. @param wallMs turns those into wall time. */
function attemptToWire(record: KnownAttempt, nowMs: number, wallMs: (ms: number) => number): Attempt {
  const { attempt, slot, node, startedAtMs, end } = record;
  return {
    attempt,
    slot,
    node,
    startedUnixSeconds: wallMs(startedAtMs) / 1000,
    ranSeconds: secondsSince(startedAtMs, end?.atMs ?? nowMs),
    how: end?.how ?? 'running',
    cause: end?.cause ?? '',
  };
}
