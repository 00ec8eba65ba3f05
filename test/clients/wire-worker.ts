import { DIGEST_FUNCTIONS, digestFunctionToWire } from '../../src/digest/digest-function.ts';
import {
  ExecuteResponse,
  type Platform_Property,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  type DesiredState_Executing,
  OperationQueueDefinition,
  SynchronizeRequest,
} from '../../src/gen/pkg/proto/remoteworker/remoteworker.ts';
import { connect, type RpcClient } from '../../src/rpc/client.ts';

/** What a worker of the test's own says of itself, and how actions end on it. */
export interface WireWorkerParts {
  readonly node: string;
  /** An action must be satisfied by one of these as a whole. */
  readonly offers: readonly (readonly Platform_Property[])[];
  readonly respond: () => Parameters<typeof ExecuteResponse.fromPartial>[0];
}

type State = NonNullable<Parameters<typeof SynchronizeRequest.fromPartial>[0]['currentState']>;

/** Speaks the worker protocol of a Gantry worker with one slot, and answers each action at once without running it. */
export class WireWorker {
  readonly #client: RpcClient;
  readonly #parts: WireWorkerParts;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(address: string, parts: WireWorkerParts) {
    this.#client = connect(address);
    this.#parts = parts;
    this.#done = this.#work();
    // Seen by whoever stops it.
    this.#done.catch(() => undefined);
  }

  /** Goes without a word, as a process that is killed. @throws if it failed before. */
  async stop(): Promise<void> {
    this.#stop.abort();
    try {
      await this.#done;
    } finally {
      this.#client.close();
    }
  }

  async #work(): Promise<void> {
    let held: { readonly state: State; readonly leaseId: string } = { state: idle(), leaseId: '' };
    while (!this.#stop.signal.aborted) {
      const order = await this.#synchronize(held);
      held = order === undefined ? { state: idle(), leaseId: '' } : { ...order, state: this.#ended(order.work) };
    }
  }

  async #synchronize({ state, leaseId }: { readonly state: State; readonly leaseId: string }) {
    const { node, offers } = this.#parts;
    const request = SynchronizeRequest.fromPartial({
      workerId: { node, worker: 'wire', thread: '0' },
      platform: { properties: [...(offers[0] ?? [])] },
      currentState: state,
      gantry: {
        ...{ protocolVersion: 1, leaseId, serverRecordsResult: true, legacyOutputs: true },
        offers: offers.map((properties) => ({ properties: [...properties] })),
        digestFunctions: DIGEST_FUNCTIONS.map(digestFunctionToWire),
      },
    });
    const { methods } = OperationQueueDefinition;
    try {
      const { signal } = this.#stop;
      const answer = await this.#client.unary(OperationQueueDefinition, methods.synchronize, request, { signal });
      const desired = answer.desiredState?.workerState;
      if (desired?.$case !== 'executing') return undefined;
      return { work: desired.value, leaseId: answer.gantry?.leaseId ?? '' };
    } catch (error) {
      if (this.#stop.signal.aborted) return undefined;
      throw error;
    }
  }

  #ended({ actionDigest }: DesiredState_Executing): State {
    const completed = ExecuteResponse.fromPartial(this.#parts.respond());
    return {
      workerState: {
        $case: 'executing',
        value: { actionDigest, executionState: { $case: 'completed', value: completed } },
      },
    };
  }
}

function idle(): State {
  return { workerState: { $case: 'idle', value: {} } };
}
