import { ReapiError } from '../../errors.ts';
import type { SlotChange, SlotFacts, Trace } from './trace.ts';

/** Most slots that are simulated. */
const MAX_SLOTS = 1_000_000;

/** A fleet other than the recorded one. */
export interface FleetOptions {
  readonly workers: number;
  /** Default: as many as the recorded workers of the same offer have on average. */
  readonly slotsPerWorker?: number;
}

/** Workers of a trace that offer the same. */
interface Kind {
  readonly facts: SlotFacts;
  /** Slots there are now, by node. */
  readonly nodes: Map<string, Set<string>>;
  slots: number;
  /** At the moment with most slots. */
  peakNodes: number;
  peakSlots: number;
}

/**
 * `workers` machines that are there from the start and stay, in the proportion of the offers that were recorded. Of each offer there is
 * one before there are two of another, and a larger fleet has every worker of a smaller one (Adams's method), so that
 * fleets can be compared.
 * @throws invalid-argument: the trace has no slots whose offers could be taken, or the fleet is too large.
 */
export function evenFleet(trace: Trace, { workers, slotsPerWorker }: FleetOptions): readonly SlotChange[] {
  const kinds = kindsOf(trace.slots).map((kind) => ({ kind, workers: 0 }));
  const [first] = kinds;
  if (first === undefined) throw new ReapiError('invalid-argument', 'the trace has no worker to take an offer from');
  const changes: SlotChange[] = [];
  for (let count = 0; count < workers; count++) {
    let next = first;
    for (const each of kinds) if (claim(each) > claim(next)) next = each;
    next.workers++;
    const { facts, peakSlots, peakNodes } = next.kind;
    const node = `worker-${count + 1}`;
    const slots = slotsPerWorker ?? Math.max(1, Math.round(peakSlots / peakNodes));
    if (changes.length + slots > MAX_SLOTS) throw new ReapiError('invalid-argument', 'the fleet is too large');
    for (let slot = 0; slot < slots; slot++) {
      changes.push({ ...facts, type: 'there', atMs: 0, node, slot: `${node}/${slot + 1}` });
    }
  }
  return changes;
}

function claim({ kind, workers }: { readonly kind: Kind; readonly workers: number }): number {
  return workers === 0 ? Number.POSITIVE_INFINITY : kind.peakNodes / workers;
}

/** What workers offer under an instance name prefix, as one text. */
export function offerText({ offer, prefix }: Pick<SlotFacts, 'offer' | 'prefix'>): string {
  return JSON.stringify([offer, prefix]);
}

function kindsOf(changes: readonly SlotChange[]): readonly Kind[] {
  const kinds = new Map<string, Kind>();
  const bySlot = new Map<string, { readonly kind: Kind; readonly node: string }>();
  for (const change of changes) {
    const before = bySlot.get(change.slot);
    if (before !== undefined) takeOut(before.kind, before.node, change.slot);
    bySlot.delete(change.slot);
    if (change.type === 'left') continue;
    const text = offerText(change);
    const kind = kinds.get(text) ?? { facts: change, nodes: new Map(), slots: 0, peakNodes: 0, peakSlots: 0 };
    kinds.set(text, kind);
    const slots = kind.nodes.get(change.node) ?? new Set();
    kind.nodes.set(change.node, slots.add(change.slot));
    bySlot.set(change.slot, { kind, node: change.node });
    kind.slots++;
    if (kind.slots <= kind.peakSlots) continue;
    kind.peakSlots = kind.slots;
    kind.peakNodes = kind.nodes.size;
  }
  return [...kinds.values()];
}

function takeOut(kind: Kind, node: string, slot: string): void {
  const slots = kind.nodes.get(node);
  slots?.delete(slot);
  if (slots?.size === 0) kind.nodes.delete(node);
  kind.slots--;
}
