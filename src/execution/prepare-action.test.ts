import assert from 'node:assert/strict';
import { MemoryBlobStore } from '../cas/memory-blob-store.ts';
import { type Digest, digestToWire } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { type ErrorKind, isKind, type ReapiError } from '../errors.ts';
import { Action, Command } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { DEFAULT_RULES } from '../platform/lexicon.ts';
import { type InputSketch, MIN_SKETCHED_BYTES } from '../platform/locality.ts';
import { RuleMatcher } from '../platform/matcher.ts';
import { ActionPreparer, type MissingInputs } from './prepare-action.ts';

const never = new AbortController().signal;
const instance = parseInstanceName('main');
const LINUX = { properties: [{ name: 'OSFamily', value: 'linux' }] };
const ARM = { properties: [{ name: 'ISA', value: 'arm-a64' }] };

type ActionFields = Parameters<typeof Action.fromPartial>[0];
type CommandFields = Parameters<typeof Command.fromPartial>[0];

interface Fields {
  readonly action?: ActionFields;
  readonly command?: CommandFields;
  readonly missing?: readonly Digest[];
  /** What the walk of the input root comes across. */
  readonly files?: InputSketch;
}

async function setUp(fields: Fields = {}) {
  const store = new MemoryBlobStore({ maxBytes: 1_000_000 });
  const put = async (bytes: Uint8Array): Promise<Digest> => {
    const digest = digestOf('sha256', bytes);
    await store.putBytes(digest, bytes, never);
    return digest;
  };
  const command = Command.fromPartial({ arguments: ['/bin/true'], ...fields.command });
  const commandDigest = digestToWire(await put(Command.encode(command).finish()));
  const inputRootDigest = digestToWire(digestOf('sha256', new Uint8Array()));
  const action = Action.fromPartial({ commandDigest, inputRootDigest, ...fields.action });
  const key = { instance, action: await put(Action.encode(action).finish()) };
  const matcher = new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'exact' });
  const options = {
    defaultTimeoutMs: 3_600_000,
    maxTimeoutMs: 86_400_000,
    maxMessageBytes: 10_000,
    nodeProperties: ['mtime', 'unix_mode'],
  };
  const missingInputs: MissingInputs = async (_root, _signal, largest) => {
    for (const file of fields.files ?? []) largest?.add(file);
    return fields.missing ?? [];
  };
  const preparer = new ActionPreparer(store, matcher, missingInputs, options);
  return { store, key, preparer, prepare: async () => preparer.prepare(key, await preparer.load(key, never), never) };
}

async function refusal(fields: Fields, kind: ErrorKind): Promise<ReapiError> {
  const { prepare } = await setUp(fields);
  const error = await prepare().then(
    () => undefined,
    (caught: unknown) => caught,
  );
  assert.ok(isKind(error, kind), `expected ${kind}, got ${String(error)}`);
  return error;
}

const seconds = (value: number) => ({ timeout: { seconds: BigInt(value), nanos: 0 } });

describe('ActionPreparer', () => {
  it('reports a missing Action as a missing input, which clients mend by uploading (R-EX-46)', async () => {
    const { preparer } = await setUp();
    const action = digestOf('sha256', Buffer.from('nowhere'));
    await assert.rejects(preparer.load({ instance, action }, never), (error) => {
      assert.ok(isKind(error, 'missing-inputs'));
      assert.deepEqual(error.facts.missing, [action]);
      return true;
    });
  });

  it('refuses a blob that is no Action, and one that is too large to be one', async () => {
    const { preparer, store } = await setUp();
    const garbage = Buffer.from('\x0a\xff\xff');
    const huge = Buffer.alloc(10_001);
    for (const [bytes, kind] of [
      [garbage, 'invalid-argument'],
      [huge, 'too-large'],
    ] as const) {
      const action = digestOf('sha256', bytes);
      await store.putBytes(action, bytes, never);
      await assert.rejects(preparer.load({ instance, action }, never), (error) => isKind(error, kind));
    }
  });

  it('reports a missing Command', async () => {
    const lost = digestOf('sha256', Buffer.from('lost'));
    const error = await refusal({ action: { commandDigest: digestToWire(lost) } }, 'missing-inputs');
    assert.deepEqual(error.facts.missing, [lost]);
  });

  it('reports every missing input together (R-EX-43)', async () => {
    const missing = ['a', 'b', 'c', 'd'].map((text) => digestOf('sha256', Buffer.from(text)));
    const error = await refusal({ missing }, 'missing-inputs');
    assert.deepEqual(error.facts.missing, missing);
    assert.match(error.message, /^4 input blobs are missing/);
  });

  it('hands on the largest inputs, and nothing if all are small', async () => {
    const large = { hash: 'a'.repeat(64), sizeBytes: 5 * MIN_SKETCHED_BYTES };
    const small = { hash: 'b'.repeat(64), sizeBytes: 1 };
    assert.deepEqual((await (await setUp({ files: [small, large] })).prepare()).inputs, [large]);
    assert.equal('inputs' in (await (await setUp({ files: [small] })).prepare()), false);
  });

  it('gives an action without a timeout the default, since the worker needs one (R-EX-19, R-BB-12)', async () => {
    for (const action of [{}, seconds(0)]) {
      const { prepare } = await setUp({ action });
      const { work } = await prepare();
      assert.equal(work.timeoutMs, 3_600_000);
      assert.deepEqual(work.action.timeout, { seconds: 3_600n, nanos: 0 });
    }
  });

  it('keeps a timeout within the maximum, to the nanosecond', async () => {
    const { prepare } = await setUp({ action: { timeout: { seconds: 1n, nanos: 500_000_000 } } });
    const { work } = await prepare();
    assert.equal(work.timeoutMs, 1_500);
    assert.deepEqual(work.action.timeout, { seconds: 1n, nanos: 500_000_000 });
  });

  it('refuses a timeout above the maximum and a negative one (R-EX-19)', async () => {
    await refusal({ action: seconds(86_401) }, 'invalid-argument');
    await refusal({ action: seconds(-1) }, 'invalid-argument');
  });

  it('takes the platform of the Action, and that of the Command only if the Action has none (R-PL-01, R-PL-02)', async () => {
    const both = await setUp({ action: { platform: LINUX }, command: { platform: ARM } });
    assert.deepEqual(
      (await both.prepare()).needs.properties.map(({ name }) => name),
      ['OSFamily'],
    );
    const commandOnly = await setUp({ command: { platform: ARM } });
    assert.deepEqual(
      (await commandOnly.prepare()).needs.properties.map(({ name }) => name),
      ['ISA'],
    );
    const empty = await setUp({ action: { platform: { properties: [] } }, command: { platform: ARM } });
    assert.deepEqual((await empty.prepare()).needs.properties, []);
  });

  it('demands a worker that knows the old output lists only where they count (R-CM-05)', async () => {
    const legacy = async (command: CommandFields) => (await (await setUp({ command })).prepare()).needs.legacyOutputs;
    assert.equal(await legacy({ outputFiles: ['a'] }), true);
    assert.equal(await legacy({ outputDirectories: ['a'] }), true);
    assert.equal(await legacy({ outputFiles: ['a'], outputPaths: ['a'] }), false);
    assert.equal(await legacy({}), false);
  });

  it('refuses a Command without arguments (R-CM-13)', async () => {
    await refusal({ command: { arguments: [] } }, 'invalid-argument');
    await refusal({ command: { arguments: [''] } }, 'invalid-argument');
  });

  it('refuses node properties it does not know, naming those it does (R-CM-06)', async () => {
    const error = await refusal({ command: { outputNodeProperties: ['mtime', 'colour'] } }, 'invalid-argument');
    assert.match(error.message, /"colour".*mtime, unix_mode/);
  });

  for (const path of ['/etc/passwd', '../../outside', 'a/../../../b', 'nul\0byte']) {
    it(`refuses the output path ${JSON.stringify(path)} (R-CM-03)`, async () => {
      await refusal({ command: { outputPaths: [path], workingDirectory: 'sub' } }, 'invalid-argument');
      await refusal({ command: { outputFiles: [path], workingDirectory: 'sub' } }, 'invalid-argument');
    });
  }

  it('accepts `..` in an output path that stays in the input root, as BuildStream sends (R-CM-03)', async () => {
    const { prepare } = await setUp({ command: { outputPaths: ['../../x', 'b', 'a'], workingDirectory: 'one/two' } });
    await prepare();
  });

  it('counts how deep a working directory is once, for all outputs', async () => {
    const depth = 800;
    const up = (levels: number): string => `${'../'.repeat(levels)}x`;
    const command = { workingDirectory: 'a/./'.repeat(depth), outputPaths: [...Array(500).fill('b'), up(depth)] };
    await (await setUp({ command })).prepare();
    await refusal({ command: { ...command, outputPaths: ['b', up(depth + 1)] } }, 'invalid-argument');
  });

  it('refuses a working directory outside the input root (R-CM-07)', async () => {
    await refusal({ command: { workingDirectory: '../x' } }, 'invalid-argument');
    await refusal({ command: { workingDirectory: '/tmp' } }, 'invalid-argument');
  });
});
