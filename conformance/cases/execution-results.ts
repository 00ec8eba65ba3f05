import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import { Directory, Tree } from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  type ActionParts,
  blobText,
  execute,
  outputText,
  prepareAction,
  responseOf,
  run,
  stdoutText,
} from '../actions.ts';
import { blobOf, bytesOf, readAll, readName, storeBlobs } from '../blobs.ts';
import { type CaseContext, type ConformanceCase, conformanceCase, type Level } from '../case.ts';
import { expectFailure, present } from '../expect.ts';
import { getResult } from './action-cache.ts';

/** A case of a server with a worker. */
function executionCase(
  head: readonly [id: string, level: Level, requirements: string, rule: string],
  test: (context: CaseContext) => Promise<void>,
): ConformanceCase {
  const [id, level, requirements, rule] = head;
  return conformanceCase({ id, level, requirements, rule, needs: ['execution'] }, test);
}

const outcomeCases = [
  executionCase(
    [
      'execution.run.output',
      'MUST',
      'R-CM-23 R-CM-27',
      'A file that the command made is returned under the path asked.',
    ],
    async (context) => {
      const prepared = prepareAction(context, 'echo made > out.txt', { command: { outputPaths: ['out.txt'] } });
      assert.equal(await outputText(context, await run(context, prepared), 'out.txt'), 'made\n');
    },
  ),
  executionCase(
    ['execution.run.stdout', 'MUST', 'R-CM-32', 'Standard output and standard error are kept apart and returned.'],
    async (context) => {
      const result = await run(context, prepareAction(context, 'echo to-out; echo to-err >&2'));
      assert.equal(await stdoutText(context, result), 'to-out\n');
      const stderr = result.stderrRaw.length > 0 ? Buffer.from(result.stderrRaw).toString('utf8') : undefined;
      assert.equal(stderr ?? (await blobText(context, present(result.stderrDigest, 'stderr'))), 'to-err\n');
    },
  ),
  executionCase(
    [
      'execution.run.exit-code',
      'MUST',
      'R-EX-22',
      'A failing command is a result with its exit code and outputs, not an error.',
    ],
    async (context) => {
      const command = { outputPaths: ['out.txt'] };
      const result = await run(context, prepareAction(context, 'echo partial > out.txt; exit 7', { command }));
      assert.equal(result.exitCode, 7);
      assert.equal(await outputText(context, result, 'out.txt'), 'partial\n');
    },
  ),
  executionCase(
    ['execution.run.failure-not-cached', 'SHOULD', 'R-AC-12 R-AC-13', 'The result of a failing command is not kept.'],
    async (context) => {
      const prepared = prepareAction(context, 'exit 3');
      await run(context, prepared);
      await expectFailure(getResult(context, prepared.digest), status.NOT_FOUND);
    },
  ),
  executionCase(
    ['execution.run.output-missing', 'MUST', 'R-CM-23', 'An output that the command did not make is left out.'],
    async (context) => {
      const result = await run(context, prepareAction(context, 'true', { command: { outputPaths: ['none'] } }));
      assert.equal(result.exitCode, 0);
      assert.deepEqual(result.outputFiles, []);
    },
  ),
  executionCase(
    [
      'execution.run.output-parents',
      'MUST',
      'R-CM-20',
      'The folder in which an output will be is there before the run.',
    ],
    async (context) => {
      const command = { outputPaths: ['deep/er/out.txt'] };
      const result = await run(context, prepareAction(context, 'echo made > deep/er/out.txt', { command }));
      assert.equal(await outputText(context, result, 'deep/er/out.txt'), 'made\n');
    },
  ),
  executionCase(
    ['execution.run.output-executable', 'MUST', 'R-CM-22', 'Whether an output is executable is told.'],
    async (context) => {
      const command = { outputPaths: ['plain', 'tool'] };
      const result = await run(context, prepareAction(context, ': > plain; : > tool; chmod +x tool', { command }));
      const executable = new Map(result.outputFiles.map((file) => [file.path, file.isExecutable]));
      assert.deepEqual([executable.get('plain'), executable.get('tool')], [false, true]);
    },
  ),
  executionCase(
    [
      'execution.run.output-tree',
      'MUST',
      'R-CM-28',
      'An output directory is a Tree of root and descendants, empty ones included.',
    ],
    async (context) => {
      const script = 'mkdir -p d/sub d/empty; echo one > d/a; echo two > d/sub/b';
      const result = await run(context, prepareAction(context, script, { command: { outputPaths: ['d'] } }));
      const [directory] = result.outputDirectories;
      assert.equal(directory?.path, 'd');
      const treeDigest = present(directory.treeDigest, 'tree_digest');
      const tree = Tree.decode(bytesOf(await readAll(context, readName(context, treeDigest))));
      const root = present(tree.root, 'root');
      assert.deepEqual(
        root.files.map(({ name }) => name),
        ['a'],
      );
      assert.deepEqual(
        root.directories.map(({ name }) => name),
        ['empty', 'sub'],
      );
      const file = tree.children.flatMap(({ files }) => files).find(({ name }) => name === 'b');
      assert.equal(await blobText(context, present(file?.digest, 'digest of b')), 'two\n');
    },
  ),
  executionCase(
    [
      'execution.run.output-symlink',
      'MUST',
      'R-CM-23 R-CM-11',
      'An output that is a symlink is returned as one, its target untouched.',
    ],
    async (context) => {
      const command = { outputPaths: ['link', 'dangling'] };
      const script = 'echo x > real; ln -s real link; ln -s ../no/where dangling';
      const result = await run(context, prepareAction(context, script, { command }));
      const targets = new Map(result.outputSymlinks.map(({ path, target }) => [path, target]));
      assert.deepEqual([targets.get('link'), targets.get('dangling')], ['real', '../no/where']);
    },
  ),
  executionCase(
    [
      'execution.run.legacy-outputs',
      'SHOULD',
      'R-CM-05 R-CM-20',
      'A client of API 2.0 names its outputs in the two old lists.',
    ],
    async (context) => {
      const command = { outputFiles: ['f/out.txt'], outputDirectories: ['d'] };
      const script = 'echo file > f/out.txt; mkdir -p d; echo inside > d/x';
      const result = await run(context, prepareAction(context, script, { command }));
      assert.equal(await outputText(context, result, 'f/out.txt'), 'file\n');
      assert.deepEqual(
        result.outputDirectories.map(({ path }) => path),
        ['d'],
      );
    },
  ),
];

function inputParts(): ActionParts {
  const tool = blobOf('#!/bin/sh\ncat data/plain.txt\n');
  const plain = blobOf('content\n');
  const data = blobOf(
    Directory.encode(
      Directory.fromPartial({
        files: [{ name: 'plain.txt', digest: plain.digest }],
        symlinks: [{ name: 'to-plain', target: 'plain.txt' }],
      }),
    ).finish(),
  );
  return {
    root: {
      files: [{ name: 'tool.sh', digest: tool.digest, isExecutable: true }],
      directories: [{ name: 'data', digest: data.digest }],
    },
    inputs: [tool, plain, data],
  };
}

const inputCases = [
  executionCase(
    [
      'execution.inputs.files',
      'MUST',
      'R-CM-13 R-CM-22',
      'Inputs are where the tree says, and executable where it says so.',
    ],
    async (context) => {
      const result = await run(context, prepareAction(context, './tool.sh', inputParts()));
      assert.equal(await stdoutText(context, result), 'content\n');
    },
  ),
  executionCase(
    ['execution.inputs.symlinks', 'MUST', 'R-CM-11', 'A symlink in the input tree is a symlink to the command.'],
    async (context) => {
      const result = await run(context, prepareAction(context, 'readlink data/to-plain', inputParts()));
      assert.equal(await stdoutText(context, result), 'plain.txt\n');
    },
  ),
  executionCase(
    [
      'execution.inputs.empty-directory',
      'MUST',
      'R-CM-21 R-CAS-01',
      'An empty directory of the tree is there, though nobody uploaded it.',
    ],
    async (context) => {
      const root = { directories: [{ name: 'hollow', digest: blobOf('').digest }] };
      const result = await run(context, prepareAction(context, 'test -d hollow && echo there', { root }));
      assert.equal(await stdoutText(context, result), 'there\n');
    },
  ),
  executionCase(
    [
      'execution.inputs.isolated',
      'SHOULD',
      'R-CM-12',
      'A command that tries to change an input does not change it for the next one.',
    ],
    async (context) => {
      const spoil = 'chmod u+w data/plain.txt 2>/dev/null; echo spoilt > data/plain.txt 2>/dev/null; true';
      await run(context, prepareAction(context, spoil, inputParts()));
      const result = await run(context, prepareAction(context, 'cat data/plain.txt', inputParts()));
      assert.equal(await stdoutText(context, result), 'content\n');
    },
  ),
  executionCase(
    [
      'execution.inputs.working-directory',
      'MUST',
      'R-CM-07 R-CM-27',
      'The command starts in its working directory, and output paths count from there.',
    ],
    async (context) => {
      const command = { workingDirectory: 'data', outputPaths: ['copy.txt'] };
      const prepared = prepareAction(context, 'cat plain.txt > copy.txt', { ...inputParts(), command });
      assert.equal(await outputText(context, await run(context, prepared), 'copy.txt'), 'content\n');
    },
  ),
  executionCase(
    [
      'execution.environment',
      'MUST',
      'R-CM-14 R-CM-02',
      'The variables of the Command are set, in whatever order they came.',
    ],
    async (context) => {
      const environmentVariables = ['ZETA', 'ALPHA', 'PATH'].map((name) => ({
        name,
        value: name === 'PATH' ? '/usr/bin:/bin' : `v${name}`,
      }));
      const prepared = prepareAction(context, 'echo $ALPHA $ZETA', { command: { environmentVariables } });
      assert.equal(await stdoutText(context, await run(context, prepared)), 'vALPHA vZETA\n');
    },
  ),
  executionCase(
    [
      'execution.environment.nothing-else',
      'SHOULD',
      'R-CM-14',
      'The server’s own home and user are not in the command’s environment.',
    ],
    async (context) => {
      const result = await run(context, prepareAction(context, 'echo "$HOME|$USER|$LOGNAME|$XDG_STATE_HOME"'));
      assert.equal(await stdoutText(context, result), '|||\n');
    },
  ),
  executionCase(
    [
      'execution.platform.from-command',
      'SHOULD',
      'R-PL-01',
      'Without a platform in the Action that of the Command counts.',
    ],
    async (context) => {
      const result = await run(context, prepareAction(context, 'echo ran', { action: { platform: undefined } }));
      assert.equal(await stdoutText(context, result), 'ran\n');
    },
  ),
];

const NONCE = 'head -c 16 /dev/urandom | od -An -tx1';

async function nonceOf(context: CaseContext, prepared: ReturnType<typeof prepareAction>, skipCacheLookup = false) {
  const response = responseOf(await execute(context, prepared.digest, { skipCacheLookup }));
  return { cached: response.cachedResult, nonce: await stdoutText(context, present(response.result, 'result')) };
}

const cacheCases = [
  executionCase(
    [
      'execution.cache.hit',
      'SHOULD',
      'R-EX-14 R-CM-34',
      'The second execution of an action is answered from the cache, and says so.',
    ],
    async (context) => {
      const prepared = prepareAction(context, NONCE);
      await storeBlobs(context, prepared.blobs);
      const first = await nonceOf(context, prepared);
      assert.equal(first.cached, false);
      assert.deepEqual(await nonceOf(context, prepared), { cached: true, nonce: first.nonce });
    },
  ),
  executionCase(
    [
      'execution.cache.skip-lookup',
      'MUST',
      'R-EX-15',
      'A client that wants no cached result gets a new run, which takes the old one’s place.',
    ],
    async (context) => {
      const prepared = prepareAction(context, NONCE);
      await storeBlobs(context, prepared.blobs);
      const first = await nonceOf(context, prepared);
      const second = await nonceOf(context, prepared, true);
      assert.equal(second.cached, false);
      assert.notEqual(second.nonce, first.nonce);
      assert.equal((await nonceOf(context, prepared)).nonce, second.nonce);
    },
  ),
  executionCase(
    [
      'execution.cache.do-not-cache',
      'MUST',
      'R-AC-13 R-EX-13',
      'An action that must not be cached runs every time and leaves no result.',
    ],
    async (context) => {
      const prepared = prepareAction(context, NONCE, { action: { doNotCache: true } });
      await storeBlobs(context, prepared.blobs);
      const first = await nonceOf(context, prepared);
      assert.notEqual((await nonceOf(context, prepared)).nonce, first.nonce);
      await expectFailure(getResult(context, prepared.digest), status.NOT_FOUND);
    },
  ),
  executionCase(
    [
      'execution.merge.in-flight',
      'SHOULD',
      'R-EX-16',
      'Clients that ask for one action at the same time share one run.',
    ],
    async (context) => {
      const prepared = prepareAction(context, `sleep 1; ${NONCE}`);
      await storeBlobs(context, prepared.blobs);
      const runs = await Promise.all([1, 2, 3, 4].map(() => nonceOf(context, prepared)));
      assert.equal(new Set(runs.map(({ nonce }) => nonce)).size, 1, 'the action ran more than once');
    },
  ),
];

/** What running an action gives. */
export const executionResultCases = [...outcomeCases, ...inputCases, ...cacheCases];
