import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import {
  Action,
  type ActionResult,
  Command,
  type DeepPartial,
  type Digest,
  Directory,
  ExecuteOperationMetadata,
  ExecuteRequest,
  ExecuteResponse,
  ExecutionDefinition,
} from '../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Operation } from '../src/gen/google/longrunning/operations.ts';
import { type Blob, blobOf, bytesOf, freshName, readAll, readName, storeBlobs } from './blobs.ts';
import type { CaseContext } from './case.ts';
import type { Streamed } from './endpoint.ts';
import { expectEnd, present } from './expect.ts';

/** An action ready to be stored, with everything it refers to. */
export interface PreparedAction {
  readonly digest: Digest;
  /** Action, Command and input root, in this order, then the other inputs. */
  readonly blobs: readonly Blob[];
}

/** What may differ between the actions of the cases. */
export interface ActionParts {
  readonly command?: DeepPartial<Command>;
  readonly action?: DeepPartial<Action>;
  readonly root?: DeepPartial<Directory>;
  readonly inputs?: readonly Blob[];
}

/** An action that runs `script` with /bin/sh, unlike any that ran before. */
export function prepareAction(context: CaseContext, script: string, parts: ActionParts = {}): PreparedAction {
  const platform = { properties: [...context.profile.platform] };
  const command = Command.fromPartial({
    arguments: ['/bin/sh', '-c', script],
    environmentVariables: [{ name: 'PATH', value: '/usr/bin:/bin' }],
    platform,
    ...parts.command,
  });
  const commandBlob = blobOf(Command.encode(command).finish());
  const root = blobOf(Directory.encode(Directory.fromPartial(parts.root ?? {})).finish());
  const action = Action.fromPartial({
    commandDigest: commandBlob.digest,
    inputRootDigest: root.digest,
    salt: Buffer.from(freshName()),
    platform,
    ...parts.action,
  });
  const actionBlob = blobOf(Action.encode(action).finish());
  return { digest: actionBlob.digest, blobs: [actionBlob, commandBlob, root, ...(parts.inputs ?? [])] };
}

/** Executes what is stored, and returns the whole stream of operations. */
export async function execute(
  context: CaseContext,
  actionDigest: Digest,
  options: DeepPartial<ExecuteRequest> = {},
): Promise<Streamed<Operation>> {
  const request = ExecuteRequest.fromPartial({ instanceName: context.profile.instance, actionDigest, ...options });
  return await context.endpoint.stream(ExecutionDefinition, ExecutionDefinition.methods.execute, request);
}

/** The response in the last operation of a stream that ended well. */
export function responseOf(streamed: Streamed<Operation>): ExecuteResponse {
  expectEnd(streamed, status.OK);
  return responseIn(present(streamed.messages.at(-1), 'the last operation'));
}

/** The response of an operation that is done. */
export function responseIn(operation: Operation): ExecuteResponse {
  assert.equal(operation.done, true, 'the operation is not done');
  assert.equal(operation.result?.$case, 'response', 'Operation.error must never be set');
  assert.ok(operation.result.value.typeUrl.endsWith('/build.bazel.remote.execution.v2.ExecuteResponse'));
  return ExecuteResponse.decode(operation.result.value.value);
}

/** The metadata of an operation. */
export function metadataOf(operation: Operation): ExecuteOperationMetadata {
  const metadata = present(operation.metadata, 'metadata');
  assert.ok(metadata.typeUrl.endsWith('/build.bazel.remote.execution.v2.ExecuteOperationMetadata'), metadata.typeUrl);
  return ExecuteOperationMetadata.decode(metadata.value);
}

/** Stores and executes, and returns the result of a run whose status is OK. */
export async function run(context: CaseContext, prepared: PreparedAction): Promise<ActionResult> {
  await storeBlobs(context, prepared.blobs);
  const response = responseOf(await execute(context, prepared.digest));
  assert.equal(response.status?.code ?? status.OK, status.OK, response.status?.message);
  return present(response.result, 'result');
}

/** Stores and executes, and returns where and how it was refused: as status of the call or in the response. */
export async function refusal(
  context: CaseContext,
  prepared: PreparedAction,
  options: DeepPartial<ExecuteRequest> = {},
) {
  await storeBlobs(context, prepared.blobs);
  const streamed = await execute(context, prepared.digest, options);
  if (streamed.end.code !== status.OK) {
    const { code, message, details } = streamed.end;
    return { code, message, details: details?.details ?? [] };
  }
  const failed = present(responseOf(streamed).status, 'ExecuteResponse.status');
  return { code: failed.code, message: failed.message, details: failed.details };
}

/** The content of an output file. */
export async function outputText(context: CaseContext, result: ActionResult, path: string): Promise<string> {
  const file = result.outputFiles.find((candidate) => candidate.path === path);
  const { digest } = present(file, `output file ${path}`);
  return await blobText(context, present(digest, 'digest'));
}

/** The content of a blob. */
export async function blobText(context: CaseContext, digest: Digest): Promise<string> {
  return bytesOf(await readAll(context, readName(context, digest))).toString('utf8');
}

/** Standard output of a run, inlined or not. */
export async function stdoutText(context: CaseContext, result: ActionResult): Promise<string> {
  if (result.stdoutRaw.length > 0) return Buffer.from(result.stdoutRaw).toString('utf8');
  return result.stdoutDigest === undefined ? '' : await blobText(context, result.stdoutDigest);
}
