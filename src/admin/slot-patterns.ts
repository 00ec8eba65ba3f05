import { ReapiError } from '../errors.ts';
import { selects } from '../execution/scheduler/drains.ts';
import type { Labels } from '../execution/scheduler/events.ts';
import type { SchedulerView } from '../execution/scheduler/view.ts';
import type { MatchingSlots, SlotPattern } from '../gen/gantry/v1/fleet.ts';

/** Bounds of a pattern: worker ids have a handful of short labels. */
const MAX_LABELS = 32;
const MAX_LABEL_LENGTH = 1_024;

/** Longest reason of a drain, in characters. */
const MAX_REASON_LENGTH = 500;

/** Most nodes listed by name. */
const MAX_LISTED_NODES = 10;

/** The labels of a pattern. @throws invalid-argument: it has none and is not meant for everything, or too many. */
export function patternFromWire(pattern: SlotPattern | undefined): Labels {
  const labels = pattern?.labels ?? {};
  const entries = Object.entries(labels);
  if (entries.length === 0 && pattern?.everything !== true) {
    throw wrong('has no labels; set everything if all slots are meant');
  }
  if (entries.length > 0 && pattern?.everything === true) throw wrong('has labels and says that everything is meant');
  if (entries.length > MAX_LABELS) throw wrong(`has more than ${MAX_LABELS} labels`);
  if (entries.some(([name, value]) => name.length > MAX_LABEL_LENGTH || value.length > MAX_LABEL_LENGTH)) {
    throw wrong(`has a label of more than ${MAX_LABEL_LENGTH} characters`);
  }
  return labels;
}

/** @throws invalid-argument: it is too long. */
export function checkedReason(reason: string): string {
  if (reason.length <= MAX_REASON_LENGTH) return reason;
  throw new ReapiError('invalid-argument', `the reason has more than ${MAX_REASON_LENGTH} characters`, {
    field: 'reason',
  });
}

/** Whether two patterns have the same labels. */
export function isSamePattern(a: Labels, b: Labels): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && a[name] === b[name]);
}

/** The slots of now that have all labels of a pattern. */
export function matchingSlots(view: SchedulerView<unknown>, pattern: Labels): MatchingSlots {
  const nodes = new Set<string>();
  const busyNodes = new Set<string>();
  let slots = 0;
  let busySlots = 0;
  for (const { labels, node, hold } of view.slots()) {
    if (!selects(pattern, labels)) continue;
    slots++;
    nodes.add(node);
    if (hold === undefined) continue;
    busySlots++;
    busyNodes.add(node);
  }
  return { nodes: nodes.size, slots, busySlots, busyNodes: [...busyNodes].slice(0, MAX_LISTED_NODES) };
}

/** A pattern for people: `host=a thread=1`. */
export function patternText(pattern: Labels): string {
  const labels = Object.entries(pattern).map(([name, value]) => `${name}=${value}`);
  return labels.length === 0 ? 'everything' : labels.join(' ');
}

function wrong(what: string): ReapiError {
  return new ReapiError('invalid-argument', `the pattern ${what}`, { field: 'pattern' });
}
