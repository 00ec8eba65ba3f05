import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TRACE_LIBRARY } from '../../../test/simulation/traces/library.ts';
import { TRACE_MATCHER } from '../../../test/simulation/traces/trace-builder.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { recordingLog } from '../../../test/support/recording-log.ts';
import { temporaryFolder } from '../../../test/support/temporary-folder.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { ReapiError } from '../../errors.ts';
import { type FileSystem, NODE_FILE_SYSTEM } from '../../system/file-system.ts';
import type { AttemptRecord, Effect, SchedulerEvent } from '../scheduler/events.ts';
import { createScheduler } from '../scheduler/scheduler.ts';
import { type CreateScheduler, simulateTrace } from './simulate-trace.ts';
import type { Trace } from './trace.ts';
import { decodeTrace } from './trace-decoder.ts';
import { TraceRecorder, type TraceRecorderOptions } from './trace-recorder.ts';

type Event = SchedulerEvent<string, number>;
type Effects = readonly Effect<string, number>[];

const MIB = 1024 * 1024;
const MAIN = parseInstanceName('main');
const START_MS = 1_000_000;
const SLOT_TIMEOUT_MS = 70_000;
const NEEDS = TRACE_MATCHER.parse([{ name: 'OSFamily', value: 'linux' }], {
  digestFunction: 'sha256',
  legacyOutputs: false,
});

const offer = (os: string) => ({
  alternatives: [TRACE_MATCHER.parseOffer([{ name: 'OSFamily', value: os }])],
  digestFunctions: ['sha256'] as const,
  legacyOutputs: true,
});

const hashOf = (number: number): string => number.toString(16).padStart(4, '0').padEnd(64, 'ab');

function submit(operation: string, number: number): Extract<Event, { type: 'submit' }> {
  const action = { function: 'sha256', hash: hashOf(number), sizeBytes: 1 } as const;
  return {
    ...{ type: 'submit', operation, key: { instance: MAIN, action }, needs: NEEDS, priority: -3, merge: 'any' },
    ...{ work: 'secret --command', expectedMs: 1500, sizeClass: 2 },
    shares: [
      { id: 'alice', weight: 2 },
      { id: 'build-1', weight: 1 },
    ],
    inputs: [{ hash: hashOf(9), sizeBytes: 3 * MIB }],
  };
}

function sync(slot: string, os: string, isExecuting = false): Event {
  const action = { function: 'sha256', hash: hashOf(1), sizeBytes: 1 } as const;
  const facts = {
    type: 'sync',
    slot,
    node: 'node-1',
    offer: offer(os),
    instancePrefix: MAIN,
    prefersIdle: false,
  } as const;
  return isExecuting ? { ...facts, holding: { action } } : facts;
}

function finish(operation: string, attempts: readonly AttemptRecord[]): Effects {
  return [{ type: 'finish', operation, outcome: { type: 'result', result: 1 }, attempts }];
}

describe('TraceRecorder', () => {
  const folderFile = (): string => join(temporaryFolder(), 'trace');

  function recorderFor(
    path: string,
    changes: Partial<TraceRecorderOptions<string>> = {},
    fs: Partial<FileSystem> = {},
  ) {
    const clock = new FakeClock(START_MS);
    const { log, lines } = recordingLog();
    const recorder = new TraceRecorder<string>({ ...NODE_FILE_SYSTEM, ...fs }, clock, log, {
      ...{ path, maxBytes: MIB, slotTimeoutMs: SLOT_TIMEOUT_MS, mnemonicOf: () => 'CppCompile' },
      ...changes,
    });
    const tell = (event: Event, effects: Effects = []): void => recorder.observe(event, effects, clock.monotonicMs());
    return { recorder, clock, lines, tell };
  }

  const read = (path: string): Trace => decodeTrace(readFileSync(path));

  it('writes what came, and when, without saying what it was', async () => {
    const path = folderFile();
    const { recorder, clock, tell } = recorderFor(path);
    tell({ type: 'tick' });
    tell(submit('o1', 1));
    clock.advance(2500);
    tell(submit('o2', 2));
    await recorder.stop();
    const { startedAtMs, arrivals, isTruncated } = read(path);
    assert.deepEqual([startedAtMs, arrivals.length, isTruncated], [START_MS, 2, false]);
    assert.deepEqual(arrivals[1], {
      ...{ atMs: 2500, key: hashOf(2).slice(0, 16), instance: MAIN, needs: NEEDS, priority: -3, merge: 'any' },
      ...{ mnemonic: 'CppCompile', expectedMs: 1500, sizeClass: 2, inputBytes: 3 * MIB },
      shares: submit('', 1).shares,
    });
    assert.equal(readFileSync(path).includes('secret'), false);
    assert.deepEqual(recorder.counts, { recordedEvents: 2, droppedEvents: 0 });
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  it('begins a file with all slots there are in frames that can be read, however many', async () => {
    const path = folderFile();
    const { recorder, tell } = recorderFor(path, { maxBytes: 2 });
    const slots = Array.from({ length: 9_000 }, (_, number) => `${number}`.padEnd(2_000, 'x'));
    for (const slot of slots) tell(sync(slot, 'linux'));
    await recorder.idle();
    tell(submit('o1', 1));
    await recorder.stop();
    const { slots: there, arrivals } = read(path);
    assert.deepEqual([there.length, arrivals.length], [slots.length, 1]);
  });

  it('writes slots when they come and when they change, and not when they repeat themselves', async () => {
    const path = folderFile();
    const { recorder, tell } = recorderFor(path);
    for (const os of ['linux', 'linux', 'macos', 'macos']) tell(sync('s1', os));
    tell({ type: 'leave', slot: 's1' });
    tell({ type: 'leave', slot: 's1' });
    await recorder.stop();
    const { slots } = read(path);
    assert.deepEqual(
      slots.map((change) => (change.type === 'there' ? change.offer : change)),
      [offer('linux'), offer('macos'), { type: 'left', atMs: 0, slot: 's1', isLost: false }],
    );
  });

  it('takes a silent slot to be gone, with what it ran', async () => {
    const path = folderFile();
    const { recorder, clock, tell } = recorderFor(path);
    tell(sync('idle', 'linux'));
    tell(sync('busy', 'linux', true));
    clock.advance(SLOT_TIMEOUT_MS - 1);
    tell(sync('idle', 'linux'));
    clock.advance(1);
    tell({ type: 'tick' });
    await recorder.stop();
    assert.deepEqual(read(path).slots.slice(2), [{ type: 'left', atMs: SLOT_TIMEOUT_MS, slot: 'busy', isLost: true }]);
  });

  it('writes each attempt once, with the first of its operations that ends', async () => {
    const path = folderFile();
    const { recorder, clock, tell } = recorderFor(path);
    tell(sync('s1', 'linux'));
    tell(submit('o1', 1));
    tell(submit('o2', 1));
    clock.advance(4000);
    const lost: AttemptRecord = {
      ...{ attempt: 1, slot: 's1', node: 'node-1', startedAtMs: START_MS + 500 },
      end: { atMs: START_MS + 2000, how: 'worker-lost', cause: 'it was unplugged' },
    };
    const good: AttemptRecord = {
      ...{ attempt: 2, slot: 's1', node: 'node-1', startedAtMs: START_MS + 2000 },
      end: { atMs: START_MS + 4000, how: 'success', cause: '' },
    };
    tell({ type: 'tick' }, finish('o1', [lost, good]));
    tell({ type: 'tick' }, finish('o2', [lost, good]));
    await recorder.stop();
    const [first, second] = read(path).arrivals;
    assert.deepEqual(first?.finish, {
      ...{ atMs: 4000, how: 'result' },
      attempts: [
        { slot: 's1', sizeClass: 0, startedAtMs: 500, heldMs: 1500, how: 'worker-lost' },
        { slot: 's1', sizeClass: 0, startedAtMs: 2000, heldMs: 2000, how: 'success' },
      ],
    });
    assert.deepEqual(second?.finish, { atMs: 4000, how: 'result', attempts: [] });
  });

  it('tells operations that were cancelled from those that failed', async () => {
    const path = folderFile();
    const { recorder, tell } = recorderFor(path);
    for (const [operation, kind] of [
      ['o1', 'cancelled'],
      ['o2', 'unavailable'],
    ] as const) {
      tell(submit(operation, 1));
      const outcome = { type: 'failed', error: new ReapiError(kind, 'no') } as const;
      tell({ type: 'tick' }, [{ type: 'finish', operation, outcome, attempts: [] }]);
    }
    await recorder.stop();
    assert.deepEqual(
      read(path).arrivals.map(({ finish: end }) => end?.how),
      ['cancelled', 'failed'],
    );
  });

  it('writes within seconds what came, so that little is lost when the server is', async () => {
    const path = folderFile();
    const { recorder, clock, tell } = recorderFor(path);
    tell(submit('o1', 1));
    clock.advance(5000);
    assert.equal(clock.armed, 0);
    tell(submit('o2', 2));
    assert.equal(clock.armed, 1);
    await recorder.stop();
    assert.equal(clock.armed, 0);
    assert.equal(read(path).arrivals.length, 2);
  });

  it('keeps to its size: the file before is kept beside it, and each can be read for itself', async () => {
    const path = folderFile();
    writeFileSync(path, 'of the server before');
    const { recorder, clock, tell } = recorderFor(path, { maxBytes: 2 * 4096 });
    tell(sync('s1', 'linux'));
    assert.equal(existsSync(`${path}.1`), false);
    let number = 0;
    for (let round = 0; round < 40; round++) {
      tell(sync('s1', 'linux'));
      for (let count = 0; count < 100; count++) tell(submit(`o${number}`, number++));
      clock.advance(5000);
      // Frames are written one after the other, on other threads: the test waits for those that there are.
      await recorder.idle();
    }
    tell({ type: 'tick' }, finish('o1', []));
    await recorder.stop();
    for (const file of [path, `${path}.1`]) {
      assert.ok(statSync(file).size < 2 * 4096, `${file} has ${statSync(file).size} bytes`);
      const { slots, arrivals } = read(file);
      assert.equal(slots[0]?.slot, 's1');
      assert.ok(arrivals.length > 0 && arrivals.length < number);
      assert.equal(arrivals[0]?.atMs, 0);
    }
  });

  it('ends, says so once, and harms nobody when the disk is full', async () => {
    const path = folderFile();
    const writeAsync = (): Promise<void> => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' }));
    const { recorder, clock, lines, tell } = recorderFor(path, {}, { writeAsync });
    tell(submit('o1', 1));
    clock.advance(5000);
    await recorder.idle();
    tell(submit('o2', 2));
    tell(submit('o3', 3));
    await recorder.stop();
    assert.deepEqual(
      lines.map(({ level }) => level),
      ['error'],
    );
    assert.deepEqual(recorder.counts, { recordedEvents: 1, droppedEvents: 2 });
  });

  it('pauses when the disk does not keep up, and begins a new file when it does', async () => {
    const path = folderFile();
    const gate = Promise.withResolvers<void>();
    const writeAsync: FileSystem['writeAsync'] = async (fd, chunks) => {
      await gate.promise;
      await NODE_FILE_SYSTEM.writeAsync(fd, chunks);
    };
    const { recorder, lines, tell } = recorderFor(path, { maxBytes: 1024 * MIB }, { writeAsync });
    const frames = 300;
    for (let number = 0; number < frames * 512; number++) tell(submit(`o${number}`, 1), finish(`o${number}`, []));
    assert.ok(recorder.counts.droppedEvents > 0);
    gate.resolve();
    await recorder.idle();
    tell(submit('last', 7));
    await recorder.stop();
    assert.equal(read(path).arrivals.length, 1);
    assert.ok(read(`${path}.1`).arrivals.length > 1000);
    assert.deepEqual(
      lines.map(({ level }) => level),
      ['warn'],
    );
  });

  it('records a run so that playing it again takes as long', async () => {
    const path = folderFile();
    const { log } = recordingLog();
    const options = { path, maxBytes: 64 * MIB, slotTimeoutMs: 1e9, mnemonicOf: () => '' };
    const recorder = new TraceRecorder<number>(NODE_FILE_SYSTEM, new FakeClock(START_MS), log, options);
    const observed: CreateScheduler = (matcher, changes) => {
      const scheduler = createScheduler<number, number>(matcher, changes);
      return {
        apply: (event, nowMs) => {
          const effects = scheduler.apply(event, nowMs);
          recorder.observe(event, effects, nowMs);
          return effects;
        },
      };
    };
    const made = TRACE_LIBRARY['small beside huge'](3);
    const first = simulateTrace(made, TRACE_MATCHER, { createScheduler: observed });
    await recorder.stop();
    const again = simulateTrace(read(path), TRACE_MATCHER);
    assert.equal(again.actions, made.arrivals.length);
    assert.ok(Math.abs(again.makespanMs / first.makespanMs - 1) < 0.01);
    assert.deepEqual(
      again.invocations.map(({ id, actions }) => [id, actions]),
      first.invocations.map(({ id, actions }) => [id, actions]),
    );
    assert.ok(statSync(path).size / made.arrivals.length < 40, 'about 40 bytes an action');
  });
});
