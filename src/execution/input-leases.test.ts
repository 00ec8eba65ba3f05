import assert from 'node:assert/strict';
import { someBytes } from '../../test/support/blob-store-contract.ts';
import { ExecutionWorld, idleSlot, never, passed } from '../../test/support/execution-world.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { openStoreForTest } from '../../test/support/local-store-for-test.ts';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import { ToxicBlobStore } from '../../test/support/toxic-blob-store.ts';
import { MemoryBlobStore } from '../cas/memory-blob-store.ts';
import { type Digest, digestToWire } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { ReapiError } from '../errors.ts';
import { Action, Directory, ExecuteResponse } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { createLog, NO_LOG } from '../system/log.ts';
import { type ActionInputs, InputLeases, inputsOf, MAX_LOOKS_PER_ROUND } from './input-leases.ts';
import { missingInputsOf } from './missing-inputs.ts';
import type { MissingInputs } from './prepare-action.ts';

const RETENTION_MS = 600_000;
/** Of the store in which the rest is evicted. */
const MAX_BYTES = 16 * 1024 * 1024;
const EVERY_MS = RETENTION_MS / 3;

/** A digest for a name; nothing is stored under it. */
function named(name: string): Digest {
  return digestOf('sha256', Buffer.from(name));
}

/** Inputs of an action, those of another root if it is named. */
function inputs(name: string, root = 'root'): ActionInputs {
  return { action: named(`action ${name}`), command: named(`command ${name}`), root: named(root) };
}

interface Logged {
  readonly level: string;
  readonly [field: string]: unknown;
}

/** Leases over a store that has everything, with a record of what was looked at. */
class LeaseWorld {
  readonly clock = new FakeClock();
  readonly roots: Digest[] = [];
  readonly messages: Digest[] = [];
  readonly logged: Logged[] = [];
  readonly leases: InputLeases;
  /** How looking at a root goes. */
  walk: MissingInputs = async () => [];

  constructor(retentionMs = RETENTION_MS) {
    const blobs = Object.assign(new MemoryBlobStore({ maxBytes: 1000 }), {
      findMissing: async (digests: readonly Digest[]) => {
        this.messages.push(...digests);
        return [];
      },
    });
    const missingInputs: MissingInputs = (root, signal) => {
      this.roots.push(root);
      return this.walk(root, signal);
    };
    const log = createLog('debug', { write: (line: string) => void this.logged.push(JSON.parse(line)) });
    this.leases = new InputLeases({ blobs, missingInputs, clock: this.clock, log }, { retentionMs });
  }

  /** Moves time on and lets the round that begins come to its end. */
  async advance(byMs: number): Promise<void> {
    this.clock.advance(byMs);
    await this.quiet();
  }

  /** Until nothing happens but by time. A round takes a turn for each of its looks. */
  async quiet(): Promise<void> {
    for (let turn = 0; turn < MAX_LOOKS_PER_ROUND + 10; turn++) await new Promise(setImmediate);
  }

  /** What was looked at since the last time, and forgets it. */
  take(): { readonly roots: number; readonly messages: number } {
    const counts = { roots: this.roots.length, messages: this.messages.length };
    this.roots.length = 0;
    this.messages.length = 0;
    return counts;
  }
}

describe('InputLeases', () => {
  it('looks at Action, Command and input root when a third of the retention has passed, again and again', async () => {
    const world = new LeaseWorld();
    const held = inputs('a');
    world.leases.hold('one', held);
    await world.advance(EVERY_MS - 1);
    assert.deepEqual(world.take(), { roots: 0, messages: 0 });
    await world.advance(1);
    assert.deepEqual(world.roots, [held.root]);
    assert.deepEqual(world.messages, [held.action, held.command]);
    await world.advance(EVERY_MS);
    await world.advance(EVERY_MS);
    assert.deepEqual(world.take(), { roots: 3, messages: 6 });
  });

  it('ends with the operation, and leaves no timer behind', async () => {
    const world = new LeaseWorld();
    world.leases.hold('one', inputs('a'));
    world.leases.release('one');
    assert.equal(world.clock.armed, 0);
    await world.advance(RETENTION_MS);
    assert.deepEqual(world.take(), { roots: 0, messages: 0 });
    world.leases.release('one');
    world.leases.release('never held');
  });

  it('looks once at what operations have in common, until the last of them ends', async () => {
    const world = new LeaseWorld();
    world.leases.hold('one', inputs('a'));
    world.leases.hold('two', inputs('a'));
    world.leases.hold('three', inputs('b'));
    await world.advance(EVERY_MS);
    assert.deepEqual(world.take(), { roots: 1, messages: 4 });
    world.leases.release('one');
    world.leases.release('three');
    await world.advance(EVERY_MS);
    assert.deepEqual(world.take(), { roots: 1, messages: 2 });
    world.leases.release('two');
    await world.advance(EVERY_MS);
    assert.deepEqual(world.take(), { roots: 0, messages: 0 });
  });

  it('counts the preparation of a newcomer as a look at the root it shares, and never lets an Action wait for it', async () => {
    const world = new LeaseWorld();
    world.leases.hold('one', inputs('a'));
    await world.advance(EVERY_MS - 1000);
    world.leases.hold('two', inputs('b'));
    await world.advance(1000);
    assert.deepEqual(world.take(), { roots: 0, messages: 2 });
    await world.advance(EVERY_MS - 1000);
    assert.deepEqual(world.take(), { roots: 1, messages: 4 });
  });

  it('law: nothing held goes without a look for two thirds of the retention, whenever operations come', async () => {
    const world = new LeaseWorld();
    const looks = new Map<string, number>();
    world.walk = async (root) => {
      const now = world.clock.monotonicMs();
      const age = now - (looks.get(root.hash) ?? now);
      assert.ok(age <= 2 * EVERY_MS, `${age} ms without a look`);
      looks.set(root.hash, now);
      return [];
    };
    for (let step = 0; step < 40; step++) {
      const held = inputs(`${step}`, `root ${step}`);
      looks.set(held.root.hash, world.clock.monotonicMs());
      world.leases.hold(`${step}`, held);
      await world.advance(((step * 7919) % 37) * 1000);
    }
    for (let step = 0; step < 10; step++) await world.advance(EVERY_MS / 5);
    const now = world.clock.monotonicMs();
    assert.equal(looks.size, 40);
    for (const [hash, atMs] of looks) assert.ok(now - atMs <= 2 * EVERY_MS, hash);
    assert.deepEqual(world.logged, []);
  });

  it('bounds a round, with a pause for others before the next, and gets through thousands', async () => {
    const world = new LeaseWorld();
    const count = 2000;
    for (let index = 0; index < count; index++) world.leases.hold(`${index}`, inputs(`${index}`, `root ${index}`));
    await world.advance(EVERY_MS);
    const first = world.take();
    assert.equal(first.roots + first.messages / 2, MAX_LOOKS_PER_ROUND);
    await world.quiet();
    assert.deepEqual(world.take(), { roots: 0, messages: 0 });
    let { roots } = first;
    for (let round = 1; round < (2 * count) / MAX_LOOKS_PER_ROUND; round++) {
      await world.advance(100);
      roots += world.take().roots;
    }
    assert.equal(roots, count);
    await world.advance(10_000);
    assert.deepEqual(world.take(), { roots: 0, messages: 0 });
    assert.equal(world.clock.armed, 1);
  });

  it('looks at one thing after the other', async () => {
    const world = new LeaseWorld();
    const gate = Promise.withResolvers<readonly Digest[]>();
    world.walk = () => gate.promise;
    world.leases.hold('one', inputs('a', 'first'));
    world.leases.hold('two', inputs('b', 'second'));
    await world.advance(EVERY_MS);
    assert.deepEqual(world.roots, [named('first')]);
    gate.resolve([]);
    await world.quiet();
    assert.deepEqual(world.roots, [named('first'), named('second')]);
  });

  it('gives a look up as soon as its last operation ends, without a word in the log', async () => {
    const world = new LeaseWorld();
    let seen: AbortSignal | undefined;
    world.walk = (_, signal) => {
      seen = signal;
      return rejectedBy(signal);
    };
    world.leases.hold('one', inputs('a'));
    await world.advance(EVERY_MS);
    assert.equal(seen?.aborted, false);
    world.leases.release('one');
    assert.equal(seen?.aborted, true);
    await world.quiet();
    assert.deepEqual(world.logged, []);
    assert.equal(world.clock.armed, 0);
  });

  it('gives a look up that hangs, and goes on with the others', async () => {
    const world = new LeaseWorld();
    world.walk = (root, signal) => (root.hash === named('stuck').hash ? rejectedBy(signal) : Promise.resolve([]));
    world.leases.hold('one', inputs('a', 'stuck'));
    world.leases.hold('two', inputs('b', 'fine'));
    await world.advance(EVERY_MS);
    assert.deepEqual(world.roots, [named('stuck')]);
    await world.advance(EVERY_MS);
    assert.deepEqual(world.roots, [named('stuck'), named('fine')]);
    assert.equal(world.logged.length, 1);
  });

  it('warns once of what fails, names what is gone, and tries again', async () => {
    const world = new LeaseWorld();
    world.walk = async () => Promise.reject(new ReapiError('unavailable', 'the disk is away'));
    world.leases.hold('one', inputs('a'));
    await world.advance(EVERY_MS);
    world.walk = async () => [named('gone'), named('gone too')];
    await world.advance(EVERY_MS);
    world.walk = async () => [];
    await world.advance(EVERY_MS);
    assert.equal(world.take().roots, 3);
    assert.deepEqual(
      world.logged.map(({ level, missing, first }) => ({ level, missing, first })),
      [
        { level: 'warn', missing: undefined, first: undefined },
        { level: 'debug', missing: 2, first: `${named('gone').hash}/4` },
      ],
    );
  });

  it('stops: gives up what it looks at, forgets all, and takes nothing new', async () => {
    const world = new LeaseWorld();
    world.walk = (_, signal) => rejectedBy(signal);
    world.leases.hold('one', inputs('a'));
    world.leases.hold('two', inputs('b', 'other'));
    await world.advance(EVERY_MS);
    await world.leases.stop();
    assert.deepEqual(world.roots, [named('root')]);
    world.leases.hold('three', inputs('c'));
    assert.equal(world.clock.armed, 0);
    assert.deepEqual(world.logged, []);
  });

  it('keeps nothing where nothing is promised', () => {
    const world = new LeaseWorld(0);
    world.leases.hold('one', inputs('a'));
    assert.equal(world.clock.armed, 0);
  });
});

describe('inputs of operations', () => {
  it('are looked at while one is queued and while it runs, and not after its end', async () => {
    const world = new LeaseWorld();
    const executions = new ExecutionWorld({ inputs: world.leases });
    const key = await executions.action('a');
    const { name } = executions.start(key);
    await executions.quiet();
    assert.equal(executions.operations.get(name).stage, 'queued');
    await world.advance(EVERY_MS);
    assert.equal(world.messages[0]?.hash, key.action.hash);
    assert.deepEqual(world.take(), { roots: 1, messages: 2 });
    const { hold } = await executions.host.synchronize(idleSlot, 0, never);
    assert.ok(hold);
    assert.equal(executions.operations.get(name).stage, 'executing');
    await world.advance(EVERY_MS);
    assert.deepEqual(world.take(), { roots: 1, messages: 2 });
    const response = ExecuteResponse.fromPartial({ result: passed, status: { code: 0 } });
    const completed = { result: { response, isRecordedByWorker: false }, verdict: 'success' as const };
    const holding = { action: key.action, lease: hold.lease, completed };
    await executions.host.synchronize({ ...idleSlot, holding }, 0, never);
    assert.equal((await executions.finished(name)).status?.code, 0);
    assert.equal(world.clock.armed, 0);
  });

  it('are let go when one is cancelled', async () => {
    const world = new LeaseWorld();
    const executions = new ExecutionWorld({ inputs: world.leases });
    const { name } = executions.start(await executions.action('a'));
    await executions.quiet();
    assert.equal(world.clock.armed, 1);
    executions.executions.cancel(name);
    await executions.finished(name);
    assert.equal(world.clock.armed, 0);
  });

  it('are not held for a cached result', async () => {
    const world = new LeaseWorld();
    const executions = new ExecutionWorld({ inputs: world.leases });
    const key = await executions.action('a');
    executions.cached.set(key.action.hash, passed);
    await executions.finished(executions.start(key).name);
    assert.equal(world.clock.armed, 0);
  });
});

describe('looking at inputs in a store with faults', () => {
  it('never rejects and never ends: the next look is made as if nothing had happened', async () => {
    const memory = new MemoryBlobStore({ maxBytes: 100_000 });
    const bytes = Directory.encode(Directory.fromPartial({})).finish();
    const toxic = new ToxicBlobStore(memory, { seed: 3, faults: ['fail-before'], pause: () => Promise.resolve() });
    const clock = new FakeClock();
    const logged: string[] = [];
    const missingInputs = missingInputsOf(toxic, { maxDirectories: 10, maxDepth: 10, maxDirectoryBytes: 1000 });
    const log = createLog('debug', { write: (line: string) => void logged.push(line) });
    const leases = new InputLeases({ blobs: toxic, missingInputs, clock, log }, { retentionMs: RETENTION_MS });
    const root = digestOf('sha256', Buffer.concat([bytes, Buffer.from([0x0a, 0])]));
    leases.hold('one', { action: named('a'), command: named('b'), root });
    for (let round = 0; round < 20; round++) {
      clock.advance(EVERY_MS);
      for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
    }
    assert.ok(logged.length >= 20, `${logged.length} failures`);
    assert.equal(logged.filter((line) => line.includes('"warn"')).length, 2);
    assert.equal(clock.armed, 1);
    await leases.stop();
  });
});

describe('InputLeases over a local store', () => {
  it('keep what an action needs for ten times the retention, while what nobody holds is evicted', async () => {
    const clock = new FakeClock();
    const retentionMs = 60_000;
    const store = await openStoreForTest(temporaryFolder(), {
      clock,
      maxBytes: MAX_BYTES,
      minRetentionMs: retentionMs,
    });
    const put = async (bytes: Uint8Array): Promise<Digest> => {
      const digest = digestOf('sha256', bytes);
      await store.blobs.putBytes(digest, bytes, never);
      return digest;
    };
    const file = await put(someBytes(5000));
    const below = await put(encodeDirectory({ files: [{ name: 'a.c', digest: digestToWire(file) }] }));
    const root = await put(encodeDirectory({ directories: [{ name: 'src', digest: digestToWire(below) }] }));
    const [action, command, unheld] = [await put(someBytes(100)), await put(someBytes(101)), await put(someBytes(102))];
    const missingInputs = missingInputsOf(store.blobs, { maxDirectories: 10, maxDepth: 10, maxDirectoryBytes: 1000 });
    const leases = new InputLeases({ blobs: store.blobs, missingInputs, clock, log: NO_LOG }, { retentionMs });
    leases.hold('one', { action, command, root });
    for (let step = 0; step < 40; step++) {
      clock.advance(retentionMs / 4);
      for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
      for (let blob = 0; blob < 12; blob++) await put(someBytes(50_000, 2 + step * 12 + blob));
    }
    assert.deepEqual(await store.blobs.findMissing([file, below, root, action, command, unheld], never), [unheld]);
    await leases.stop();
    await store.close();
  });
});

describe('inputsOf', () => {
  it('reads the digests of an Action, and refuses one without them', () => {
    const held = inputs('a');
    const action = Action.fromPartial({
      commandDigest: digestToWire(held.command),
      inputRootDigest: digestToWire(held.root),
    });
    assert.deepEqual(inputsOf(held.action, action), held);
    assert.throws(() => inputsOf(held.action, Action.fromPartial({})), /Action.command_digest is required/);
  });
});

function encodeDirectory(directory: Parameters<typeof Directory.fromPartial>[0]): Uint8Array {
  return Directory.encode(Directory.fromPartial(directory)).finish();
}

/** Rejects as soon as the signal aborts, as everything that is given one does. */
function rejectedBy(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
}
