import type { Status } from '../../gen/google/rpc/status.ts';
import type { DrainEvent } from '../scheduler/events.ts';

/** What operators may do to a fleet and its queue. */
export interface FleetActions {
  /** Begins or ends a drain. One more than `maxDrains` has no effect. */
  drain(change: Omit<DrainEvent, 'type'>): void;
  /** Ends an unfinished operation: its client gets this as ExecuteResponse.status. Does nothing if it is over. */
  kill(operation: string, status: Status): void;
}
