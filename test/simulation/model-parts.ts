import type { ErrorKind } from '../../src/errors.ts';
import type { Labels, LeaseReport, ShareKey } from '../../src/execution/scheduler/events.ts';
import { canRun, type SimAction, type SimOffer, type SimResult } from './vocabulary.ts';

/** What the outside can know of a task. */
export interface ModelTask {
  /** The operation that made it, or a name of its own if it is work of a former server. */
  readonly id: string;
  readonly action: SimAction;
  /** Under which newcomers find it. */
  keyText: string;
  /** The instance name it is filed under: of a worker that does not tell, its prefix. */
  instance: string;
  readonly isMergeable: boolean;
  readonly arrival: number;
  readonly queuedAtMs: number;
  /** Whose work its leases carry; unset while nobody asked this server for it. */
  madeBy: string | undefined;
  expectedMs: number | undefined;
  shares: readonly ShareKey[];
  sizeClass: number;
  readonly operations: Set<ModelOperation>;
  state: 'queued' | 'leased' | 'recording' | 'kept' | 'over';
  /** Leases something may come of. */
  readonly live: Set<ModelLease>;
  readonly leases: ModelLease[];
  lost: number;
  faults: number;
  exhausted: number;
  /** The size class in which a failure is looked at a second time; 0: none. */
  largerClass: number;
  /** The answer if the second look comes to nothing, and when it is given up unless it has begun. */
  fallback: { readonly result: SimResult; giveUpAtMs: number } | undefined;
  readonly faultyNodes: Set<string>;
  readonly tookDown: Set<string>;
  downs: number;
  recording: { readonly lease: ModelLease; readonly atMs: number; readonly result: SimResult } | undefined;
  /** How it has to end in this step. */
  doom: { readonly kinds: readonly ErrorKind[] } | { readonly result: SimResult } | undefined;
  /** Since when only configured pools without workers fit, while it is queued; infinite if that is not so. */
  absentSinceMs: number;
}

/** What the outside can know of an operation. */
export interface ModelOperation {
  readonly name: string;
  readonly priority: number;
  readonly task: ModelTask;
  /** It has to be refused at once, with this kind of error. */
  readonly refusal: ErrorKind | undefined;
  told: 'queued' | 'executing' | undefined;
  detachedAtMs: number | undefined;
  isCancelled: boolean;
  isAbandoned: boolean;
  isFinished: boolean;
}

/** What the outside can know of a slot: what it said last, and what it was told. */
export interface ModelSlot {
  readonly name: string;
  readonly node: ModelNode;
  offer: SimOffer;
  labels: Labels;
  prefersIdle: boolean;
  incarnation: string | undefined;
  formerIncarnation: string | undefined;
  canExit: boolean;
  isPolling: boolean;
  lastHeardMs: number;
  report: LeaseReport<SimResult> | undefined;
  lease: ModelLease | undefined;
  /** It has held something since it is known. */
  hasHeld: boolean;
}

/** What the outside can know of a machine. */
export interface ModelNode {
  readonly name: string;
  /** As the newest slot said; undefined: without end. */
  cores: number | undefined;
  isolatedUntilMs: number | undefined;
  /** Kind of worker whose results are counted. */
  kind: string;
  /** The last results, the newest last; true for bad ones. */
  results: boolean[];
  badInARow: number;
  lastBad: string;
}

/** What the outside can know of a lease. */
export interface ModelLease {
  /** Empty until the scheduler says it: of an attempt that a plain worker went on with. */
  id: string;
  readonly task: ModelTask;
  readonly slot: string;
  node: ModelNode;
  readonly attempt: number;
  readonly startedAtMs: number;
  readonly sizeClass: number;
  /** Taken from the node. */
  cores: number;
  state: 'live' | 'lost' | 'over';
  isConfirmed: boolean;
  /** Times it was sent again without being confirmed. */
  resends: number;
  readonly isHedge: boolean;
}

/** Platform, instance name and size class. */
export function fits(task: ModelTask, offer: SimOffer): boolean {
  return canRun(offer, task.action) && (task.sizeClass === 0 || offer.sizeClass >= task.sizeClass);
}

/** Equal for tasks that any slot treats alike. */
export function demandOf(task: ModelTask): string {
  return `${task.action.wishes} ${task.sizeClass} ${[...task.faultyNodes].sort().join()}`;
}

/** The best priority of those who wait (R-EX-24); 0 for nobody. */
export function priorityOf({ operations }: ModelTask): number {
  if (operations.size === 0) return 0;
  let best = Number.POSITIVE_INFINITY;
  for (const { priority } of operations) best = Math.min(best, priority);
  return best;
}

/** Cores that leases take from the node. */
export function takenFrom(node: ModelNode, leases: Iterable<ModelLease>): number {
  let taken = 0;
  for (const lease of leases) if (lease.state === 'live' && lease.node === node) taken += lease.cores;
  return taken;
}
