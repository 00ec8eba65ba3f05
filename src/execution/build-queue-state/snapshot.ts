import { ReapiError } from '../../errors.ts';
import type { Any } from '../../gen/google/protobuf/any.ts';
import type {
  InvocationName,
  OperationState,
  SizeClassQueueName,
} from '../../gen/pkg/proto/buildqueuestate/buildqueuestate.ts';
import type { ExecutionWork } from '../execution-work.ts';
import type { FairnessOptions } from '../scheduler/options.ts';
import type { SchedulerView, TaskView } from '../scheduler/view.ts';
import { InvocationIds, invocationKey } from './invocation-id.ts';
import { InvocationTrees } from './invocation-tree.ts';
import type { KeptTrees } from './kept-trees.ts';
import { operationOfTask } from './operation-state.ts';
import { queueFromWire } from './queue-name.ts';
import { type Queue, Queues } from './queues.ts';
import type { WireClock } from './wire-clock.ts';

/** What is read. */
export interface SnapshotParts {
  readonly view: SchedulerView<ExecutionWork>;
  readonly clock: WireClock;
  readonly fairness: FairnessOptions;
  readonly trees: KeptTrees;
}

/** The scheduler's state at one moment in Buildbarn's terms. To be made anew after everything that is awaited. */
export class Snapshot {
  readonly view: SchedulerView<ExecutionWork>;
  readonly clock: WireClock;
  readonly queues: Queues;
  readonly ids = new InvocationIds();
  readonly #fairness: FairnessOptions;
  readonly #trees: KeptTrees;

  constructor({ view, clock, fairness, trees }: SnapshotParts) {
    this.view = view;
    this.clock = clock;
    this.queues = new Queues(view);
    this.#fairness = fairness;
    this.#trees = trees;
    clock.adjust();
  }

  /** The trees of shares, in a long queue those of a moment ago. Costs more than all else: for those who need it. */
  trees(): InvocationTrees {
    return this.#trees.get(() => new InvocationTrees(this.view, this.queues, this.ids, this.#fairness));
  }

  /** @throws not-found; invalid-argument. */
  queue(name: SizeClassQueueName | undefined): Queue {
    const queue = this.queues.find(queueFromWire(name));
    if (queue === undefined) throw new ReapiError('not-found', 'there is no such size class queue');
    return queue;
  }

  /** A place in the tree of a queue. @throws not-found: no such queue, or nothing there; invalid-argument. */
  invocation(name: InvocationName | undefined): Invocation {
    const { sizeClassQueueName, ids } = required(name);
    const queue = this.queue(sizeClassQueueName);
    const trees = this.trees();
    if (trees.find(queue, ids) === undefined) throw new ReapiError('not-found', 'there is no such invocation');
    return { queue, ids, keys: ids.map(invocationKey), trees };
  }

  /** One operation of an unfinished task. */
  operationOf(name: string, task: TaskView<ExecutionWork>): OperationState {
    return operationOfTask(name, task, this);
  }
}

/** A place that a request names. */
export interface Invocation {
  readonly queue: Queue;
  readonly ids: readonly Any[];
  /** `InvocationId.key` of each. */
  readonly keys: readonly string[];
  readonly trees: InvocationTrees;
}

/** @throws invalid-argument. */
export function required(name: InvocationName | undefined): InvocationName {
  if (name !== undefined) return name;
  throw new ReapiError('invalid-argument', 'invocation_name is required', { field: 'invocation_name' });
}
