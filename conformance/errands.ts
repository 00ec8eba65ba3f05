import { setTimeout as sleep } from 'node:timers/promises';
import { Metadata, status } from '@grpc/grpc-js';
import type { DeepPartial, ExecuteRequest } from '../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  ExecutionDefinition,
  ExecuteRequest as Request,
} from '../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { type Operation, OperationsDefinition } from '../src/gen/google/longrunning/operations.ts';
import { type ActionParts, type PreparedAction, prepareAction } from './actions.ts';
import { freshName, storeBlobs } from './blobs.ts';
import type { CaseContext } from './case.ts';
import { CallFailed, type Streamed } from './endpoint.ts';
import { present } from './expect.ts';

/** A property of a platform. */
export interface Property {
  readonly name: string;
  readonly value: string;
}

/** The platform of the profile with a pool that nobody else is in, so that only workers of the suite get its actions. */
export function ownPlatform(context: CaseContext): readonly Property[] {
  const properties = [...context.profile.platform, { name: 'pool', value: `conformance-${freshName()}` }];
  return properties.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** An action that nobody runs: a worker of the suite says how it ended. */
export function errand(context: CaseContext, platform: readonly Property[], parts: ActionParts = {}): PreparedAction {
  const { action, command } = parts;
  const wanted = { properties: [...platform] };
  return prepareAction(context, 'true', {
    ...parts,
    action: { ...action, platform: wanted },
    command: { ...command, ...(command === undefined ? {} : { platform: wanted }) },
  });
}

/** Stores an action and begins to execute it. The stream ends when a worker is done with it. */
export async function send(
  context: CaseContext,
  prepared: PreparedAction,
  options: DeepPartial<ExecuteRequest> = {},
  headers = new Metadata(),
): Promise<{ readonly end: Promise<Streamed<Operation>> }> {
  await storeBlobs(context, prepared.blobs);
  const { instance } = context.profile;
  const request = Request.fromPartial({ instanceName: instance, actionDigest: prepared.digest, ...options });
  const { execute } = ExecutionDefinition.methods;
  const end = context.endpoint.stream(ExecutionDefinition, execute, request, { headers });
  // A case that fails before it looks at the end must not leave an unhandled rejection.
  end.catch(() => undefined);
  return { end };
}

/** Begins to execute an action and goes away. Returns the operation's name. */
export async function begin(context: CaseContext, prepared: PreparedAction): Promise<string> {
  await storeBlobs(context, prepared.blobs);
  const request = Request.fromPartial({ instanceName: context.profile.instance, actionDigest: prepared.digest });
  const { execute: method } = ExecutionDefinition.methods;
  const cut = await context.endpoint.stream(ExecutionDefinition, method, request, { takeMessages: 1 });
  return present(cut.messages[0], 'the first message').name;
}

/** What became of an operation that {@link begin} began. */
export async function wait(context: CaseContext, name: string) {
  return await context.endpoint.stream(ExecutionDefinition, ExecutionDefinition.methods.waitExecution, { name });
}

/** Cancels an operation; that there are no operations to cancel is fine. */
export async function cancel(context: CaseContext, name: string): Promise<void> {
  try {
    await context.endpoint.unary(OperationsDefinition, OperationsDefinition.methods.cancelOperation, { name });
  } catch (error) {
    if (!(error instanceof CallFailed) || error.end.code !== status.UNIMPLEMENTED) throw error;
  }
}

/** Asks until `ask` has an answer, for as long as a call of the profile may take. `ask` may wait itself. */
export async function until<T>(context: CaseContext, what: string, ask: () => Promise<T | undefined>): Promise<T> {
  const untilMs = Date.now() + context.profile.callTimeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > untilMs) throw new Error(`no ${what} within ${context.profile.callTimeoutMs} ms`);
    await sleep(20);
  }
}
