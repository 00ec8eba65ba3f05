import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BucketContent, idOf, WRITERS } from '../../test/support/bucket-content.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeStoreControl, SOME_STATS } from '../../test/support/fake-store-control.ts';
import { MemoryObjectStore, type MemoryObjectStoreOptions } from '../../test/support/memory-object-store.ts';
import { OperatorWorld, runProgram } from '../../test/support/operator-world.ts';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import type { S3Options } from '../cas/s3/s3-options.ts';
import { ReapiError } from '../errors.ts';
import { DataFolder } from '../system/data-folder.ts';

const CLEAN = { blobs: 2, entries: 1, bytes: 2048, damaged: 0, damage: [] };
const DAMAGED = {
  ...CLEAN,
  damaged: 1,
  damage: [{ what: 'blob' as const, name: 'sha256/aa/1', reason: 'its bytes have another hash' }],
};
const PRUNED = { freedBytes: 1024, evictedBlobs: 1, evictedEntries: 0, sizeBytes: 1024 };

describe('gantry store', () => {
  let world: OperatorWorld;

  beforeEach(async () => {
    world = new OperatorWorld();
    await world.start();
  });

  afterEach(() => world.stop());

  it('prints the statistics of a running server', async () => {
    const { code, out, err } = await world.run('store', 'stats');
    assert.deepEqual([code, err], [0, '']);
    assert.match(out, /^limit {10}50\.0 GiB\nused {11}12\.3 GiB \(24\.5 %\)\n/);
  });

  it('prints them as JSON', async () => {
    assert.deepEqual(JSON.parse((await world.run('store', 'stats', '--json')).out), SOME_STATS);
  });

  it('finds the server where the configuration says', async () => {
    const file = join(temporaryFolder(), 'gantry.yaml');
    writeFileSync(file, `listen: { grpc: '${world.address}' }\n`);
    const { code, out } = await runProgram(['store', 'stats', '--json', '--config', file]);
    assert.deepEqual([code, JSON.parse(out)], [0, SOME_STATS]);
  });

  it('succeeds if a check finds nothing', async () => {
    const run = world.run('store', 'check');
    await world.control.started();
    world.control.checks[0]?.end.resolve(CLEAN);
    assert.deepEqual(await run, {
      code: 0,
      out: 'checked 2 blobs and 1 entries, 2.0 KiB: no damage\n',
      err: '',
    });
  });

  it('shows the words of a server without what a terminal would obey', async () => {
    const run = world.run('store', 'check');
    await world.control.started();
    world.control.checks[0]?.end.reject(new ReapiError('data-loss', 'lost \x1b]0;title\x07\u009b2J\nall'));
    const { code, err } = await run;
    assert.equal(code, 1);
    assert.equal(err, 'gantry: lost \\x1b]0;title\\x07\\x9b2J\\x0aall\n');
  });

  it('fails if a check finds damage, and lists it', async () => {
    const run = world.run('store', 'check');
    await world.control.started();
    world.control.checks[0]?.end.resolve(DAMAGED);
    const { code, out } = await run;
    assert.equal(code, 1);
    assert.match(out, /^damaged blob sha256\/aa\/1: its bytes have another hash\nchecked .*: 1 damaged and put aside/);
  });

  it('shows on a terminal how far a check is, and takes it away at the end', async () => {
    const shown = Promise.withResolvers<void>();
    let err = '';
    const run = runProgram(['store', 'check', '--server', world.address], {
      isTerminal: { out: false, err: true },
      onErr: (text) => {
        err += text;
        shown.resolve();
      },
    });
    await world.control.started();
    world.control.checks[0]?.onProgress({ doneBytes: 1024, totalBytes: 4096 });
    await shown.promise;
    world.control.checks[0]?.end.resolve(CLEAN);
    assert.equal((await run).code, 0);
    assert.equal(err, '\rchecking: 25.0 % (1.0 KiB of 4.0 KiB)\x1b[K\r\x1b[K');
  });

  it('prints nothing but the report with --json', async () => {
    const run = runProgram(['store', 'check', '--json', '--server', world.address], {
      isTerminal: { out: true, err: true },
    });
    await world.control.started();
    world.control.checks[0]?.onProgress({ doneBytes: 1, totalBytes: 2 });
    world.control.checks[0]?.end.resolve(DAMAGED);
    const { code, out, err } = await run;
    assert.deepEqual([code, JSON.parse(out), err], [1, DAMAGED, '']);
  });

  it('prunes to a size with a unit', async () => {
    const run = world.run('store', 'prune', '--to', '1 KiB');
    await world.control.started();
    assert.equal(world.control.prunes[0]?.targetBytes, 1024);
    world.control.prunes[0]?.end.resolve(PRUNED);
    const { code, out } = await run;
    assert.equal(code, 0);
    assert.equal(out, 'freed 1.0 KiB, 1 blobs and 0 entries; the store takes 1.0 KiB now\n');
  });

  it('says that a job of this kind runs already', async () => {
    const first = world.run('store', 'check');
    await world.control.started();
    const { code, err } = await world.run('store', 'check');
    assert.equal(code, 1);
    assert.equal(err, 'gantry: a check of this store is running already; wait for it or cancel it\n');
    world.control.checks[0]?.end.resolve(CLEAN);
    await first;
  });

  it('stops the job at a signal', async () => {
    const signals: (() => void)[] = [];
    const run = runProgram(['store', 'check', '--server', world.address], {
      onStopSignal: (handler) => signals.push(handler),
    });
    await world.control.started();
    for (const handler of signals) handler();
    assert.deepEqual(await run, { code: 1, out: '', err: 'gantry: the call was cancelled\n' });
    await assert.rejects(world.control.checks[0]?.end.promise ?? Promise.resolve(), /cancelled/);
  });

  for (const [args, message] of [
    [['store', 'prune'], /required option '--to <size>' not specified/],
    [['store', 'prune', '--to', '1GiB', '--dry-run'], /--dry-run goes with --bucket/],
    [['store', 'prune', '--to', '1GiB', '--s3-bucket', 'b'], /--s3-bucket <name> goes with --bucket/],
    [['store', 'prune', '--bucket', '--to', '1GiB'], /'--bucket' cannot be used with option '--to <size>'/],
    [['store', 'prune', '--bucket', '--data', '/d'], /'--bucket' cannot be used with option '--data <dir>'/],
    [['store', 'prune', '--bucket', '--server', 'a:1'], /'--bucket' cannot be used with option '--server <address>'/],
    [['store', 'prune', '--bucket'], /no bucket is configured: set s3\.bucket, or give --s3-bucket/],
    [['store', 'prune', '--to', '20G'], /--to: "20G" is not a size; write one like 20GiB/],
    [['store', 'stats', '--server', 'nowhere'], /"nowhere" is not an address/],
    [['store', 'sta'], /unknown command 'sta'/],
  ] as const) {
    it(`refuses ${args.join(' ')} with exit code 2`, async () => {
      const { code, err } = await runProgram(args);
      assert.equal(code, 2);
      assert.match(err, message);
    });
  }

  it('names the address where nobody answers', async () => {
    const { address } = world;
    await world.stop();
    const { code, err } = await runProgram(['store', 'stats', '--server', address]);
    assert.equal(code, 1);
    assert.ok(err.startsWith(`gantry: the server at ${address}: `), err);
  });
});

describe('gantry store against another server', () => {
  it('says that it needs Gantry', async () => {
    const world = new OperatorWorld();
    await world.start({ hasAdmin: false });
    try {
      for (const command of [['stats'], ['check'], ['prune', '--to', '1GiB']] as const) {
        const { code, err } = await world.run('store', ...command);
        assert.equal(code, 1);
        const message = 'the server has no gantry.v1.Admin: it is an older Gantry or another program';
        assert.equal(err, `gantry: ${message}\n`);
      }
    } finally {
      await world.stop();
    }
  });
});

describe('gantry store --data', () => {
  it('works on the folder of a stopped server', async () => {
    const path = temporaryFolder();
    await (await DataFolder.open(path)).release();
    let closed = 0;
    const openLocalStore = async (given: string) => {
      assert.equal(given, path);
      const close = async (): Promise<void> => {
        closed++;
      };
      return { control: new FakeStoreControl(), close };
    };
    const { code, out } = await runProgram(['store', 'stats', '--json', '--data', path], { openLocalStore });
    // The limits are those of the server that is not there.
    const { maxBytes: _, maxLeasedBytes: _limit, leasedBytes: _leased, ...held } = SOME_STATS;
    assert.deepEqual([code, JSON.parse(out), closed], [0, held, 1]);
  });

  it('tells of a folder that is in use, of none, and of contradictions', async () => {
    const path = temporaryFolder();
    await (await DataFolder.open(path)).release();
    const openLocalStore = () => Promise.reject(new ReapiError('precondition', 'another process is using it'));
    const used = await runProgram(['store', 'check', '--data', path], { openLocalStore });
    assert.deepEqual(used, {
      code: 1,
      out: '',
      err: 'gantry: another process is using it; without --data the running server is asked\n',
    });
    const none = await runProgram(['store', 'check', '--data', '/nonexistent'], { openLocalStore });
    assert.deepEqual([none.code, none.err], [2, 'gantry: "/nonexistent" is not the data folder of a server\n']);
    const both = await runProgram(['store', 'check', '--data', path, '--server', 'a:1'], { openLocalStore });
    assert.equal(both.code, 2);
    assert.match(both.err, /'--data <dir>' cannot be used with option '--server <address>'/);
  });
});

describe('gantry store prune --bucket', () => {
  const NOW = 1_700_000_000_000;
  const DAY = 86_400_000;
  const [A] = WRITERS;
  let content: BucketContent;
  let condemned: string;

  beforeEach(() => {
    content = new BucketContent();
    content.format(NOW - 9 * DAY);
    content.state(A, NOW);
    condemned = content.pack(idOf(A, 1), { blobs: ['gone'] }, NOW - 9 * DAY);
    content.pack(idOf(A, 2), { blobs: ['here'], condemns: [idOf(A, 1)] }, NOW - 8 * DAY);
  });

  const run = async (
    args: readonly string[],
    options: MemoryObjectStoreOptions & { onStop?: (stop: () => void) => void } = {},
  ) => {
    const opened: S3Options[] = [];
    let closed = 0;
    const result = await runProgram(['store', 'prune', '--bucket', '--s3-bucket', 'builds', ...args], {
      openBucket: (s3) => {
        opened.push(s3);
        const objects = new MemoryObjectStore(new FakeClock(NOW), { bucket: content.bucket, ...options });
        return { objects, close: () => closed++ };
      },
      ...(options.onStop && { onStopSignal: options.onStop }),
    });
    assert.equal(closed, opened.length);
    return { ...result, opened };
  };

  it('tells what is in the bucket, removes what is left over, and lets go of it', async () => {
    const { code, out, err, opened } = await run(['--s3-prefix', 'ci/']);
    assert.deepEqual([code, err, opened[0]?.bucket, opened[0]?.prefix], [0, '', 'builds', 'ci/']);
    assert.match(out, /^the bucket "builds" under "ci\/" at AWS, region us-east-1\nversions /);
    assert.match(out, /\ncondemned object {4}packs\/.*: condemned 8 d 0 h ago, \d+ B\nremoved 1: \d+ B\n$/);
    assert.equal(content.bucket.objects.has(condemned), false);
    assert.match((await run([])).out, /\nnothing is left over\n$/);
  });

  it('removes nothing with --dry-run', async () => {
    const before = [...content.bucket.objects.keys()];
    const { code, out } = await run(['--dry-run']);
    assert.equal(code, 0);
    assert.match(out, /\nwould remove 1: \d+ B; nothing was removed\n$/);
    assert.deepEqual([...content.bucket.objects.keys()], before);
  });

  it('prints one report with --json', async () => {
    const { code, out, err } = await run(['--json']);
    const { bucket, isDryRun, orphans } = JSON.parse(out);
    assert.deepEqual([code, err, bucket, isDryRun], [0, '', 'builds', false]);
    assert.deepEqual(orphans[0].key, condemned);
    assert.equal(orphans[0].isRemoved, true);
  });

  it('fails if a pack is damaged, and leaves it', async () => {
    const key = content.pack(idOf(A, 3), { blobs: ['x'] }, NOW);
    content.bucket.set(key, Buffer.from('torn'), NOW);
    const { code, out } = await run([]);
    assert.equal(code, 1);
    assert.match(out, /^DAMAGED {8}packs\/.*: its footer cannot be read; it stays$/m);
    assert.ok(content.bucket.objects.has(key));
  });

  it('says what was removed when removing fails', async () => {
    content.bucket.beginUpload(condemned, NOW - 2 * DAY);
    const faults: MemoryObjectStoreOptions['faults'] = (call, key) =>
      call === 'delete' && key === condemned ? 'fail-before' : undefined;
    const { code, out, err } = await run([], { faults });
    assert.equal(code, 1);
    assert.match(out, /\nremoved 1: 0 B, and the parts of 1 unfinished uploads; 1 are left\n$/);
    assert.equal(err, 'gantry: a bucket in memory: fail-before\n');
  });

  it('stops at a signal, with nothing removed and nothing left behind', async () => {
    const before = [...content.bucket.objects.keys()];
    let stop = (): void => assert.fail('no handler was given');
    const onStop = (handler: () => void): void => {
      stop = handler;
    };
    const faults: MemoryObjectStoreOptions['faults'] = (call) => {
      if (call !== 'getRange') return undefined;
      stop();
      return 'hang';
    };
    const { code, err } = await run([], { faults, onStop });
    assert.equal(code, 1);
    assert.match(err, /^gantry: .*cancelled/);
    assert.deepEqual([...content.bucket.objects.keys()], before);
  });
});
