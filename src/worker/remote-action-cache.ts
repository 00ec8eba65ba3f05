import type { ActionKey } from '../digest/action-key.ts';
import { digestToWire } from '../digest/digest.ts';
import { digestFunctionToWire } from '../digest/digest-function.ts';
import { ActionCacheDefinition, type ActionResult } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { RpcClient } from '../rpc/client.ts';

/** Where a worker records results itself, because the scheduler does not (R-BW-07). */
export interface ResultRecorder {
  /** @throws whatever the server answers. */
  record(key: ActionKey, result: ActionResult, signal: AbortSignal): Promise<void>;
}

/** The action cache of a REAPI server. */
export class RemoteActionCache implements ResultRecorder {
  readonly #rpc: RpcClient;
  readonly #callTimeoutMs: number;

  constructor(rpc: RpcClient, options: { readonly callTimeoutMs: number }) {
    this.#rpc = rpc;
    this.#callTimeoutMs = options.callTimeoutMs;
  }

  async record(key: ActionKey, result: ActionResult, signal: AbortSignal): Promise<void> {
    const method = ActionCacheDefinition.methods.updateActionResult;
    const request = {
      instanceName: key.instance,
      actionDigest: digestToWire(key.action),
      actionResult: result,
      resultsCachePolicy: undefined,
      digestFunction: digestFunctionToWire(key.action.function),
    };
    await this.#rpc.unary(ActionCacheDefinition, method, request, { signal, timeoutMs: this.#callTimeoutMs });
  }
}
