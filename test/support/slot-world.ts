import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ActionKey } from '../../src/digest/action-key.ts';
import { digestToWire } from '../../src/digest/digest.ts';
import { digestOf } from '../../src/digest/hasher.ts';
import { parseInstanceName } from '../../src/digest/instance-name.ts';
import { ReapiError } from '../../src/errors.ts';
import {
  Action,
  DigestFunction_Value,
  ExecuteResponse,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { CachedFiles, NextAction } from '../../src/gen/gantry/v1/worker.ts';
import { SynchronizeRequest, SynchronizeResponse } from '../../src/gen/pkg/proto/remoteworker/remoteworker.ts';
import type { Lease, LeaseOutcome, LeaseStage } from '../../src/worker/run-lease.ts';
import { timestampOf } from '../../src/worker/wire-time.ts';
import { type LeaseRunner, Slot, type SlotNode } from '../../src/worker/worker.ts';
import { FakeClock } from './fake-clock.ts';
import { recordingLog } from './recording-log.ts';

type PartialResponse = Parameters<typeof SynchronizeResponse.fromPartial>[0];

/** A call that waits for its answer. */
export interface SlotCall {
  readonly request: SynchronizeRequest;
  readonly answer: (response: PartialResponse) => void;
  /** Default: nobody listens. */
  readonly fail: (error?: ReapiError) => void;
}

/** A lease that waits for its end. */
export interface StartedLease {
  readonly lease: Lease;
  readonly onStage: (stage: LeaseStage) => void;
  readonly signal: AbortSignal;
  readonly end: (outcome: LeaseOutcome) => void;
}

/** Digest of the one action there is. */
export const ACTION_DIGEST = digestOf('sha256', Buffer.from('action'));

/** An outcome without any failure. */
export const GOOD: LeaseOutcome = {
  response: ExecuteResponse.fromPartial({ result: { exitCode: 0 }, status: { code: 0 } }),
  isWorkerFault: false,
  isExhausted: false,
};

/** One slot, all of whose surroundings a test plays: scheduler, leases, time. */
export class SlotWorld {
  readonly clock = new FakeClock();
  /** What operators are told. */
  readonly log = recordingLog();
  /** Calls that have not been answered yet, but for those that `next` returned. */
  readonly calls: SlotCall[] = [];
  readonly started: StartedLease[] = [];
  /** What the slot itself wrote to the action cache. */
  readonly recorded: ActionKey[] = [];
  /** What it was told to expect. */
  readonly told: (NextAction | undefined)[] = [];
  readonly slot: Slot;
  readonly over: Promise<void>;
  /** Calls that the slot gave up. */
  aborted = 0;
  disconnections = 0;
  /** Whether the build directory can be used. */
  isReady = true;
  /** Settles when it is empty. */
  cleaning: Promise<void> = Promise.resolve();
  /** What the next call is to carry. */
  sketch: CachedFiles | undefined;

  constructor() {
    const counters = {
      leasesStarted: 0,
      leasesCompleted: 0,
      leasesCancelled: 0,
      workerFaults: 0,
      leasesExhausted: 0,
      syncFailures: 0,
    };
    const random = { fraction: () => 0.5, uuid: () => '', token: () => '' };
    const recorder = {
      record: (key: ActionKey) => {
        this.recorded.push(key);
        return Promise.resolve();
      },
    };
    const scheduler = {
      synchronize: (request: SynchronizeRequest, signal: AbortSignal) => this.#synchronize(request, signal),
    };
    const peers = { scheduler, runner: this.#runner(), recorder, node: this.#node() };
    this.slot = new Slot(peers, { clock: this.clock, random, log: this.log.log }, counters, {
      workerId: { node: 'n', thread: '0' },
      instanceNamePrefix: parseInstanceName('a'),
      properties: [{ name: 'OSFamily', value: 'linux' }],
      sizeClass: 0,
      alternatives: [],
      incarnation: 'first',
    });
    this.over = this.slot.run();
  }

  /** Ends the slot; no timer may be left. */
  async close(): Promise<void> {
    this.slot.kill();
    await this.over;
    assert.equal(this.clock.armed, 0, 'no timer is left');
  }

  /** Lets everything happen that does not need time. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 5; turn++) await nextTurn();
  }

  /** The next call, which may be held back for the time in which changes of stage are gathered. */
  async next(): Promise<SlotCall> {
    await this.settle();
    if (this.calls.length === 0) this.clock.advance(100);
    await this.settle();
    const call = this.calls.shift();
    assert.ok(call, 'the slot should have called the scheduler');
    return call;
  }

  /** Calls fail at once for so long, as they do while nobody listens. */
  async beAway(ms: number): Promise<void> {
    const endMs = this.clock.monotonicMs() + ms;
    while (this.clock.monotonicMs() < endMs) {
      await this.settle();
      for (const call of this.calls.splice(0)) call.fail();
      await this.settle();
      this.clock.advance(500);
    }
  }

  /** That time from now, for answers. */
  inMs(ms: number): ReturnType<typeof timestampOf> {
    return timestampOf(this.clock.nowMs() + ms);
  }

  /** The action under that lease; '' is a scheduler that sends no orders of ours. */
  orders(leaseId: string, serverRecordsResult = true): PartialResponse {
    const value = {
      actionDigest: digestToWire(ACTION_DIGEST),
      action: Action.fromPartial({ commandDigest: digestToWire(ACTION_DIGEST) }),
      digestFunction: DigestFunction_Value.SHA256,
      instanceNameSuffix: 'b',
    };
    return {
      nextSynchronizationAt: this.inMs(10_000),
      desiredState: { workerState: { $case: 'executing' as const, value } },
      ...(leaseId === '' ? {} : { gantry: { leaseId, serverRecordsResult } }),
    };
  }

  /** Be idle, and call again at once. */
  idle(): PartialResponse {
    return {
      nextSynchronizationAt: this.inMs(0),
      desiredState: { workerState: { $case: 'idle' as const, value: {} } },
    };
  }

  /** Go on with what you do. */
  goOn(ms = 10_000): PartialResponse {
    return { nextSynchronizationAt: this.inMs(ms) };
  }

  #synchronize(request: SynchronizeRequest, signal: AbortSignal): Promise<SynchronizeResponse> {
    return new Promise((resolve, reject) => {
      // What goes over the wire, not what may change afterwards.
      const copy = SynchronizeRequest.decode(SynchronizeRequest.encode(request).finish());
      this.calls.push({
        request: copy,
        answer: (response) => resolve(SynchronizeResponse.fromPartial(response)),
        fail: (error = new ReapiError('unavailable', 'no scheduler')) => reject(error),
      });
      signal.addEventListener('abort', () => {
        this.aborted++;
        reject(new ReapiError('cancelled', 'cancelled'));
      });
    });
  }

  #runner(): LeaseRunner {
    const cleanUp = (): Promise<void> =>
      this.isReady ? this.cleaning : Promise.reject(new ReapiError('unavailable', 'no disk'));
    return {
      start: (lease, onStage, signal) =>
        new Promise((resolve, reject) => {
          signal.addEventListener('abort', () => reject(new ReapiError('cancelled', 'cancelled')));
          this.started.push({ lease, onStage, signal, end: resolve });
        }),
      cleanUp,
      close: cleanUp,
    };
  }

  #node(): SlotNode {
    return {
      cached: () => this.sketch,
      disconnected: () => {
        this.disconnections++;
      },
      expect: (next) => {
        if (next?.instanceName === '/') throw new ReapiError('invalid-argument', 'no name');
        this.told.push(next);
      },
    };
  }
}

/** What the slot said it does: `idle`, or the execution state. */
export function stateOf(call: SlotCall): string {
  const state = call.request.currentState?.workerState;
  return state?.$case === 'executing' ? (state.value.executionState?.$case ?? '') : (state?.$case ?? '');
}

/** An element that must be there; negative indices count from the end. */
export function at<T>(list: readonly T[], index: number): T {
  const item = list.at(index);
  assert.ok(item);
  return item;
}
