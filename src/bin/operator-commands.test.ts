import assert from 'node:assert/strict';
import { OperatorWorld, runProgram } from '../../test/support/operator-world.ts';
import { type Digest, digestPath, digestToWire } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import {
  Action,
  ActionResult,
  Command,
  Directory,
  Tree,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';

const SCRIPT = Buffer.from('#!/bin/sh\necho hello\n');
const TEXT = Buffer.from('some text\n');

/** Field 999, a varint of 7: of a schema that we do not know yet. */
const UNKNOWN_FIELD = Buffer.from([0xb8, 0x3e, 7]);

function bytesOf<T>(
  codec: { encode(message: T): { finish(): Uint8Array }; fromPartial(partial: object): T },
  partial: object,
) {
  return Buffer.from(codec.encode(codec.fromPartial(partial)).finish());
}

describe('operator commands', () => {
  let world: OperatorWorld;

  beforeEach(async () => {
    world = new OperatorWorld();
    await world.start();
  });

  afterEach(() => world.stop());

  /** `src/` with a text and a directory below, beside a script and a symlink. */
  async function putDirectories(): Promise<{ root: Digest; src: Digest; tree: Digest; isBelow: Buffer }> {
    const text = { name: 'text', digest: digestToWire(await world.put(TEXT)) };
    const deep = bytesOf(Directory, { files: [text] });
    const src = bytesOf(Directory, {
      files: [text],
      directories: [{ name: 'deep', digest: digestToWire(await world.put(deep)) }],
    });
    const root = bytesOf(Directory, {
      files: [{ name: 'run.sh', digest: digestToWire(await world.put(SCRIPT)), isExecutable: true }],
      directories: [{ name: 'src', digest: digestToWire(await world.put(src)) }],
      symlinks: [{ name: 'link', target: 'src/\x1btext' }],
    });
    const tree = bytesOf(Tree, {
      root: Directory.decode(root),
      children: [Directory.decode(src), Directory.decode(deep)],
    });
    return { root: await world.put(root), src: digestOf('sha256', src), tree: await world.put(tree), isBelow: deep };
  }

  describe('gantry cat', () => {
    it('copies bytes of any size as they are', async () => {
      const bytes = Buffer.alloc(5 * 1024 * 1024, '\x00\xff some bytes', 'latin1');
      const digest = await world.put(bytes);
      const { code, out, err } = await world.run('cat', digestPath(digest));
      assert.deepEqual([code, err], [0, '']);
      assert.equal(digestOf('sha256', Buffer.from(out, 'latin1')).hash, digest.hash);
    });

    it('reads the instance name out of a resource name', async () => {
      const digest = await world.put(TEXT);
      assert.equal((await world.run('cat', `bytestream://x/main/blobs/${digestPath(digest)}`)).out, 'some text\n');
      assert.equal((await world.run('cat', `${digest.hash}-${digest.sizeBytes}`)).out, 'some text\n');
    });

    it('stops when nobody reads any more', async () => {
      const digest = await world.put(Buffer.alloc(8 * 1024 * 1024));
      const args = ['cat', digestPath(digest), '--server', world.address];
      const { code, out } = await runProgram(args, { chunksRead: 1 });
      assert.equal(code, 0);
      assert.ok(out.length < digest.sizeBytes);
    });

    it('keeps a terminal from bytes that are no text, unless they are asked for', async () => {
      const binary = digestPath(await world.put(Buffer.from('\x1b[2J')));
      const text = digestPath(await world.put(Buffer.from('naïve\ttext\r\n')));
      const isTerminal = { out: true, err: true };
      const onTerminal = (...args: string[]) => runProgram([...args, '--server', world.address], { isTerminal });
      const refused = await onTerminal('cat', binary);
      assert.deepEqual([refused.code, refused.out], [1, '']);
      assert.match(refused.err, /^gantry: the blob is not text: give --as/);
      assert.equal((await onTerminal('cat', binary, '--as', 'raw')).out, '\x1b[2J');
      assert.equal((await onTerminal('cat', text)).code, 0);
      // U+009B begins commands as ESC [ does, also as one byte in terminals that are not set to UTF-8.
      for (const bytes of [Buffer.from('a\u009b2J'), Buffer.from('a\x9b2J', 'latin1'), Buffer.from('a\u202eb')]) {
        const { code, out } = await onTerminal('cat', digestPath(await world.put(bytes)));
        assert.deepEqual([code, out], [1, '']);
      }
    });

    it('prints an Action', async () => {
      const command = await world.put(bytesOf(Command, { arguments: ['true'] }));
      const root = await world.put(Buffer.alloc(0));
      const action = await world.put(
        bytesOf(Action, {
          commandDigest: digestToWire(command),
          inputRootDigest: digestToWire(root),
          timeout: { seconds: 60n, nanos: 0 },
          doNotCache: true,
        }),
      );
      const { out } = await world.run('cat', digestPath(action), '--as', 'action');
      assert.equal(
        out,
        `\
{
  "command_digest": {
    "hash": "${command.hash}",
    "size_bytes": "6"
  },
  "input_root_digest": {
    "hash": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  },
  "timeout": {
    "seconds": "60"
  },
  "do_not_cache": true
}
`,
      );
    });

    it('prints a Command, a Directory and a Tree', async () => {
      const { src, tree } = await putDirectories();
      const command = await world.put(
        bytesOf(Command, {
          arguments: ['sh', '-c', 'exit 0'],
          environmentVariables: [{ name: 'PATH', value: '/bin' }],
        }),
      );
      const decoded = async (digest: Digest, form: string) =>
        JSON.parse((await world.run('cat', digestPath(digest), '--as', form)).out);
      assert.deepEqual(await decoded(command, 'command'), {
        arguments: ['sh', '-c', 'exit 0'],
        environment_variables: [{ name: 'PATH', value: '/bin' }],
      });
      assert.equal((await decoded(src, 'directory')).directories[0].name, 'deep');
      assert.equal((await decoded(tree, 'tree')).children.length, 2);
    });

    it('prints the result of an action', async () => {
      const action = digestOf('sha256', TEXT);
      world.results.set(`sha256/${digestPath(action)}/main`, bytesOf(ActionResult, { exitCode: 3 }));
      const { out } = await world.run('cat', digestPath(action), '--as', 'action-result', '--instance', 'main');
      assert.deepEqual(JSON.parse(out), { exit_code: 3 });
    });

    it('says that there is no such blob, that it is something else, or too large to be decoded', async () => {
      const absent = digestPath(digestOf('sha256', TEXT));
      const missing = await world.run('cat', absent);
      assert.deepEqual(missing, { code: 1, out: '', err: `gantry: the server has no blob ${absent}\n` });
      const script = await world.run('cat', digestPath(await world.put(SCRIPT)), '--as', 'action');
      assert.equal(script.code, 1);
      assert.match(script.err, /^gantry: the bytes are not a build\.bazel\.remote\.execution\.v2\.Action\n$/);
      const large = await world.run('cat', digestPath(await world.put(Buffer.alloc(5 * 1024 ** 2))), '--as', 'tree');
      assert.equal(large.code, 1);
      assert.match(large.err, /^gantry: the blob has 5\.0 MiB; at most 4\.0 MiB are decoded/);
    });
  });

  describe('gantry ls', () => {
    const TOP = `\
l-                           link -> src/\\x1btext
-x           21 bfdeaeb08cff run.sh
d-          156 d84c2fac0d48 src/
`;
    const ALL = `\
${TOP}d-           78 8e7846f02f00 src/deep/
--           10 a23e5fdcd7b2 src/deep/text
--           10 a23e5fdcd7b2 src/text
`;

    it('lists a Directory', async () => {
      const { root } = await putDirectories();
      assert.deepEqual(await world.run('ls', digestPath(root)), { code: 0, out: TOP, err: '' });
    });

    it('lists what is below, too', async () => {
      const { root } = await putDirectories();
      assert.deepEqual(await world.run('ls', '--recursive', digestPath(root)), { code: 0, out: ALL, err: '' });
    });

    it('lists a Tree, which it notices or is told', async () => {
      const { tree } = await putDirectories();
      assert.equal((await world.run('ls', digestPath(tree))).out, TOP);
      assert.equal((await world.run('ls', '-r', digestPath(tree))).out, ALL);
      assert.equal((await world.run('ls', '-r', '--tree', digestPath(tree))).out, ALL);
    });

    it('fails when a directory below is missing, after listing the others', async () => {
      const { isBelow } = await putDirectories();
      const gone = digestToWire(digestOf('sha256', Buffer.concat([isBelow, UNKNOWN_FIELD])));
      const text = { name: 'text', digest: digestToWire(digestOf('sha256', TEXT)) };
      const root = await world.put(
        bytesOf(Directory, { files: [text], directories: [{ name: 'gone', digest: gone }] }),
      );
      const { code, out } = await world.run('ls', '--recursive', digestPath(root));
      assert.equal(code, 1);
      assert.match(out, /^d- .* gone\/ \(missing\)\n-- .* text\n$/);
      assert.equal((await world.run('ls', digestPath(root))).code, 0);
    });

    it('lists nothing in an empty Directory', async () => {
      const empty = await world.put(Buffer.alloc(0));
      assert.deepEqual(await world.run('ls', digestPath(empty)), { code: 0, out: '', err: '' });
    });

    it('refuses what is neither', async () => {
      const script = digestPath(await world.put(SCRIPT));
      const { code, err } = await world.run('ls', script);
      assert.deepEqual([code, err], [1, 'gantry: the blob is neither a Directory nor a Tree\n']);
      assert.match((await world.run('ls', '--tree', script)).err, /the blob is not a Tree message/);
    });

    it('stops when nobody reads any more', async () => {
      const { root } = await putDirectories();
      const args = ['ls', digestPath(root), '--server', world.address];
      const { code, out } = await runProgram(args, { chunksRead: 1 });
      assert.deepEqual([code, out.split('\n').length], [0, 2]);
    });
  });

  describe('gantry ac', () => {
    const action = digestOf('sha256', Buffer.from('action'));
    const path = digestPath(action);

    beforeEach(() => {
      const result = bytesOf(ActionResult, {
        outputFiles: [{ path: 'out/a', digest: digestToWire(digestOf('sha256', TEXT)), isExecutable: true }],
        exitCode: 0,
        stdoutRaw: Buffer.from('hello\n'),
        executionMetadata: { worker: 'w1' },
      });
      world.results.set(`sha256/${path}/main`, Buffer.concat([result, UNKNOWN_FIELD]));
    });

    it('prints a result, fields of newer schemas included', async () => {
      const { code, out } = await world.run('ac', 'get', path, '--instance', 'main');
      assert.equal(code, 0);
      assert.equal(
        out,
        `\
{
  "output_files": [
    {
      "path": "out/a",
      "digest": {
        "hash": "a23e5fdcd7b276bdd81aa1a0b7b963101863dd3f61ff57935f8c5ba462681ea6",
        "size_bytes": "10"
      },
      "is_executable": true
    }
  ],
  "stdout_raw": "aGVsbG8K",
  "execution_metadata": {
    "worker": "w1"
  },
  "@unknown": [
    {
      "number": 999,
      "wireType": "varint",
      "value": "7"
    }
  ]
}
`,
      );
    });

    it('forgets a result', async () => {
      const removed = await world.run('ac', 'rm', path, '--instance', 'main');
      const said = `removed the result of the action ${path} under the instance name "main"\n`;
      assert.deepEqual(removed, { code: 0, out: said, err: '' });
      assert.equal(world.results.size, 0);
    });

    it('shows an instance name without what a terminal would obey', async () => {
      world.results.set(`sha256/${path}/a\u009b2J`, new Uint8Array());
      const { code, out } = await world.run('ac', 'rm', path, '--instance', 'a\u009b2J');
      const said = `removed the result of the action ${path} under the instance name "a\\x9b2J"\n`;
      assert.deepEqual([code, out], [0, said]);
    });

    it('fails with a clear message if there is none', async () => {
      for (const word of ['get', 'rm']) {
        const { code, out, err } = await world.run('ac', word, path, '--instance', 'other');
        const message = `there is no result of the action ${path} under the instance name "other"`;
        assert.deepEqual([code, out, err], [1, '', `gantry: ${message}\n`]);
        assert.equal((await world.run('ac', word, path)).err, `gantry: there is no result of the action ${path}\n`);
      }
    });
  });

  describe('gantry why-miss', () => {
    const action = digestOf('sha256', Buffer.from('action'));
    const path = digestPath(action);

    it('prints the explanation, without what a terminal would obey', async () => {
      const { code, out } = await world.run('why-miss', '--action', path);
      assert.deepEqual([code, out], [0, 'missed under main:\n  it was \\x1b[1mnever\\x1b[0m seen\n']);
      assert.deepEqual(world.explained, [{ digest: action }]);
    });

    it('asks for one instance name if it is told one', async () => {
      await world.run('why-miss', '--action', path, '--instance', '');
      await world.run('why-miss', '--action', `other/blobs/${path}`);
      assert.deepEqual(world.explained, [
        { digest: action, instance: '' },
        { digest: action, instance: 'other' },
      ]);
    });

    it('prints the report as JSON', async () => {
      const { out } = await world.run('why-miss', '--action', path, '--json');
      const history = { sinceMs: 5, actions: 1, maxActions: 10 };
      assert.deepEqual(JSON.parse(out), { action, instance: 'main', isCached: false, history });
    });
  });

  for (const [args, message] of [
    [['cat', 'x'], /^gantry: "x" does not name a blob: .*; write HASH\/SIZE, HASH-SIZE or a resource name/],
    [['ls', 'x'], /does not name a blob/],
    [['ac', 'get', 'x'], /does not name a blob/],
    [['ac', 'rm', 'x'], /does not name a blob/],
    [['why-miss', '--action', 'x'], /does not name a blob/],
    [['why-miss'], /required option '--action <digest>' not specified/],
    [['cat'], /missing required argument 'digest'/],
    [['cat', 'x', '--as', 'json'], /Allowed choices are action, command, directory, tree, action-result, raw/],
    [['cat', 'x', '--function', 'md5'], /"md5" is not a digest function; there is sha256/],
  ] as const) {
    it(`refuse ${args.join(' ')} with exit code 2`, async () => {
      const { code, out, err } = await world.run(...args);
      assert.deepEqual([code, out], [2, '']);
      assert.match(err, message);
    });
  }
});

describe('operator commands against another server', () => {
  it('work as far as standard calls go', async () => {
    const world = new OperatorWorld();
    await world.start({ hasAdmin: false });
    try {
      const path = digestPath(await world.put(TEXT));
      world.results.set(`sha256/${path}/`, bytesOf(ActionResult, { exitCode: 1 }));
      assert.equal((await world.run('cat', path)).out, 'some text\n');
      assert.deepEqual(JSON.parse((await world.run('ac', 'get', path)).out), { exit_code: 1 });
      for (const args of [
        ['ac', 'rm', path],
        ['why-miss', '--action', path],
      ]) {
        const { code, err } = await world.run(...args);
        assert.equal(code, 1);
        assert.match(err, /^gantry: the server has no gantry\.v1\.Admin/);
      }
    } finally {
      await world.stop();
    }
  });
});
