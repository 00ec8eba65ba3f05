import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type ActionParts, ActionWorld } from '../../../test/support/action-world.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { type Digest, digestPath, digestToWire } from '../../digest/digest.ts';
import { digestOf } from '../../digest/hasher.ts';
import { ReapiError } from '../../errors.ts';
import { Action, Directory } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { differenceOf } from './action-difference.ts';
import type { ActionDifference, Difference } from './miss-report.ts';

const LIMITS = { maxPerPart: 5, maxTextLength: 100, maxDirectories: 50, maxMessageBytes: 10_000 };
const NOTHING: ActionDifference = { differences: [], more: [], unavailable: [] };

const text = fc.string({ minLength: 1, maxLength: 8 });
const name = fc.stringMatching(/^[a-z]{1,6}$/);
const pairs = fc
  .uniqueArray(fc.record({ name, value: text }), { selector: (each) => each.name, minLength: 1, maxLength: 4 })
  .map((list) => list.sort((a, b) => (a.name < b.name ? -1 : 1)));
/** Files have a dot in their name and directories none, so that no path is both. */
const path = fc
  .tuple(fc.array(name, { maxLength: 3 }), name)
  .map(([folders, file]) => [...folders, `${file}.c`].join('/'));

interface Model {
  readonly arguments: readonly string[];
  readonly environment: readonly { name: string; value: string }[];
  readonly properties: readonly { name: string; value: string }[];
  readonly outputPaths: readonly string[];
  readonly workingDirectory: string;
  readonly seconds: number;
  readonly salt: string;
  readonly doNotCache: boolean;
  readonly files: Readonly<Record<string, string>>;
}

const model: fc.Arbitrary<Model> = fc.record({
  arguments: fc.array(text, { minLength: 1, maxLength: 5 }),
  environment: pairs,
  properties: pairs,
  outputPaths: fc.uniqueArray(path, { minLength: 1, maxLength: 3 }),
  workingDirectory: fc.constantFrom('', 'a', 'a/b'),
  seconds: fc.nat({ max: 1000 }),
  salt: fc.constantFrom('', 'salt'),
  doNotCache: fc.boolean(),
  files: fc.dictionary(path, text, { minKeys: 1, maxKeys: 8, noNullPrototype: true }),
});

function partsOf(given: Model): ActionParts {
  return {
    command: {
      arguments: [...given.arguments],
      environmentVariables: [...given.environment],
      outputPaths: [...given.outputPaths],
      workingDirectory: given.workingDirectory,
    },
    action: {
      platform: { properties: [...given.properties] },
      timeout: { seconds: BigInt(given.seconds), nanos: 0 },
      salt: Buffer.from(given.salt),
      doNotCache: given.doNotCache,
    },
    files: given.files,
  };
}

/** One change to a model, and the part and name under which it has to be found. */
interface Mutation {
  readonly change: (given: Model) => Model;
  readonly found: (given: Model) => Pick<Difference, 'part' | 'name'>;
}

const first = <T>(list: readonly T[]): T => {
  const [item] = list;
  assert.ok(item !== undefined);
  return item;
};
const firstFile = ({ files }: Model): string => first(Object.keys(files));

const MUTATIONS: Readonly<Record<string, Mutation>> = {
  'a changed argument': {
    change: (given) => ({ ...given, arguments: [...given.arguments.slice(0, -1), 'changed argument'] }),
    found: (given) => ({ part: 'arguments', name: String(given.arguments.length - 1) }),
  },
  'one more argument': {
    change: (given) => ({ ...given, arguments: [...given.arguments, 'x'] }),
    found: (given) => ({ part: 'arguments', name: String(given.arguments.length) }),
  },
  'a changed environment variable': {
    change: ({ environment: [old, ...rest], ...given }) => ({
      ...given,
      environment: [{ name: old?.name ?? '', value: 'another value' }, ...rest],
    }),
    found: (given) => ({ part: 'environment', name: first(given.environment).name }),
  },
  'one environment variable less': {
    change: (given) => ({ ...given, environment: given.environment.slice(1) }),
    found: (given) => ({ part: 'environment', name: first(given.environment).name }),
  },
  'one more environment variable': {
    change: (given) => ({ ...given, environment: [...given.environment, { name: 'ADDED', value: '' }] }),
    found: () => ({ part: 'environment', name: 'ADDED' }),
  },
  'one more platform property': {
    change: (given) => ({ ...given, properties: [...given.properties, { name: 'OSFamily', value: 'linux' }] }),
    found: () => ({ part: 'platform', name: 'OSFamily' }),
  },
  'one more value of a platform property': {
    change: (given) => ({ ...given, properties: [...given.properties, { ...first(given.properties), value: 'more' }] }),
    found: (given) => ({ part: 'platform', name: first(given.properties).name }),
  },
  'another output': {
    change: (given) => ({ ...given, outputPaths: [...given.outputPaths, 'added'] }),
    found: () => ({ part: 'output-paths', name: 'added' }),
  },
  'another working directory': {
    change: (given) => ({ ...given, workingDirectory: 'elsewhere' }),
    found: () => ({ part: 'working-directory', name: '' }),
  },
  'another timeout': {
    change: (given) => ({ ...given, seconds: given.seconds + 1 }),
    found: () => ({ part: 'timeout', name: '' }),
  },
  'another salt': {
    change: (given) => ({ ...given, salt: 'pepper' }),
    found: () => ({ part: 'salt', name: '' }),
  },
  do_not_cache: {
    change: (given) => ({ ...given, doNotCache: !given.doNotCache }),
    found: () => ({ part: 'do-not-cache', name: '' }),
  },
  'a changed input': {
    change: (given) => ({ ...given, files: { ...given.files, [firstFile(given)]: 'another content' } }),
    found: (given) => ({ part: 'inputs', name: firstFile(given) }),
  },
  'one input more': {
    change: (given) => ({ ...given, files: { ...given.files, 'added.c': '' } }),
    found: () => ({ part: 'inputs', name: 'added.c' }),
  },
};

describe('differenceOf', () => {
  const world = new ActionWorld();
  const compare = (before: Digest, after: Digest, limits = LIMITS): Promise<ActionDifference> =>
    differenceOf(world.blobs, { before, after }, limits, noAbort());
  const between = async (before: ActionParts, after: ActionParts, limits = LIMITS): Promise<ActionDifference> =>
    compare(await world.action(before), await world.action(after), limits);

  it('law: equal actions differ in nothing, in whatever order their properties are', async () => {
    const law = fc.asyncProperty(model, async (given) => {
      assert.deepEqual(await between(partsOf(given), partsOf(given)), NOTHING);
      const shuffled = {
        ...given,
        properties: [...given.properties].reverse(),
        outputPaths: [...given.outputPaths].reverse(),
      };
      assert.deepEqual(await between(partsOf(given), partsOf(shuffled)), NOTHING);
    });
    await fc.assert(law, { numRuns: 50 });
  });

  for (const [title, { change, found }] of Object.entries(MUTATIONS)) {
    it(`law: ${title} is the one difference that is found`, async () => {
      const law = fc.asyncProperty(model, async (given) => {
        const { differences, more, unavailable } = await between(partsOf(given), partsOf(change(given)));
        assert.deepEqual(
          differences.map(({ part, name: found }) => ({ part, name: found })),
          [found(given)],
        );
        assert.deepEqual([more, unavailable], [[], []]);
        const [{ before, after } = {}] = differences;
        assert.notEqual(before, after);
      });
      await fc.assert(law, { numRuns: 25 });
    });
  }

  it('law: swapping the two actions swaps before and after', async () => {
    const law = fc.asyncProperty(model, model, async (one, two) => {
      const there = await between(partsOf(one), partsOf(two));
      const back = await between(partsOf(two), partsOf(one));
      const swapped = back.differences.map(({ before, after, part, name: found }) => ({
        part,
        name: found,
        ...(after !== undefined && { before: after }),
        ...(before !== undefined && { after: before }),
      }));
      assert.deepEqual(there.differences, swapped);
    });
    await fc.assert(law, { numRuns: 50 });
  });

  it('gives both values', async () => {
    const before = { command: { arguments: ['cc', '-O0'], environmentVariables: [{ name: 'A', value: '1' }] } };
    const after = { command: { arguments: ['cc', '-O2', 'x'], environmentVariables: [{ name: 'B', value: '2' }] } };
    assert.deepEqual((await between(before, after)).differences, [
      { part: 'arguments', name: '1', before: '-O0', after: '-O2' },
      { part: 'environment', name: 'A', before: '1' },
      { part: 'environment', name: 'B', after: '2' },
    ]);
  });

  it('names a whole directory that came or went, and what changed its kind', async () => {
    const before = { files: { 'old/a': '1', 'both/a': '1', thing: '1' } };
    const after = { files: { 'new/a': '1', 'both/a': '1', 'thing/a': '1' } };
    const { differences } = await between(before, after);
    assert.deepEqual(
      differences.map(({ name: found, before: was, after: is }) => [found, was !== undefined, is !== undefined]),
      [
        ['new/', false, true],
        ['old/', true, false],
        ['thing', true, true],
      ],
    );
  });

  it('sees modes, times, links and properties of nodes', async () => {
    const digest = digestToWire(await world.put('content'));
    const root = async (directory: Parameters<typeof Directory.fromPartial>[0]): Promise<ActionParts> => ({
      action: {
        inputRootDigest: digestToWire(await world.put(Directory.encode(Directory.fromPartial(directory)).finish())),
      },
    });
    const mtime = { seconds: 7n, nanos: 5 };
    const before = await root({ files: [{ name: 'f', digest }], symlinks: [{ name: 'l', target: 'a' }] });
    const after = await root({
      files: [{ name: 'f', digest, isExecutable: true, nodeProperties: { unixMode: 0o755, mtime } }],
      symlinks: [{ name: 'l', target: 'b', nodeProperties: { properties: [{ name: 'p', value: 'v' }] } }],
      nodeProperties: { properties: [{ name: 'q', value: 'w' }] },
    });
    const content = digestPath(digestOf('sha256', Buffer.from('content')));
    const mode = 'executable, modified 7.000000005, mode 755';
    assert.deepEqual((await between(before, after, { ...LIMITS, maxTextLength: 200 })).differences, [
      { part: 'inputs', name: 'f', before: content, after: `${content}, ${mode}` },
      { part: 'inputs', name: 'l', before: 'symbolic link to a', after: 'symbolic link to b, p=v' },
      { part: 'inputs', name: '/', after: 'q=w' },
    ]);
  });

  it('reads only directories that differ', async () => {
    const before = await world.action({ files: { 'same/a': '1', 'other/b': '1' } });
    const after = await world.action({ files: { 'same/a': '1', 'other/b': '2' } });
    world.blobs.read.length = 0;
    await compare(before, after);
    // Two Actions, the one Command they share twice, two roots, two times `other`.
    assert.equal(world.blobs.read.length, 8);
  });

  it('lists so many differences of a part, and counts the others', async () => {
    const files = (content: string): Record<string, string> =>
      Object.fromEntries(Array.from({ length: 8 }, (_, index) => [`f${index}`, content]));
    const { differences, more } = await between({ files: files('1') }, { files: files('2') });
    assert.equal(differences.length, LIMITS.maxPerPart);
    assert.deepEqual(more, [{ part: 'inputs', count: 3 }]);
  });

  it('reads so many directories, and names those that it did not go into', async () => {
    const deep = (content: string): ActionParts => ({ files: { 'a/b/c/d': content } });
    const { differences } = await between(deep('1'), deep('2'), { ...LIMITS, maxDirectories: 2 });
    assert.deepEqual(
      differences.map(({ name: found }) => found),
      ['a/b/'],
    );
  });

  it('cuts long names and values', async () => {
    const { differences } = await between({}, { command: { arguments: ['x'.repeat(5000)] } });
    assert.equal(differences[0]?.after, `${'x'.repeat(LIMITS.maxTextLength)}…`);
  });

  describe('says what it cannot read:', () => {
    const unavailable = async (before: Digest, after: Digest): Promise<readonly (readonly string[])[]> =>
      (await compare(before, after)).unavailable.map(({ side, what, blob }) => [side, what, blob.hash]);

    it('an Action that is gone', async () => {
      const gone = digestOf('sha256', Buffer.from('gone'));
      assert.deepEqual(await unavailable(gone, await world.action()), [['before', 'Action', gone.hash]]);
    });

    it('a Command that is gone: inputs are compared all the same', async () => {
      const commandDigest = digestOf('sha256', Buffer.from('no such command'));
      const after = await world.action({ files: { a: '2' }, action: { commandDigest: digestToWire(commandDigest) } });
      const before = await world.action({ files: { a: '1' } });
      assert.deepEqual(await unavailable(before, after), [['after', 'Command', commandDigest.hash]]);
      assert.deepEqual(
        (await compare(before, after)).differences.map(({ part }) => part),
        ['inputs'],
      );
    });

    it('a directory that is gone, or no Directory', async () => {
      const lost = await world.inputs({ only: 'in the lost one' });
      world.blobs.forgotten.add(lost.hash);
      const before = await world.action({ files: { 'd/only': 'in the lost one', x: '1' } });
      const after = await world.action({ files: { 'd/only': 'other', x: '2' } });
      assert.deepEqual(await unavailable(before, after), [['before', 'Directory d/', lost.hash]]);
      assert.deepEqual(
        (await compare(before, after)).differences.map(({ name: found }) => found),
        ['x'],
      );
      const garbage = await world.put('\xff');
      const odd = await world.action({ action: { inputRootDigest: digestToWire(garbage) } });
      assert.deepEqual(await unavailable(odd, after), [['before', 'Directory /', garbage.hash]]);
    });

    it('a message that is too large, and one with a malformed digest', async () => {
      const large = await world.action({ action: { salt: Buffer.alloc(LIMITS.maxMessageBytes) } });
      const wrong = await world.put(Action.encode(Action.fromPartial({ commandDigest: { hash: 'x' } })).finish());
      assert.deepEqual(await unavailable(large, wrong), [
        ['before', 'Action', large.hash],
        ['after', 'Action', wrong.hash],
      ]);
    });
  });

  it('fails if the store cannot be asked, and when its caller leaves', async () => {
    const [before, after] = [await world.action({ files: { a: '1' } }), await world.action({ files: { a: '2' } })];
    const broken = Object.assign(new ActionWorld().blobs, {
      getBytes: () => Promise.reject(new ReapiError('unavailable', 'no answer')),
    });
    await assert.rejects(differenceOf(broken, { before, after }, LIMITS, noAbort()), ofKind('unavailable'));
    const aborted = differenceOf(world.blobs, { before, after }, LIMITS, AbortSignal.abort());
    await assert.rejects(aborted, ofKind('cancelled'));
  });
});
