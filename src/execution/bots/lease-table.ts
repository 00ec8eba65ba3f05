import type { InstanceName } from '../../digest/instance-name.ts';
import { ReapiError } from '../../errors.ts';
import type { Action, ActionResult } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { LeaseState } from '../../gen/google/devtools/remoteworkers/v1test2/bots.ts';
import type { Any } from '../../gen/google/protobuf/any.ts';
import type { Status } from '../../gen/google/rpc/status.ts';
import type { SlotOrders } from '../scheduler-host.ts';
import { formatLeaseId, type LeaseName, parseLeaseId } from './lease-id.ts';

/** A lease as a bot reports it. */
export interface ReportedLease {
  readonly id: string;
  readonly state: LeaseState;
  readonly status: Status | undefined;
  /** Decoded; unset if there is none, or something else. */
  readonly result: ActionResult | undefined;
  readonly payload: Any | undefined;
}

/** A lease as the bot is to have it. */
export interface AnsweredLease {
  readonly id: string;
  readonly state: LeaseState;
  /** What to run, where this server knows it. */
  readonly action: Action | undefined;
  /** What the bot itself said of it, otherwise. */
  readonly payload: Any | undefined;
}

/** What a bot says of one slot. */
export interface SlotReport {
  readonly name: LeaseName;
  readonly lease: ReportedLease;
  /** It had taken the lease before it was done with it; otherwise it refused it. */
  readonly wasAccepted: boolean;
}

interface Slot {
  /** What the bot was told to hold; unset if nothing. */
  held: { readonly id: string; readonly name: LeaseName; isActive: boolean } | undefined;
}

/** Most leases in one message: those a bot holds, those it is done with and those that it was told to drop. */
export const MAX_REPORTED_LEASES = 4096;

/**
 * The leases of one bot, each on a slot.
 *
 * State of a lease (R-RW-07), as the server sees it; the bot's report is on the arrow:
 *
 *     (sent) pending ── ACTIVE ──► active ── COMPLETED ──► gone
 *              │ ▲ └─ PENDING, or missing: sent again  │
 *              └─┼────────── COMPLETED: refused ───────┘
 *     pending, active ── no longer wanted ──► told CANCELLED once ──► gone
 *
 * A report that this picture does not have ends the session: the two sides no longer mean the same. A lease that is told
 * CANCELLED and still reported is left out of the next answer, since BuildGrid's bots go by that. A lease that is active and
 * missing is the scheduler's to judge: the bot has dropped it. Leases nobody here knows may be of a former server: they are
 * put on the slot they name, or a free one, and the scheduler says whether they go on. Others that are COMPLETED are ignored.
 */
export class LeaseTable {
  readonly #parent: InstanceName;
  readonly #slots: Slot[] = [];
  /** Leases the bot was told to drop and has not dropped yet; bounded by what it reports. */
  #told = new Set<string>();

  constructor(parent: InstanceName) {
    this.#parent = parent;
  }

  /** Number of slots: the capacity, and more while a lease is on a slot above it. */
  get size(): number {
    return this.#slots.length;
  }

  /** Makes room for so many leases. Returns how many slots there were. */
  resize(capacity: number): number {
    const before = this.#slots.length;
    while (this.#slots.length < capacity) this.#slots.push({ held: undefined });
    while (this.#slots.length > capacity && this.#slots.at(-1)?.held === undefined) this.#slots.pop();
    return before;
  }

  /**
   * What a bot's list of leases says of each slot, by number; slots it says nothing of are absent. Changes nothing unless it
   * returns.
   * @throws invalid-argument: a lease that occurs twice, more of them than a bot can have, or a step that is not allowed.
   */
  read(leases: readonly ReportedLease[]): ReadonlyMap<number, SlotReport> {
    if (leases.length > MAX_REPORTED_LEASES) throw wrong(`has more than ${MAX_REPORTED_LEASES} leases`);
    const ids = new Set(leases.map(({ id }) => id));
    if (ids.size < leases.length) throw wrong('has a lease twice');
    const reports = new Map<number, SlotReport>();
    const strangers: ReportedLease[] = [];
    const numbers = new Map(this.#slots.map(({ held }, number) => [held?.id, number]));
    for (const lease of leases) {
      const number = numbers.get(lease.id);
      const held = number === undefined ? undefined : this.#slots[number]?.held;
      this.#checkStep(lease, held?.isActive);
      if (number === undefined || held === undefined) strangers.push(lease);
      else reports.set(number, { name: held.name, lease, wasAccepted: held.isActive });
    }
    for (const stranger of strangers) this.#place(stranger, reports);
    for (const [number, { lease }] of reports) {
      const held = this.#slots[number]?.held;
      if (held !== undefined && lease.state === LeaseState.ACTIVE) held.isActive = true;
    }
    this.#told = new Set([...this.#told].filter((id) => ids.has(id)));
    return reports;
  }

  /** Takes note of a slot's orders and says what the bot is to be told of it. */
  settle(number: number, report: SlotReport | undefined, { hold }: SlotOrders): readonly AnsweredLease[] {
    const slot = this.#slots[number];
    if (slot === undefined) return [];
    const answer: AnsweredLease[] = [];
    const running = report !== undefined && report.lease.state !== LeaseState.COMPLETED ? report : undefined;
    if (running !== undefined) {
      const { id, state, payload } = running.lease;
      if (hold?.lease === running.name.lease) {
        slot.held = { id, name: running.name, isActive: state === LeaseState.ACTIVE };
        return [{ id, state, action: hold.work?.action, payload }];
      }
      if (!this.#told.has(id)) {
        this.#told.add(id);
        answer.push({ id, state: LeaseState.CANCELLED, action: undefined, payload: undefined });
      }
    }
    slot.held = undefined;
    // Work that this server does not know could only go on where it is.
    if (hold?.work === undefined) return answer;
    const name = { lease: hold.lease, slot: number, key: hold.key };
    const id = formatLeaseId(name, this.#parent);
    slot.held = { id, name, isActive: false };
    answer.push({ id, state: LeaseState.PENDING, action: hold.work.action, payload: undefined });
    return answer;
  }

  #checkStep({ id, state }: ReportedLease, isActive: boolean | undefined): void {
    const isCancelled = this.#told.has(id);
    switch (state) {
      case LeaseState.ACTIVE:
      case LeaseState.COMPLETED:
        return;
      case LeaseState.PENDING:
        if (isActive === true) throw wrong('has a lease that is pending again after it was active');
        return;
      case LeaseState.CANCELLED:
        if (!isCancelled) throw wrong('has a lease that only the server may cancel');
        return;
      default:
        throw wrong('has a lease in no known state');
    }
  }

  /** Finds room for a lease that is on no slot, if it may be of a former server. */
  #place(lease: ReportedLease, reports: Map<number, SlotReport>): void {
    const isRunOrDone = lease.state === LeaseState.ACTIVE || lease.state === LeaseState.COMPLETED;
    if (!isRunOrDone || this.#told.has(lease.id)) return;
    const name = parseLeaseId(lease.id, this.#parent);
    if (name === undefined) return;
    const isFree = (number: number): boolean =>
      number < this.#slots.length && this.#slots[number]?.held === undefined && !reports.has(number);
    const number = isFree(name.slot) ? name.slot : this.#slots.findIndex((_, index) => isFree(index));
    if (number >= 0) reports.set(number, { name, lease, wasAccepted: true });
  }
}

function wrong(why: string): ReapiError {
  return new ReapiError('invalid-argument', `the bot session ${why}`, { field: 'bot_session.leases' });
}
