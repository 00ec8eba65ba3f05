import type { InlineHints } from '../action-cache/inline-outputs.ts';
import { type Authorizer, demand } from '../auth/authorizer.ts';
import { digestFromWire } from '../digest/digest.ts';
import { type DigestFunction, resolveDigestFunction } from '../digest/digest-function.ts';
import type { InstanceNames } from '../digest/instance-name.ts';
import { ReapiError } from '../errors.ts';
import {
  type ActionResult,
  type ExecuteRequest,
  ExecutionDefinition,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Operation } from '../gen/google/longrunning/operations.ts';
import type { Call } from '../rpc/call.ts';
import { type Method, serverStreaming } from '../rpc/methods.ts';
import type { Executions } from './executions.ts';
import type { Operations } from './operations.ts';
import { operationMessage } from './operations-service.ts';

/** What the service works with. */
export interface ExecutionServiceParts {
  readonly operations: Operations;
  readonly executions: Pick<Executions, 'start'>;
  readonly instances: InstanceNames;
  readonly authorizer: Authorizer;
  readonly inline: (
    result: ActionResult,
    hints: InlineHints,
    fn: DigestFunction,
    signal: AbortSignal,
  ) => Promise<ActionResult>;
  /** Aborts when the server begins to stop: streams end with UNAVAILABLE, which clients take as a cut (R-EX-07, R-XC-11). */
  readonly stopping: AbortSignal;
}

/** `Execution`: Execute and WaitExecution. */
export function executionMethods(parts: ExecutionServiceParts): Method[] {
  const { methods } = ExecutionDefinition;
  return [
    serverStreaming(ExecutionDefinition, methods.execute, (request, call) => execute(parts, request, call)),
    serverStreaming(ExecutionDefinition, methods.waitExecution, (request, call) => wait(parts, request.name, call)),
  ];
}

async function* execute(parts: ExecutionServiceParts, request: ExecuteRequest, call: Call): AsyncIterable<Operation> {
  const instance = parts.instances.resolve(request.instanceName);
  const fn = resolveDigestFunction(request.digestFunction, request.actionDigest?.hash.length);
  const action = digestFromWire(fn, request.actionDigest, 'action_digest');
  await demand(parts.authorizer, call.principal, 'execute', instance);
  refuseWhileStopping(parts.stopping);
  const hints = { stdout: request.inlineStdout, stderr: request.inlineStderr, files: request.inlineOutputFiles };
  const { name } = parts.executions.start({
    key: { instance, action },
    skipCacheLookup: request.skipCacheLookup,
    priority: request.executionPolicy?.priority ?? 0,
    requestMetadata: call.requestMetadata,
    principal: call.principal.name,
    inline: (result, signal) => parts.inline(result, hints, fn, signal),
  });
  yield* follow(parts, name, call.signal);
}

async function* wait(parts: ExecutionServiceParts, name: string, call: Call): AsyncIterable<Operation> {
  if (name === '') throw new ReapiError('invalid-argument', 'the name is empty', { field: 'name' });
  const state = await parts.operations.find(name, call.signal);
  await demand(parts.authorizer, call.principal, 'execute', state.key.instance);
  // One of a former server cannot be followed, and a finished one need not be.
  if (state.stage === 'completed') yield operationMessage(state);
  else yield* follow(parts, name, call.signal);
}

async function* follow(parts: ExecutionServiceParts, name: string, signal: AbortSignal): AsyncIterable<Operation> {
  const either = AbortSignal.any([signal, parts.stopping]);
  for await (const state of parts.operations.watch(name, either)) yield operationMessage(state);
}

function refuseWhileStopping(stopping: AbortSignal): void {
  if (stopping.aborted) throw new ReapiError('unavailable', 'the server is stopping', { retryAfterMs: 1_000 });
}
