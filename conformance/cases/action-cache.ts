import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import {
  Action,
  ActionCacheDefinition,
  type ActionResult,
  Command,
  type DeepPartial,
  type Digest,
  GetActionResultRequest,
  Tree,
  UpdateActionResultRequest,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { blobOf, EMPTY_BLOB, freshBlob, freshName, storeBlobs } from '../blobs.ts';
import { type CaseContext, type ConformanceCase, conformanceCase } from '../case.ts';
import { expectFailure, present } from '../expect.ts';
import type { Feature } from '../profile.ts';

const { INVALID_ARGUMENT, NOT_FOUND } = status;
const UPDATE: readonly Feature[] = ['actionCacheUpdate'];

/** The stored digest of a new action, command and input root included. */
export async function storeFreshAction(context: CaseContext): Promise<Digest> {
  const command = blobOf(Command.encode(Command.fromPartial({ arguments: [freshName()] })).finish());
  const action = Action.fromPartial({ commandDigest: command.digest, inputRootDigest: EMPTY_BLOB.digest });
  const blob = blobOf(Action.encode(action).finish());
  await storeBlobs(context, [command, blob]);
  return blob.digest;
}

/** What the action cache has for `actionDigest`. @throws CallFailed for a miss. */
export async function getResult(
  context: CaseContext,
  actionDigest: Digest,
  options: DeepPartial<GetActionResultRequest> = {},
): Promise<ActionResult> {
  const request = GetActionResultRequest.fromPartial({
    instanceName: context.profile.instance,
    actionDigest,
    ...options,
  });
  const { getActionResult } = ActionCacheDefinition.methods;
  return await context.endpoint.unary(ActionCacheDefinition, getActionResult, request);
}

/** Stores a result as clients do. @throws CallFailed if it is refused. */
export async function updateResult(
  context: CaseContext,
  actionDigest: Digest,
  actionResult: DeepPartial<ActionResult>,
): Promise<ActionResult> {
  const request = UpdateActionResultRequest.fromPartial({
    instanceName: context.profile.instance,
    actionDigest,
    actionResult,
  });
  const { updateActionResult } = ActionCacheDefinition.methods;
  return await context.endpoint.unary(ActionCacheDefinition, updateActionResult, request);
}

const readCases: readonly ConformanceCase[] = [
  conformanceCase(
    {
      id: 'action-cache.get.miss',
      level: 'MUST',
      requirements: 'R-AC-01',
      rule: 'An action without a result is NOT_FOUND.',
    },
    async (context) => {
      await expectFailure(getResult(context, freshBlob().digest), NOT_FOUND);
    },
  ),
  ...(
    [
      ['short-hash', 'a hash of 63 digits', { hash: 'a'.repeat(63), sizeBytes: 7n }],
      ['upper-case', 'an upper-case hash', { hash: 'A'.repeat(64), sizeBytes: 7n }],
      ['negative-size', 'a negative size', { hash: 'a'.repeat(64), sizeBytes: -7n }],
    ] satisfies readonly (readonly [string, string, Digest])[]
  ).map(([name, what, digest]) =>
    conformanceCase(
      {
        id: `action-cache.get.digest.${name}`,
        level: 'MUST',
        requirements: 'R-DIG-01 R-DIG-02',
        rule: `Asking for an action digest with ${what} is refused.`,
      },
      async (context) => {
        await expectFailure(getResult(context, digest), INVALID_ARGUMENT);
      },
    ),
  ),
  conformanceCase(
    {
      id: 'action-cache.get.no-digest',
      level: 'MUST',
      requirements: 'R-DIG-01',
      rule: 'A question without an action digest is refused.',
    },
    async (context) => {
      const request = GetActionResultRequest.fromPartial({ instanceName: context.profile.instance });
      const { getActionResult } = ActionCacheDefinition.methods;
      const call = context.endpoint.unary(ActionCacheDefinition, getActionResult, request);
      await expectFailure(call, INVALID_ARGUMENT);
    },
  ),
];

const updateCases: readonly ConformanceCase[] = [
  conformanceCase(
    {
      id: 'action-cache.update.round-trip',
      level: 'MUST',
      requirements: 'R-AC-02 R-AC-10',
      rule: 'A result whose outputs are all there is found again as it was.',
      needs: UPDATE,
    },
    async (context) => {
      const action = await storeFreshAction(context);
      const [file, stdout] = [freshBlob(), freshBlob()];
      await storeBlobs(context, [file, stdout]);
      const outputFiles = [{ path: 'out/a.o', digest: file.digest, isExecutable: true }];
      await updateResult(context, action, { outputFiles, stdoutDigest: stdout.digest, exitCode: 0 });
      const found = await getResult(context, action);
      assert.equal(found.outputFiles.length, 1);
      assert.equal(found.outputFiles[0]?.path, 'out/a.o');
      assert.deepEqual(found.outputFiles[0]?.digest, file.digest);
      assert.equal(found.outputFiles[0]?.isExecutable, true);
      assert.deepEqual(found.stdoutDigest, stdout.digest);
    },
  ),
  conformanceCase(
    {
      id: 'action-cache.update.last-wins',
      level: 'SHOULD',
      requirements: 'R-AC-16',
      rule: 'A second result for the same action takes the place of the first.',
      needs: UPDATE,
    },
    async (context) => {
      const action = await storeFreshAction(context);
      for (const text of ['first', 'second']) {
        const stdout = blobOf(text);
        await storeBlobs(context, [stdout]);
        await updateResult(context, action, { stdoutDigest: stdout.digest });
      }
      assert.deepEqual((await getResult(context, action)).stdoutDigest, blobOf('second').digest);
    },
  ),
  conformanceCase(
    {
      id: 'action-cache.get.size-is-identity',
      level: 'SHOULD',
      requirements: 'R-AC-15 R-DIG-02',
      rule: 'The same hash with another size is another action.',
      needs: UPDATE,
    },
    async (context) => {
      const action = await storeFreshAction(context);
      await updateResult(context, action, { exitCode: 0, executionMetadata: { worker: 'w' } });
      const other = { ...action, sizeBytes: action.sizeBytes + 1n };
      await expectFailure(getResult(context, other), NOT_FOUND, INVALID_ARGUMENT);
    },
  ),
  conformanceCase(
    {
      id: 'action-cache.get.metadata',
      level: 'SHOULD',
      requirements: 'R-AC-14',
      rule: 'A result always has execution metadata, without which Buck2 fails, and is never an empty message.',
      needs: UPDATE,
    },
    async (context) => {
      const action = await storeFreshAction(context);
      await updateResult(context, action, { executionMetadata: { worker: 'w' } });
      present((await getResult(context, action)).executionMetadata, 'execution_metadata');
    },
  ),
  conformanceCase(
    {
      id: 'action-cache.get.inline-stdout',
      level: 'SHOULD',
      requirements: 'R-AC-04',
      rule: 'Standard output is inlined only for those who ask; if it is, it is the right bytes beside the digest.',
      needs: UPDATE,
    },
    async (context) => {
      const action = await storeFreshAction(context);
      const stdout = freshBlob(200);
      await storeBlobs(context, [stdout]);
      await updateResult(context, action, { stdoutDigest: stdout.digest });
      assert.equal((await getResult(context, action)).stdoutRaw.length, 0, 'inlined without being asked');
      const asked = await getResult(context, action, { inlineStdout: true });
      assert.deepEqual(asked.stdoutDigest, stdout.digest);
      if (asked.stdoutRaw.length > 0) assert.deepEqual(Buffer.from(asked.stdoutRaw), stdout.bytes);
    },
  ),
];

/** Results that must be refused: [case, level, what is wrong, result]. */
const BAD_RESULTS: readonly (readonly [string, string, DeepPartial<ActionResult>])[] = [
  ['absolute-path', 'an absolute output path', { outputFiles: [{ path: '/etc/passwd', digest: EMPTY_BLOB.digest }] }],
  ['bad-digest', 'a malformed output digest', { outputFiles: [{ path: 'a', digest: { hash: 'x', sizeBytes: 1n } }] }],
  [
    'negative-size',
    'an output of negative size',
    { outputFiles: [{ path: 'a', digest: { hash: 'a'.repeat(64), sizeBytes: -1n } }] },
  ],
  ['directory-without-digest', 'an output directory without any digest', { outputDirectories: [{ path: 'a' }] }],
];

const refusedCases = BAD_RESULTS.map(([name, what, result]) =>
  conformanceCase(
    {
      id: `action-cache.update.${name}`,
      level: 'SHOULD',
      requirements: 'R-AC-17 R-AC-08',
      rule: `A result with ${what} is refused.`,
      needs: UPDATE,
    },
    async (context) => {
      const action = await storeFreshAction(context);
      await expectFailure(updateResult(context, action, result), INVALID_ARGUMENT, status.FAILED_PRECONDITION);
    },
  ),
);

const absent = () => freshBlob().digest;

/** Results that refer to something absent: [case, what, result]. */
const INCOMPLETE: readonly (readonly [string, string, () => DeepPartial<ActionResult>])[] = [
  ['file', 'a file', () => ({ outputFiles: [{ path: 'a', digest: absent() }] })],
  ['stdout', 'standard output', () => ({ stdoutDigest: absent() })],
  ['stderr', 'standard error', () => ({ stderrDigest: absent() })],
  ['tree', 'the Tree of a directory', () => ({ outputDirectories: [{ path: 'a', treeDigest: absent() }] })],
];

async function expectMissAfter(context: CaseContext, result: DeepPartial<ActionResult>): Promise<void> {
  const action = await storeFreshAction(context);
  // A server may refuse the update at once; what counts is that nobody is told of a hit.
  await updateResult(context, action, result).catch(() => undefined);
  await expectFailure(getResult(context, action), NOT_FOUND);
}

const completenessCases: readonly ConformanceCase[] = [
  ...INCOMPLETE.map(([name, what, makeResult]) =>
    conformanceCase(
      {
        id: `action-cache.complete.${name}`,
        level: 'SHOULD',
        requirements: 'R-AC-02',
        rule: `A result of which ${what} is absent is a miss.`,
        needs: ['actionCacheUpdate', 'completenessChecking'],
      },
      (context) => expectMissAfter(context, makeResult()),
    ),
  ),
  conformanceCase(
    {
      id: 'action-cache.complete.inside-tree',
      level: 'SHOULD',
      requirements: 'R-AC-02',
      rule: 'A result is a miss if a file named inside the Tree of a directory is absent.',
      needs: ['actionCacheUpdate', 'completenessChecking'],
    },
    async (context) => {
      const tree = Tree.fromPartial({ root: { files: [{ name: 'gone', digest: absent() }] } });
      const blob = blobOf(Tree.encode(tree).finish());
      await storeBlobs(context, [blob]);
      await expectMissAfter(context, { outputDirectories: [{ path: 'a', treeDigest: blob.digest }] });
    },
  ),
];

/** ActionCache. */
export const actionCacheCases = [...readCases, ...updateCases, ...refusedCases, ...completenessCases];
