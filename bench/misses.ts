/** What remembering a lookup costs, so that it can always be on: `node bench/misses.ts`. CPU time, mean of a million events each. */
import { MissHistory } from '../src/action-cache/misses/miss-history.ts';
import type { ActionKey } from '../src/digest/action-key.ts';
import { digestOf } from '../src/digest/hasher.ts';
import { parseInstanceName } from '../src/digest/instance-name.ts';
import { RequestMetadata } from '../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { SystemClock } from '../src/system/clock.ts';

const EVENTS = 1_000_000;
const MAX_ACTIONS = 20_000;
const instance = parseInstanceName('main');

/** Twice as many actions as are remembered: in turn, each is new again. */
const keys: ActionKey[] = Array.from({ length: 2 * MAX_ACTIONS }, (_, at) => ({
  instance,
  action: digestOf('sha256', Buffer.from(`action ${at}`)),
}));
const requests = keys.map((_, at) =>
  RequestMetadata.fromPartial({
    targetId: `//some/package:target_${at % 5000}`,
    actionMnemonic: 'CppCompile',
    toolInvocationId: 'invocation',
    configurationId: 'configuration',
  }),
);

/** Prints the CPU time of one event. */
function measure(name: string, actions: number, event: (history: MissHistory, at: number) => void): void {
  const history = new MissHistory(new SystemClock(), { maxActions: MAX_ACTIONS });
  for (let at = 0; at < keys.length; at++) event(history, at % actions);
  const before = process.cpuUsage();
  for (let at = 0; at < EVENTS; at++) event(history, at % actions);
  const { user, system } = process.cpuUsage(before);
  console.log(`${name}: ${((user + system) / EVENTS).toFixed(2)} µs`);
}

function found(history: MissHistory, at: number): void {
  const key = keys[at];
  if (key !== undefined) history.found(key, requests[at]);
}

function missedAndStored(history: MissHistory, at: number): void {
  const key = keys[at];
  if (key === undefined) return;
  history.missed(key, { reason: 'absent' }, requests[at]);
  history.stored(key, requests[at]);
}

measure('hit of a known action', 1000, found);
measure('hit of an action that is new', keys.length, found);
measure('miss and then a result, of a known action', 1000, missedAndStored);
measure('miss and then a result, of an action that is new', keys.length, missedAndStored);
