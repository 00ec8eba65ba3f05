import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import {
  type Command,
  type DeepPartial,
  type Digest,
  Directory,
  ExecuteRequest,
  ExecutionDefinition,
  ExecutionStage_Value,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { PreconditionFailure } from '../../src/gen/google/rpc/error_details.ts';
import { execute, metadataOf, type PreparedAction, prepareAction, refusal, responseOf } from '../actions.ts';
import { type Blob, blobOf, EMPTY_BLOB, expectAbsent, freshBlob, freshName, storeBlobs } from '../blobs.ts';
import { type CaseContext, type ConformanceCase, conformanceCase, type Level } from '../case.ts';
import { expectEnd, expectRefusal, present } from '../expect.ts';

const { DEADLINE_EXCEEDED, FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND } = status;

function executionCase(
  head: readonly [id: string, level: Level, requirements: string, rule: string],
  test: (context: CaseContext) => Promise<void>,
): ConformanceCase {
  const [id, level, requirements, rule] = head;
  return conformanceCase({ id, level, requirements, rule, needs: ['execution'] }, test);
}

async function expectMissing(context: CaseContext, prepared: PreparedAction, missing: Digest): Promise<void> {
  const refused = await refusal(context, prepared);
  expectRefusal(refused, FAILED_PRECONDITION);
  const failures = refused.details.filter(({ typeUrl }) => typeUrl.endsWith('/google.rpc.PreconditionFailure'));
  const violations = failures.flatMap(({ value }) => PreconditionFailure.decode(value).violations);
  assert.deepEqual(
    violations.map(({ type, subject }) => ({ type, subject })),
    [{ type: 'MISSING', subject: `blobs/${missing.hash}/${missing.sizeBytes}` }],
  );
  await expectAbsent(context, missing);
}

const missingCases = [
  executionCase(
    [
      'execution.missing.action',
      'MUST',
      'R-EX-40 R-EX-46',
      'An absent Action is a failed precondition that names it as MISSING.',
    ],
    async (context) => {
      const { digest } = freshBlob();
      await expectMissing(context, { digest, blobs: [] }, digest);
    },
  ),
  executionCase(
    [
      'execution.missing.command',
      'MUST',
      'R-EX-40 R-EX-41',
      'An absent Command is a failed precondition that names it as MISSING.',
    ],
    async (context) => {
      const prepared = prepareAction(context, 'true');
      const command = present(prepared.blobs[1], 'the command').digest;
      // The same script is in no other case: its Command has a name of its own.
      const unique = prepareAction(context, `true ${freshName()}`);
      const absent = present(unique.blobs[1], 'the command').digest;
      assert.notDeepEqual(command, absent);
      await expectMissing(context, { ...unique, blobs: unique.blobs.filter((blob) => blob.digest !== absent) }, absent);
    },
  ),
  executionCase(
    [
      'execution.missing.input',
      'MUST',
      'R-EX-40 R-EX-41',
      'An absent input file is a failed precondition that names it as MISSING.',
    ],
    async (context) => {
      const { digest } = freshBlob();
      await expectMissing(
        context,
        prepareAction(context, 'true', { root: { files: [{ name: 'f', digest }] } }),
        digest,
      );
    },
  ),
  executionCase(
    [
      'execution.missing.directory',
      'MUST',
      'R-EX-40 R-EX-45',
      'An absent Directory is a failed precondition that names it as MISSING.',
    ],
    async (context) => {
      const { digest } = freshBlob();
      const root = { directories: [{ name: 'd', digest }] };
      await expectMissing(context, prepareAction(context, 'true', { root }), digest);
    },
  ),
];

type Spoil = { readonly command: DeepPartial<Command> };

/** Commands that must be refused: [case, level, requirement, what is wrong, parts]. */
const BAD_COMMANDS: readonly (readonly [string, Level, string, string, Spoil])[] = [
  ['no-arguments', 'SHOULD', 'R-CM-13', 'without arguments', { command: { arguments: [] } }],
  ['output-absolute', 'SHOULD', 'R-CM-03', 'with an absolute output path', { command: { outputPaths: ['/tmp/x'] } }],
  [
    'output-escape',
    'MUST',
    'R-CM-03',
    'with an output outside the input root',
    { command: { outputPaths: ['a/../../x'] } },
  ],
  ['output-nul', 'SHOULD', 'R-CM-03', 'with a NUL in an output path', { command: { outputPaths: ['a\0b'] } }],
  [
    'cwd-absolute',
    'SHOULD',
    'R-CM-07',
    'with an absolute working directory',
    { command: { workingDirectory: '/tmp' } },
  ],
  [
    'cwd-escape',
    'MUST',
    'R-CM-07',
    'with a working directory outside the root',
    { command: { workingDirectory: '../..' } },
  ],
  [
    'node-property',
    'MUST',
    'R-CM-06',
    'with a node property nobody announced',
    { command: { outputNodeProperties: ['no-such-property'], outputPaths: ['a'] } },
  ],
];

const commandCases = BAD_COMMANDS.map(([name, level, requirement, what, parts]) =>
  executionCase([`execution.command.${name}`, level, requirement, `A command ${what} is refused.`], async (context) => {
    const refused = await refusal(context, prepareAction(context, 'true', parts));
    expectRefusal(refused, INVALID_ARGUMENT);
  }),
);

const FILE = EMPTY_BLOB.digest;

/** Input roots that must be refused: [case, level, what is wrong, directory]. */
const BAD_ROOTS: readonly (readonly [string, Level, string, DeepPartial<Directory>])[] = [
  ['parent', 'SHOULD', 'a file named ..', { files: [{ name: '..', digest: FILE }] }],
  ['self', 'SHOULD', 'a directory named .', { directories: [{ name: '.', digest: FILE }] }],
  ['slash', 'SHOULD', 'a slash in a file name', { files: [{ name: '../../escaped', digest: FILE }] }],
  ['absolute', 'SHOULD', 'a file with an absolute name', { files: [{ name: '/tmp/escaped', digest: FILE }] }],
  ['empty-name', 'SHOULD', 'a file without a name', { files: [{ name: '', digest: FILE }] }],
  ['nul', 'SHOULD', 'a NUL in a name', { files: [{ name: 'a\0b', digest: FILE }] }],
  [
    'duplicate',
    'SHOULD',
    'one name for a file and a symlink',
    { files: [{ name: 'same', digest: FILE }], symlinks: [{ name: 'same', target: '/tmp' }] },
  ],
  ['symlink-name', 'SHOULD', 'a symlink named ../x', { symlinks: [{ name: '../x', target: '/tmp' }] }],
];

const rootCases = BAD_ROOTS.map(([name, level, what, root]) =>
  executionCase(
    [`execution.root.${name}`, level, 'R-CM-08', `An input root with ${what} is refused.`],
    async (context) => {
      const refused = await refusal(context, prepareAction(context, 'true', { root }));
      expectRefusal(refused, INVALID_ARGUMENT);
    },
  ),
);

function deepTree(levels: number): readonly Blob[] {
  const chain = [EMPTY_BLOB];
  for (let depth = 1; depth < levels; depth += 1) {
    const digest = present(chain.at(-1), 'the directory below').digest;
    chain.push(blobOf(Directory.encode(Directory.fromPartial({ directories: [{ name: 'd', digest }] })).finish()));
  }
  return chain;
}

const requestCases = [
  executionCase(
    ['execution.action.digest', 'MUST', 'R-DIG-01', 'A malformed action digest is refused as status of the call.'],
    async (context) => expectEnd(await execute(context, { hash: 'nonsense', sizeBytes: 7n }), INVALID_ARGUMENT),
  ),
  executionCase(
    ['execution.action.none', 'MUST', 'R-DIG-01', 'A request without an action digest is refused.'],
    async (context) => {
      const request = ExecuteRequest.fromPartial({ instanceName: context.profile.instance });
      const { execute: method } = ExecutionDefinition.methods;
      expectEnd(await context.endpoint.stream(ExecutionDefinition, method, request), INVALID_ARGUMENT);
    },
  ),
  executionCase(
    ['execution.action.garbage', 'MUST', 'R-EX-01', 'An Action whose bytes are no Action is refused.'],
    async (context) => {
      const blob = blobOf(`\xff\xff\xff${freshName()}`);
      const refused = await refusal(context, { digest: blob.digest, blobs: [blob] });
      expectRefusal(refused, INVALID_ARGUMENT);
    },
  ),
  executionCase(
    [
      'execution.action.timeout-too-long',
      'MUST',
      'R-EX-19',
      'A timeout far above any sensible maximum is refused, not shortened.',
    ],
    async (context) => {
      const action = { timeout: { seconds: 10n * 365n * 86_400n, nanos: 0 } };
      const refused = await refusal(context, prepareAction(context, 'true', { action }));
      expectRefusal(refused, INVALID_ARGUMENT);
    },
  ),
  executionCase(
    [
      'execution.root.absurdly-deep',
      'SHOULD',
      'R-CM-10',
      'A tree of 5,000 levels is refused rather than followed to the end.',
    ],
    async (context) => {
      const chain = deepTree(5000);
      for (let start = 0; start < chain.length; start += 1000)
        await storeBlobs(context, chain.slice(start, start + 1000));
      const inputRootDigest = present(chain.at(-1), 'the root').digest;
      const refused = await refusal(context, prepareAction(context, 'true', { action: { inputRootDigest } }));
      expectRefusal(refused, INVALID_ARGUMENT, FAILED_PRECONDITION);
    },
  ),
  executionCase(
    [
      'execution.platform.impossible',
      'SHOULD',
      'R-PL-03',
      'A platform that no worker has is a failed precondition without MISSING.',
    ],
    async (context) => {
      const properties = [...context.profile.platform, { name: 'OSFamily', value: 'no-such-system' }];
      const platform = {
        properties: properties.filter(({ name, value }) => name !== 'OSFamily' || value.startsWith('no-')),
      };
      const refused = await refusal(
        context,
        prepareAction(context, 'true', { command: { platform }, action: { platform } }),
      );
      expectRefusal(refused, FAILED_PRECONDITION);
      assert.ok(!refused.details.some(({ typeUrl }) => typeUrl.endsWith('PreconditionFailure')), 'nothing is missing');
    },
  ),
];

const streamCases = [
  executionCase(
    [
      'execution.timeout',
      'MUST',
      'R-EX-21',
      'A command that runs too long is DEADLINE_EXCEEDED in the response, with what it printed.',
    ],
    async (context) => {
      const prepared = prepareAction(context, 'echo before; sleep 30', {
        action: { timeout: { seconds: 1n, nanos: 0 } },
      });
      await storeBlobs(context, prepared.blobs);
      const response = responseOf(await execute(context, prepared.digest));
      assert.equal(response.status?.code, DEADLINE_EXCEEDED, response.status?.message);
    },
  ),
  executionCase(
    ['execution.stream.first', 'SHOULD', 'R-EX-05', 'The name of the operation is known before the action is done.'],
    async (context) => {
      const prepared = prepareAction(context, 'sleep 1');
      await storeBlobs(context, prepared.blobs);
      const { messages } = await execute(context, prepared.digest);
      assert.ok(messages.length >= 2, 'only the final message came');
      assert.equal(messages[0]?.done, false);
      assert.notEqual(messages[0]?.name, '');
    },
  ),
  executionCase(
    ['execution.stream.done', 'MUST', 'R-EX-02 R-EX-03', 'Done and stage COMPLETED come together, once, at the end.'],
    async (context) => {
      const prepared = prepareAction(context, 'true');
      await storeBlobs(context, prepared.blobs);
      const { messages } = await execute(context, prepared.digest);
      for (const [index, operation] of messages.entries()) {
        assert.equal(operation.done, index === messages.length - 1, 'done is not the last message');
        assert.equal(metadataOf(operation).stage === ExecutionStage_Value.COMPLETED, operation.done);
      }
    },
  ),
  executionCase(
    ['execution.stream.action-digest', 'SHOULD', 'R-EX-27', 'Every message carries the digest of the action.'],
    async (context) => {
      const prepared = prepareAction(context, 'true');
      await storeBlobs(context, prepared.blobs);
      const { messages } = await execute(context, prepared.digest);
      for (const operation of messages) assert.deepEqual(metadataOf(operation).actionDigest, prepared.digest);
    },
  ),
  executionCase(
    ['execution.wait.finished', 'SHOULD', 'R-EX-09', 'A client that comes back late still gets the result.'],
    async (context) => {
      const prepared = prepareAction(context, 'true');
      await storeBlobs(context, prepared.blobs);
      const name = present((await execute(context, prepared.digest)).messages.at(-1), 'an operation').name;
      const { waitExecution } = ExecutionDefinition.methods;
      const response = responseOf(await context.endpoint.stream(ExecutionDefinition, waitExecution, { name }));
      assert.equal(response.result?.exitCode, 0);
    },
  ),
  executionCase(
    [
      'execution.wait.reattach',
      'SHOULD',
      'R-EX-08 R-EX-12',
      'A client that loses its stream takes the same run up again.',
    ],
    async (context) => {
      const prepared = prepareAction(context, 'sleep 1; echo kept on');
      await storeBlobs(context, prepared.blobs);
      const { execute: method, waitExecution } = ExecutionDefinition.methods;
      const request = ExecuteRequest.fromPartial({
        instanceName: context.profile.instance,
        actionDigest: prepared.digest,
      });
      const cut = await context.endpoint.stream(ExecutionDefinition, method, request, { takeMessages: 1 });
      const name = present(cut.messages[0], 'the first message').name;
      const response = responseOf(await context.endpoint.stream(ExecutionDefinition, waitExecution, { name }));
      assert.equal(response.result?.exitCode, 0);
    },
  ),
  executionCase(
    ['execution.wait.unknown', 'MUST', 'R-EX-08', 'Waiting for an operation that does not exist is NOT_FOUND.'],
    async (context) => {
      const { waitExecution } = ExecutionDefinition.methods;
      expectEnd(await context.endpoint.stream(ExecutionDefinition, waitExecution, { name: freshName() }), NOT_FOUND);
    },
  ),
];

/** Refusals of Execute, and the form of its stream. */
export const executionErrorCases = [...missingCases, ...commandCases, ...rootCases, ...requestCases, ...streamCases];
