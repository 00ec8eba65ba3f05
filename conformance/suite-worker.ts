import assert from 'node:assert/strict';
import type {
  DeepPartial,
  Digest,
  ExecuteResponse,
} from '../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  type CurrentState,
  type DesiredState,
  OperationQueueDefinition,
  SynchronizeRequest,
  type SynchronizeResponse,
} from '../src/gen/pkg/proto/remoteworker/remoteworker.ts';
import { freshName } from './blobs.ts';
import type { CaseContext } from './case.ts';
import { ownPlatform, type Property, until } from './errands.ts';
import { present } from './expect.ts';

/** What a worker is told to run. */
export type Orders = Extract<DesiredState['workerState'], { $case: 'executing' }>['value'];

const { synchronize } = OperationQueueDefinition.methods;

/** The worker does nothing. */
export const IDLE: CurrentState = { workerState: { $case: 'idle', value: {} } };

/** The worker runs an action. */
export function running(actionDigest: Digest): CurrentState {
  const value = { actionDigest, executionState: { $case: 'running' as const, value: {} } };
  return { workerState: { $case: 'executing', value } };
}

/** The worker is done with an action. */
export function completed(actionDigest: Digest, response: ExecuteResponse): CurrentState {
  const value = { actionDigest, executionState: { $case: 'completed' as const, value: response } };
  return { workerState: { $case: 'executing', value } };
}

/** Plays one thread of a bb_worker that runs nothing, whose pool no other worker is in. */
export class SuiteWorker {
  readonly context: CaseContext;
  readonly platform: readonly Property[];
  readonly #identity: DeepPartial<SynchronizeRequest>;

  /** @param like a worker whose platform this one shares. */
  constructor(context: CaseContext, identity: DeepPartial<SynchronizeRequest> = {}, like?: SuiteWorker) {
    this.context = context;
    this.platform = like?.platform ?? ownPlatform(context);
    this.#identity = { workerId: { hostname: `conformance-${freshName()}`, thread: '0' }, ...identity };
  }

  get id(): Readonly<Record<string, string>> {
    return SynchronizeRequest.fromPartial(this.#identity).workerId;
  }

  /** The request that says this of the worker. */
  request(currentState: CurrentState | undefined, fields: DeepPartial<SynchronizeRequest> = {}): SynchronizeRequest {
    const platform = { properties: [...this.platform] };
    return SynchronizeRequest.fromPartial({
      platform,
      ...this.#identity,
      ...fields,
      ...(currentState === undefined ? {} : { currentState }),
    });
  }

  /** One call. */
  async say(
    currentState: CurrentState | undefined,
    fields?: DeepPartial<SynchronizeRequest>,
  ): Promise<SynchronizeResponse> {
    const { endpoint } = this.context;
    return await endpoint.unary(OperationQueueDefinition, synchronize, this.request(currentState, fields));
  }

  /** A call that the worker can break off. */
  open(currentState: CurrentState) {
    const call = this.context.endpoint.open(OperationQueueDefinition, synchronize);
    call.send(this.request(currentState));
    const answers = call.finish();
    return { vanish: () => call.vanish(), answers };
  }

  /** Makes itself known without asking for work, so that actions for its pool are not refused. */
  async register(): Promise<this> {
    await this.say(IDLE, { preferBeingIdle: true });
    return this;
  }

  /** Asks until there is work. */
  async takeWork(): Promise<{ readonly orders: Orders; readonly response: SynchronizeResponse }> {
    return await until(this.context, 'work for the worker', async () => {
      const response = await this.say(IDLE);
      const state = response.desiredState?.workerState;
      return state?.$case === 'executing' ? { orders: state.value, response } : undefined;
    });
  }

  /** Reports a result and asks for nothing more. */
  async finish(actionDigest: Digest, response: ExecuteResponse): Promise<SynchronizeResponse> {
    return await this.say(completed(actionDigest, response), { preferBeingIdle: true });
  }
}

/** What the response tells the worker to run. */
export function ordersIn(response: SynchronizeResponse): Orders {
  const state = response.desiredState?.workerState;
  assert.equal(state?.$case, 'executing', 'the worker is not told to run anything');
  return state.value;
}

/** Passes if the response tells the worker to run this action. */
export function expectOrders(response: SynchronizeResponse, digest: Digest): void {
  assert.deepEqual(ordersIn(response).actionDigest, digest);
}

/** Passes if the response tells the worker to be idle. */
export function expectIdle(response: SynchronizeResponse): void {
  assert.equal(response.desiredState?.workerState?.$case, 'idle', 'the worker is not told to be idle');
}

/** Passes if the next call is at a time from now to so many seconds later, with some seconds for clocks that differ. */
export function expectNextCall(response: SynchronizeResponse, withinS: number): void {
  const next = present(response.nextSynchronizationAt, 'next_synchronization_at');
  assert.ok(next.nanos >= 0 && next.nanos < 1e9, `nanos ${next.nanos}`);
  const inS = Number(next.seconds) - Date.now() / 1000;
  assert.ok(inS > -10 && inS <= withinS + 10, `the next call is in ${inS.toFixed(1)} s`);
}
