import assert from 'node:assert/strict';
import { callServerStreaming, callUnary } from '../../test/support/call-method.ts';
import { ofKind } from '../../test/support/expectations.ts';
import { fakeCall } from '../../test/support/fake-call.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeSchedulerView } from '../../test/support/scheduler-view.ts';
import { type Authorizer, OpenAuthorizer, type Permission, ReadOnlyAuthorizer } from '../auth/authorizer.ts';
import { digestToWire } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { InstanceNames, parseInstanceName } from '../digest/instance-name.ts';
import { ReapiError } from '../errors.ts';
import {
  FleetDefinition,
  FleetSnapshot,
  TerminateNodesRequest,
  TerminateNodesUpdate,
  WatchFleetRequest,
} from '../gen/gantry/v1/fleet.ts';
import type { Method } from '../rpc/methods.ts';
import { type FleetEvent, fleetMethods, MAX_FLEET_STREAMS } from './fleet-service.ts';
import { FleetSnapshots } from './fleet-snapshots.ts';

const { explainOperation, explainAction, getFleet, watchFleet, drainNodes, undrainNodes, terminateNodes } =
  FleetDefinition.methods;
const { forgiveNode, releaseAction } = FleetDefinition.methods;

const ACTION = digestOf('sha256', Buffer.from('action'));
const MAIN = parseInstanceName('main');
const ON_MAIN = { instanceName: 'main', actionDigest: digestToWire(ACTION) };

/** Lets what is ready go on. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('fleetMethods', () => {
  let view: FakeSchedulerView<string>;
  let clock: FakeClock;
  let applied: FleetEvent[];
  let demanded: string[];
  let stopping: AbortController;
  let pool: string;
  let maxDrains: number;

  const methodsWith = (inner: Authorizer = new OpenAuthorizer()): readonly Method[] => {
    const times = { nowMs: () => clock.monotonicMs(), wallMs: (ms: number) => ms };
    return fleetMethods({
      ...{ view, ...times, clock, stopping: stopping.signal, instances: new InstanceNames([MAIN]) },
      snapshots: new FleetSnapshots({ view, ...times, title: (work) => work }),
      findOperation: async () => undefined,
      finishedOf: async () => [],
      apply: (event) => {
        applied.push(event);
        if (event.type !== 'drain' || !event.on || view.drains().length === maxDrains) return;
        const { pattern, reason = '', isTermination = false } = event;
        view.addDrain({ pattern, reason, isTermination, sinceMs: clock.monotonicMs() });
      },
      authorizer: {
        allows: (who, what: Permission, where) => {
          demanded.push(`${what} "${where}"`);
          return inner.allows(who, what, where);
        },
      },
    });
  };

  beforeEach(() => {
    view = new FakeSchedulerView();
    clock = new FakeClock();
    applied = [];
    demanded = [];
    stopping = new AbortController();
    pool = view.addPool({});
    maxDrains = 10;
  });

  /** The messages of a stream, one by one, as a transport pulls them. */
  function open<Req, Res>(
    methods: readonly Method[],
    [name, requestType, responseType]: readonly [
      string,
      { fromPartial(partial: object): Req; encode(message: Req): { finish(): Uint8Array } },
      { decode(bytes: Uint8Array): Res },
    ],
    request: object,
    caller = new AbortController(),
  ) {
    const found = methods.find(({ path }) => path.endsWith(`/${name}`));
    assert.ok(found?.kind === 'server-streaming');
    const bytes = requestType.encode(requestType.fromPartial(request)).finish();
    const messages = found.handle(bytes, fakeCall({ signal: caller.signal }))[Symbol.asyncIterator]();
    return {
      next: async (): Promise<Res | undefined> => {
        const { done, value } = await messages.next();
        return done === true ? undefined : responseType.decode(value);
      },
      close: () => messages.return?.(),
    };
  }

  const watch = (methods: readonly Method[], request: object = {}, caller?: AbortController) =>
    open(methods, ['WatchFleet', WatchFleetRequest, FleetSnapshot], request, caller);
  const terminate = (methods: readonly Method[], request: object, caller?: AbortController) =>
    open(methods, ['TerminateNodes', TerminateNodesRequest, TerminateNodesUpdate], request, caller);

  describe('ExplainOperation and ExplainAction', () => {
    it('explain to those who may operate under the instance name', async () => {
      view.addTask({ action: ACTION, instance: 'main', operations: ['main/operations/1'] });
      const explained = await callUnary(methodsWith(), explainOperation, { operation: 'main/operations/1' });
      assert.deepEqual([explained.state, explained.text], ['queued', 'In line.']);
      const { operations } = await callUnary(methodsWith(), explainAction, ON_MAIN);
      assert.deepEqual(operations, [explained]);
      assert.deepEqual(demanded, ['operate "main"', 'operate "main"']);
    });

    it('refuse what is none', async () => {
      const methods = methodsWith();
      await assert.rejects(callUnary(methods, explainOperation, {}), ofKind('invalid-argument'));
      await assert.rejects(callUnary(methods, explainOperation, { operation: 'x' }), ofKind('operation-not-found'));
      for (const request of [{ ...ON_MAIN, instanceName: 'other' }, { instanceName: 'main' }]) {
        await assert.rejects(callUnary(methods, explainAction, request), ofKind('invalid-argument'));
        await assert.rejects(callUnary(methods, releaseAction, request), ofKind('invalid-argument'));
      }
    });
  });

  describe('GetFleet', () => {
    it('gives a snapshot', async () => {
      view.addSlot({ pool });
      view.addSlot({ pool });
      const without = await callUnary(methodsWith(), getFleet, {});
      assert.deepEqual([without.counts?.slots, without.nodes], [2, []]);
      const { nodes } = await callUnary(methodsWith(), getFleet, { limit: 1, withNodes: true });
      assert.equal(nodes.length, 1);
      assert.deepEqual(demanded, ['operate ""', 'operate ""']);
      await assert.rejects(callUnary(methodsWith(), getFleet, { limit: -1 }), ofKind('invalid-argument'));
    });
  });

  describe('WatchFleet', () => {
    it('gives one every interval, and leaves nothing behind', async () => {
      const stream = watch(methodsWith(), { intervalMs: 2_000 });
      assert.equal((await stream.next())?.counts?.slots, 0);
      const second = stream.next();
      await turn();
      view.addSlot({ pool });
      clock.advance(1_999);
      assert.equal(clock.armed, 1);
      clock.advance(1);
      assert.equal((await second)?.counts?.slots, 1);
      await stream.close();
      assert.equal(clock.armed, 0);
    });

    it('does not go faster than twice a second', async () => {
      const stream = watch(methodsWith(), { intervalMs: 1 });
      await stream.next();
      const second = stream.next();
      await turn();
      clock.advance(499);
      assert.equal(clock.armed, 1);
      clock.advance(1);
      assert.ok(await second);
      await stream.close();
    });

    it('ends with its caller, and with the server', async () => {
      const methods = methodsWith();
      const caller = new AbortController();
      const left = watch(methods, {}, caller);
      const stayed = watch(methods);
      await left.next();
      await stayed.next();
      const nexts = [left.next(), stayed.next()];
      await turn();
      caller.abort(new ReapiError('cancelled', 'gone'));
      await assert.rejects(nexts[0] ?? Promise.resolve(), ofKind('cancelled'));
      stopping.abort(new ReapiError('unavailable', 'the server is stopping'));
      await assert.rejects(nexts[1] ?? Promise.resolve(), ofKind('unavailable'));
      assert.equal(clock.armed, 0);
    });

    it('has a limit of streams, and room again when one ends', async () => {
      const methods = methodsWith();
      const streams = Array.from({ length: MAX_FLEET_STREAMS }, () => watch(methods));
      for (const stream of streams) await stream.next();
      await assert.rejects(watch(methods).next(), ofKind('quota-exceeded'));
      await streams[0]?.close();
      const next = watch(methods);
      assert.ok(await next.next());
      for (const stream of [next, ...streams]) await stream.close();
    });
  });

  describe('DrainNodes and UndrainNodes', () => {
    const pattern = { labels: { host: 'a' } };

    beforeEach(() => {
      view.addSlot({ pool, node: 'a', labels: { host: 'a', thread: '0' }, task: view.addTask() });
      view.addSlot({ pool, node: 'b', labels: { host: 'b', thread: '0' } });
    });

    it('begin a drain, and say what it matches now', async () => {
      const { matching } = await callUnary(methodsWith(), drainNodes, { pattern, reason: 'kernel' });
      assert.deepEqual(matching, { nodes: 1, slots: 1, busySlots: 1, busyNodes: ['a'] });
      const event = { type: 'drain', pattern: { host: 'a' }, on: true, reason: 'kernel', isTermination: false };
      assert.deepEqual(applied, [event]);
      assert.deepEqual(demanded, ['admin ""']);
    });

    it('show in the next snapshot', async () => {
      const methods = methodsWith();
      assert.deepEqual((await callUnary(methods, getFleet, {})).drains, []);
      await callUnary(methods, drainNodes, { pattern });
      assert.equal((await callUnary(methods, getFleet, {})).drains.length, 1);
    });

    it('end a drain that is there', async () => {
      const methods = methodsWith();
      await assert.rejects(callUnary(methods, undrainNodes, { pattern }), {
        kind: 'not-found',
        message: 'there is no drain of exactly host=a',
      });
      view.addDrain({ pattern: { host: 'a' }, reason: '', isTermination: false, sinceMs: 0 });
      await callUnary(methods, undrainNodes, { pattern });
      assert.deepEqual(applied, [{ type: 'drain', pattern: { host: 'a' }, on: false }]);
    });

    it('drain everything only if that is meant', async () => {
      const methods = methodsWith();
      for (const method of [drainNodes, undrainNodes]) {
        await assert.rejects(callUnary(methods, method, {}), ofKind('invalid-argument'));
      }
      assert.deepEqual(applied, []);
      const { matching } = await callUnary(methods, drainNodes, { pattern: { everything: true } });
      assert.equal(matching?.slots, 2);
    });

    it('say that there are too many drains', async () => {
      maxDrains = 0;
      for (const [method, call] of [
        [drainNodes, callUnary(methodsWith(), drainNodes, { pattern })],
        [terminateNodes, callServerStreaming(methodsWith(), terminateNodes, { pattern })],
      ] as const) {
        await assert.rejects(call, ofKind('quota-exceeded'), method.name);
      }
    });

    it('refuse long reasons before anything happens', async () => {
      const call = callUnary(methodsWith(), drainNodes, { pattern, reason: 'x'.repeat(501) });
      await assert.rejects(call, ofKind('invalid-argument'));
      assert.deepEqual(applied, []);
    });
  });

  describe('TerminateNodes', () => {
    const pattern = { labels: { host: 'a' } };
    let busy: string[];

    beforeEach(() => {
      busy = ['0', '1'].map((thread) => {
        return view.addSlot({ pool, node: 'a', labels: { host: 'a', thread }, task: view.addTask() }).name;
      });
    });

    it('tells of it until nothing is held, by slots that go and by slots that stay', async () => {
      const stream = terminate(methodsWith(), { pattern, reason: 'smaller fleet', waitSeconds: 60 });
      const first = await stream.next();
      assert.deepEqual([first?.matching?.busySlots, first?.isDone], [2, false]);
      assert.equal(applied[0]?.type === 'drain' && applied[0].isTermination, true);
      const second = stream.next();
      await turn();
      clock.advance(500);
      await turn();
      view.removeSlot(busy[0] ?? '');
      clock.advance(500);
      assert.equal((await second)?.matching?.busySlots, 1);
      const third = stream.next();
      await turn();
      view.changeSlot(busy[1] ?? '', { hold: undefined });
      clock.advance(500);
      const last = await third;
      assert.deepEqual([last?.matching?.slots, last?.isDone], [1, true]);
      assert.equal(await stream.next(), undefined);
      assert.equal(clock.armed, 0);
    });

    it('ends at the end of the wait, not done', async () => {
      const stream = terminate(methodsWith(), { pattern, waitSeconds: 0.7 });
      await stream.next();
      const next = stream.next();
      await turn();
      clock.advance(500);
      await turn();
      clock.advance(200);
      assert.equal(await next, undefined);
    });

    it('does not wait unless it is told to, or if nothing is held', async () => {
      const methods = methodsWith();
      const updates = await callServerStreaming(methods, terminateNodes, { pattern });
      assert.deepEqual(
        updates.map(({ isDone }) => isDone),
        [false],
      );
      const other = { pattern: { labels: { host: 'b' } }, waitSeconds: 60 };
      const [only] = await callServerStreaming(methods, terminateNodes, other);
      assert.deepEqual([only?.isDone, only?.matching?.slots], [true, 0]);
    });

    it('stops waiting with its caller; the nodes terminate nevertheless', async () => {
      const caller = new AbortController();
      const stream = terminate(methodsWith(), { pattern, waitSeconds: 60 }, caller);
      await stream.next();
      const next = stream.next();
      await turn();
      caller.abort(new ReapiError('cancelled', 'gone'));
      await assert.rejects(next, ofKind('cancelled'));
      assert.equal(view.drains().length, 1);
    });

    it('refuses waits that are none', async () => {
      for (const waitSeconds of [-1, Number.NaN, 86_401]) {
        const call = callServerStreaming(methodsWith(), terminateNodes, { pattern, waitSeconds });
        await assert.rejects(call, ofKind('invalid-argument'));
      }
      assert.deepEqual(applied, []);
    });
  });

  describe('ForgiveNode and ReleaseAction', () => {
    it('end an isolation and a quarantine', async () => {
      view.addIsolated({ node: 'a', reason: '', sinceMs: 0 });
      view.addQuarantined({ key: { instance: MAIN, action: ACTION }, reason: '', untilMs: 0 });
      const methods = methodsWith();
      await callUnary(methods, forgiveNode, { node: 'a' });
      await callUnary(methods, releaseAction, ON_MAIN);
      assert.deepEqual(applied, [
        { type: 'forgive', node: 'a' },
        { type: 'release', key: { instance: MAIN, action: ACTION } },
      ]);
      assert.deepEqual(demanded, ['admin ""', 'admin "main"']);
    });

    it('say that there is none', async () => {
      const methods = methodsWith();
      await assert.rejects(callUnary(methods, forgiveNode, { node: 'b' }), ofKind('not-found'));
      await assert.rejects(callUnary(methods, releaseAction, ON_MAIN), ofKind('not-found'));
      assert.deepEqual(applied, []);
    });
  });

  it('ask before they do anything', async () => {
    view.addTask({ instance: 'main', operations: ['one'] });
    const methods = methodsWith({ allows: async () => false });
    for (const call of [
      () => callUnary(methods, explainOperation, { operation: 'one' }),
      () => callUnary(methods, explainAction, ON_MAIN),
      () => callUnary(methods, getFleet, {}),
      () => callServerStreaming(methods, watchFleet, {}),
      () => callUnary(methods, drainNodes, {}),
      () => callUnary(methods, undrainNodes, {}),
      () => callServerStreaming(methods, terminateNodes, {}),
      () => callUnary(methods, forgiveNode, {}),
      () => callUnary(methods, releaseAction, ON_MAIN),
    ]) {
      await assert.rejects(call, ofKind('denied'));
    }
    assert.deepEqual(applied, []);
  });

  it('let a read-only server be looked at and not be changed', async () => {
    const methods = methodsWith(new ReadOnlyAuthorizer(new OpenAuthorizer()));
    await callUnary(methods, getFleet, {});
    await assert.rejects(callUnary(methods, drainNodes, { pattern: { labels: { host: 'a' } } }), ofKind('denied'));
  });
});
