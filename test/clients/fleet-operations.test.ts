import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  ExecuteOperationMetadata,
  type ExecuteResponse,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { OperationAttempts } from '../../src/gen/gantry/v1/operation_record.ts';
import {
  GetOperationRequest,
  ListOperationsRequest,
  type Operation,
  OperationsDefinition,
} from '../../src/gen/google/longrunning/operations.ts';
import { Code } from '../../src/gen/google/rpc/code.ts';
import {
  AddOrRemoveDrainRequest,
  BuildQueueStateDefinition,
  ListWorkersRequest,
  TerminateWorkersRequest,
} from '../../src/gen/pkg/proto/buildqueuestate/buildqueuestate.ts';
import { Gate } from './action-script.ts';
import type { Child } from './child.ts';
import { fleetOf, startDeclaredWorker } from './declared-worker.ts';
import { eventually } from './eventually.ts';
import { Gantry, gantryCommand, startGantryCommand, stopEverything, temporaryFolder } from './gantry.ts';
import { type ActionOptions, type Execution, propertyList, RemoteActions } from './remote-actions.ts';
import { WireWorker } from './wire-worker.ts';

/** One fault isolates a machine, and one lost worker is enough for the quarantine. */
const CONFIG = { execution: { retries: { quarantineAfter: 1 }, isolation: { faultsInARow: 1 } } };

const PROPERTIES = { OSFamily: 'linux', ISA: 'x86-64' };

describe('operating a fleet', () => {
  let server: Gantry;
  let actions: RemoteActions;
  let steady: Child;
  let steadyFolder: string;
  /** Two attempts, the first of which ended by a fault of the worker. */
  let retried: string;

  before(async () => {
    steadyFolder = join(temporaryFolder(), 'worker');
    server = await Gantry.start({ role: 'server', config: CONFIG });
    actions = new RemoteActions(server.grpcAddress);
    steady = await startSteady();
  });

  after(async () => {
    actions?.close();
    await stopEverything();
  });

  function startSteady(): Promise<Child> {
    return startDeclaredWorker(server, { node: 'steady', properties: PROPERTIES, data: steadyFolder });
  }

  /** Runs a command to its end and gives what it printed. @throws if it fails. */
  async function operate(...args: readonly string[]): Promise<string> {
    const { exitCode, output } = await gantryCommand(...args, '--server', server.grpcAddress);
    assert.equal(exitCode, 0, output);
    return output;
  }

  /** Keeps the slot of a worker busy until the gate opens. */
  async function occupy(options: ActionOptions = {}): Promise<{ readonly gate: Gate; readonly execution: Execution }> {
    const gate = new Gate();
    const execution = await actions.start(gate.wait, { properties: PROPERTIES, ...options });
    return { gate, execution: await execution.executing() };
  }

  it('tells by operation and by action why it waits, and what it does once it runs', async () => {
    const { gate, execution } = await occupy({ invocation: 'the-one-before' });
    const waiting = await (await actions.start('true', { properties: PROPERTIES })).queued();
    const name = await waiting.name();
    const why = await operate('why', name);
    assert.match(why, new RegExp(`Operation ${name}: queued`));
    assert.match(why, /busy/);
    assert.match(await operate('why', waiting.action), new RegExp(`Operation ${name}: queued`));
    const json = JSON.parse(await operate('why', '--json', await execution.name()));
    assert.equal(json.state, 'executing');
    assert.equal(json.attempts[0].how, 'running');
    assert.match(json.attempts[0].node, /node=steady/);
    const explained = await fetch(`http://${server.httpAddress}/api/v1/explain?operation=${encodeURIComponent(name)}`);
    const { state, rank, blocks } = (await explained.json()) as {
      state: string;
      rank: number;
      blocks: { kind: string }[];
    };
    assert.deepEqual(
      { state, rank, kinds: blocks.map(({ kind }) => kind) },
      { state: 'queued', rank: 1, kinds: ['all-busy'] },
    );
    gate.open();
    assert.equal(await waiting.worker(), 'steady');
    assert.match(await operate('why', name), /finished/);
  });

  it('says that it knows nothing of an operation or action that it does not know', async () => {
    const absent = `${'0'.repeat(64)}/1`;
    const { exitCode, output } = await gantryCommand('why', absent, '--server', server.grpcAddress);
    assert.equal(exitCode, 1, output);
    const response = await fetch(`http://${server.httpAddress}/api/v1/explain?operation=operations/none`);
    assert.equal(response.status, 404, await response.text());
  });

  it('shows pools, what runs and what waits: in the terminal and over HTTP', async () => {
    const { gate, execution } = await occupy({ invocation: 'visible' });
    const waiting = await (await actions.start('true', { properties: PROPERTIES })).queued();
    const shown = await eventually('both are in the view', async () => {
      const text = await operate('top', '--once');
      return / 1 queued, 1 running/.test(text) ? text : undefined;
    });
    assert.match(shown, new RegExp(execution.digest.hash.slice(0, 12)));
    assert.match(shown, /visible/);
    const { slots, busySlots, queuedTasks } = (await fleetOf(server)).counts;
    assert.deepEqual({ slots, busySlots, queuedTasks }, { slots: 1, busySlots: 1, queuedTasks: 1 });
    const list = await operate('fleet', 'list');
    assert.match(list, /node=steady.* 1 .*open/);
    gate.open();
    await waiting.worker();
  });

  it('drains a node: its action ends, the next one waits and says for what, until the drain is over', async () => {
    const { gate, execution } = await occupy();
    assert.match(await operate('fleet', 'drain', 'node=steady', '--reason', 'new disk'), /1 slot on 1 node/);
    gate.open();
    assert.equal(await execution.worker(), 'steady');
    const waiting = await (await actions.start('true', { properties: PROPERTIES })).queued();
    assert.match(await operate('why', await waiting.name()), /new disk/);
    assert.match(await operate('fleet', 'list'), /drained[\s\S]*new disk/);
    await operate('fleet', 'undrain', 'node=steady');
    assert.equal(await waiting.worker(), 'steady');
  });

  it('terminates a worker: its action ends, then its process with exit code 0, then the command', async () => {
    const properties = { OSFamily: 'linux', ISA: 'arm-a64' };
    const leaver = await startDeclaredWorker(server, { node: 'leaver', properties });
    const { gate, execution } = await occupy({ properties });
    const command = startGantryCommand('fleet', 'terminate', 'node=leaver', '--server', server.grpcAddress);
    await command.outputMatching(/1 slot on 1 node, 1 of them busy/);
    gate.open();
    assert.equal(await execution.worker(), 'leaver');
    const [ended, { exitCode, output }] = await Promise.all([leaver.end(), command.end()]);
    assert.equal(ended.exitCode, 0, ended.output);
    assert.equal(exitCode, 0, output);
    assert.match(output, /holds an action any more/);
    assert.doesNotMatch(await operate('fleet', 'list'), /NODE[\s\S]*node=leaver,/, 'it has gone');
    await operate('fleet', 'undrain', 'node=leaver');
  });

  it('isolates a machine that fails by itself and tries its action elsewhere; forgiven, it gets work again', async () => {
    let isBroken = true;
    const fault = { status: { code: Code.INTERNAL, message: 'the disk is on fire' } };
    const fine = { result: { exitCode: 0, executionMetadata: { worker: 'shaky/0' } } };
    // Busy before the other one comes: the next action can only go there.
    const { gate, execution } = await occupy();
    const shaky = new WireWorker(server.grpcAddress, {
      ...{ node: 'shaky', offers: [propertyList(PROPERTIES)] },
      respond: () => (isBroken ? fault : fine),
    });
    try {
      const unlucky = await actions.start('true', { properties: PROPERTIES });
      const list = await eventually('it is isolated', async () => {
        const text = await operate('fleet', 'list');
        return /isolated/i.test(text) ? text : undefined;
      });
      assert.match(list, /node=shaky.*isolated/);
      gate.open();
      await execution.worker();
      assert.equal(await unlucky.worker(), 'steady');
      retried = await unlucky.name();
      assert.match((await unlucky.response()).message, /the disk is on fire/);

      const again = await occupy();
      const waiting = await (await actions.start('true', { properties: PROPERTIES })).queued();
      isBroken = false;
      await operate('fleet', 'forgive', 'node=shaky,worker=wire');
      assert.equal(await waiting.worker(), 'shaky');
      again.gate.open();
      await again.execution.worker();
    } finally {
      await shaky.stop();
    }
    await eventually('it is gone', async () => ((await fleetOf(server)).counts.slots === 1 ? true : undefined));
  });

  it('refuses an action that took down its worker, until an operator releases it', async () => {
    const trap = join(temporaryFolder(), 'pid');
    writeFileSync(trap, String(steady.pid));
    // The worker reports that the action runs within a tenth of a second.
    const script = `if [ -e ${trap} ]; then sleep 1; kill -9 $(cat ${trap}); sleep 60; fi`;
    const evil = await actions.start(script, { properties: PROPERTIES });
    await steady.end();
    rmSync(trap);
    steady = await startSteady();
    const isRefused = ({ status }: ExecuteResponse): void => {
      assert.equal(status?.code, Code.FAILED_PRECONDITION, status?.message);
      assert.match(status?.message ?? '', /quarantined.*node=steady/);
    };
    isRefused(await evil.response());
    isRefused(await actions.execute(evil.digest).response());
    assert.match(await operate('fleet', 'list'), new RegExp(`QUARANTINED[\\s\\S]*${evil.action}`));
    await operate('fleet', 'release', evil.action);
    assert.equal(await actions.execute(evil.digest).worker(), 'steady');
  });

  it('speaks BuildQueueState: lists queues and workers, drains one, terminates one', async () => {
    const { methods } = BuildQueueStateDefinition;
    const properties = { OSFamily: 'linux', ISA: 'rv64g' };
    const leaver = await startDeclaredWorker(server, { node: 'browser', properties });
    const { platformQueues } = await actions.call(BuildQueueStateDefinition, methods.listPlatformQueues, {});
    const queue = platformQueues.find(({ name }) => name?.platform?.properties.some(({ value }) => value === 'rv64g'));
    assert.equal(queue?.sizeClassQueues[0]?.workersCount, 1);
    const sizeClassQueueName = { platformQueueName: queue.name, sizeClass: 0 };
    const workers = async () => {
      const filter = { type: { $case: 'all' as const, value: sizeClassQueueName } };
      const request = ListWorkersRequest.fromPartial({ filter, pageSize: 10 });
      return (await actions.call(BuildQueueStateDefinition, methods.listWorkers, request)).workers;
    };
    const { gate, execution } = await occupy({ properties });
    const [busy] = await workers();
    assert.equal(busy?.id['node'], 'browser');
    assert.equal(busy?.currentOperation?.name, await execution.name());
    assert.equal(busy?.drained, false);

    const drain = AddOrRemoveDrainRequest.fromPartial({ sizeClassQueueName, workerIdPattern: { node: 'browser' } });
    await actions.call(BuildQueueStateDefinition, methods.addDrain, drain);
    assert.equal((await workers())[0]?.drained, true);
    gate.open();
    await execution.worker();
    const waiting = await (await actions.start('true', { properties })).queued();
    await actions.call(BuildQueueStateDefinition, methods.removeDrain, drain);
    assert.equal(await waiting.worker(), 'browser');

    const request = TerminateWorkersRequest.fromPartial({ workerIdPattern: { node: 'browser' } });
    await actions.call(BuildQueueStateDefinition, methods.terminateWorkers, request);
    const drainsAre = (count: number) =>
      eventually(`${count} drains`, async () => ((await fleetOf(server)).drains?.length === count ? true : undefined));
    await drainsAre(1);
    const { exitCode, output } = await leaver.end();
    assert.equal(exitCode, 0, output);
    // A machine that comes back under the same name gets work again.
    await drainsAre(0);
  });

  it('lists operations by filter, and gives finished ones with their attempts after a restart (R-OP-03)', async () => {
    const { methods } = OperationsDefinition;
    const { gate, execution } = await occupy({ invocation: 'wanted' });
    const waiting = await (await actions.start('true', { properties: PROPERTIES, invocation: 'wanted' })).queued();
    const named = async (filter: string): Promise<readonly string[]> => {
      const request = ListOperationsRequest.fromPartial({ name: 'operations', filter });
      return (await actions.call(OperationsDefinition, methods.listOperations, request)).operations.map(
        ({ name }) => name,
      );
    };
    const [runs, waits] = [await execution.name(), await waiting.name()];
    assert.deepEqual(await named('invocation=wanted AND stage=EXECUTING'), [runs]);
    assert.deepEqual(await named('invocation=wanted AND stage=QUEUED'), [waits]);
    gate.open();
    await waiting.worker();
    assert.deepEqual((await named('invocation=wanted AND done=true')).toSorted(), [runs, waits].toSorted());

    await server.stop();
    server = await Gantry.start({ role: 'server', config: CONFIG, data: server.data, listen: server.grpcAddress });
    const get = (name: string): Promise<Operation> =>
      actions.call(OperationsDefinition, methods.getOperation, GetOperationRequest.fromPartial({ name }));
    assert.equal((await get(waits)).done, true);
    assert.deepEqual(endsOf(await get(retried)), ['worker-fault', 'success']);
    assert.match(await operate('why', retried), /worker-fault[\s\S]*the disk is on fire/);
  });
});

function endsOf({ metadata }: Operation): readonly string[] {
  const { partialExecutionMetadata } = ExecuteOperationMetadata.decode(metadata?.value ?? new Uint8Array());
  const packed = partialExecutionMetadata?.auxiliaryMetadata.find(({ typeUrl }) =>
    typeUrl.endsWith('OperationAttempts'),
  );
  return OperationAttempts.decode(packed?.value ?? new Uint8Array()).attempts.map(({ end }) => end);
}
