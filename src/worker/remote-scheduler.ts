import {
  OperationQueueDefinition,
  type SynchronizeRequest,
  type SynchronizeResponse,
} from '../gen/pkg/proto/remoteworker/remoteworker.ts';
import type { RpcClient } from '../rpc/client.ts';

/** Who tells a slot what to do. */
export interface SlotScheduler {
  /** Says what the slot does, learns what it should do; an idle slot may wait for minutes (R-BB-02). @throws any failure of the call. */
  synchronize(request: SynchronizeRequest, signal: AbortSignal): Promise<SynchronizeResponse>;
}

/** A scheduler that speaks Buildbarn's worker protocol. */
export class RemoteScheduler implements SlotScheduler {
  readonly #rpc: RpcClient;
  readonly #options: { readonly idleTimeoutMs: number; readonly busyTimeoutMs: number };

  /** @param options how long a call of an idle slot may be held back, and one of a slot that has something to say. */
  constructor(rpc: RpcClient, options: { readonly idleTimeoutMs: number; readonly busyTimeoutMs: number }) {
    this.#rpc = rpc;
    this.#options = options;
  }

  synchronize(request: SynchronizeRequest, signal: AbortSignal): Promise<SynchronizeResponse> {
    const state = request.currentState?.workerState;
    // A completed slot is given the next task or held like an idle one (R-BB-07).
    const isHeld = state?.$case !== 'executing' || state.value.executionState?.$case === 'completed';
    const timeoutMs = isHeld ? this.#options.idleTimeoutMs : this.#options.busyTimeoutMs;
    const method = OperationQueueDefinition.methods.synchronize;
    return this.#rpc.unary(OperationQueueDefinition, method, request, { signal, timeoutMs });
  }
}
