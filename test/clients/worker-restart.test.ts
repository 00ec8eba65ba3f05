import assert from 'node:assert/strict';
import { Gate, Journal } from './action-script.ts';
import { BAZEL, BazelProject, processCounts, remote } from './bazel.ts';
import type { Child } from './child.ts';
import { fleetOf, startDeclaredWorker } from './declared-worker.ts';
import { eventually } from './eventually.ts';
import { Gantry, stopEverything } from './gantry.ts';
import { type Execution, RemoteActions } from './remote-actions.ts';
import { requireTool } from './tools.ts';

const PROPERTIES = { OSFamily: 'linux', ISA: 'x86-64' };

describe('a server that is killed while a worker runs an action, and started again', () => {
  let server: Gantry;
  let actions: RemoteActions;
  let journal: Journal;
  let gate: Gate;

  beforeEach(async () => {
    journal = new Journal();
    gate = new Gate();
    server = await Gantry.start({ role: 'server' });
    actions = new RemoteActions(server.grpcAddress);
  });

  afterEach(async () => {
    actions.close();
    await stopEverything();
  });

  async function killAndStartAgain(): Promise<void> {
    await server.crash();
    server = await startServer(server);
  }

  /** The worker has said what it runs. */
  async function adopted(): Promise<void> {
    await eventually('the worker has come back', async () =>
      (await fleetOf(server)).counts.busySlots === 1 ? true : undefined,
    );
  }

  /** Starts a worker with two slots, and an action that runs until the gate opens. */
  async function begin(actions: RemoteActions): Promise<{ readonly worker: Child; readonly first: Execution }> {
    const worker = await startDeclaredWorker(server, { node: 'worker', properties: PROPERTIES, slots: 2 });
    const script = `${journal.write('began')}; ${gate.wait}; echo whole`;
    const execution = await (await actions.start(script, { properties: PROPERTIES })).executing();
    await eventually('the action runs', () => (journal.lines.length > 0 ? true : undefined));
    return { worker, first: execution };
  }

  async function expectWhole(execution: Execution): Promise<void> {
    const { status, result, message } = await execution.response();
    assert.equal(status?.code ?? 0, 0, status?.message);
    assert.equal(Buffer.from(result?.stdoutRaw ?? []).toString(), 'whole\n');
    assert.equal(message, '', 'no word of earlier attempts');
    assert.deepEqual(journal.lines, ['began']);
  }

  it('lets a client that asks again join the attempt that runs', async () => {
    const { first } = await begin(actions);
    await killAndStartAgain();
    await assert.rejects(first.response());
    await adopted();
    const second = await actions.execute(first.digest).executing();
    gate.open();
    await expectWhole(second);
  });

  it('does so also if the client is back before the worker', async () => {
    const { worker, first } = await begin(actions);
    worker.signal('SIGSTOP');
    await killAndStartAgain();
    const second = await actions.execute(first.digest).queued();
    worker.signal('SIGCONT');
    await second.executing();
    gate.open();
    await expectWhole(second);
  });

  it('keeps the result of an action that ended while nobody had asked for it again', async () => {
    const { first } = await begin(actions);
    await server.crash();
    gate.open();
    server = await startServer(server);
    await eventually('the worker has come back and has nothing more to say', async () => {
      const { counts } = await fleetOf(server);
      return counts.slots === 2 && counts.busySlots === 0 ? true : undefined;
    });
    await expectWhole(actions.execute(first.digest));
  });

  describe('under Bazel 4.2.3', () => {
    let project: BazelProject | undefined;

    before(function () {
      requireTool(this, 'Bazel', BAZEL);
    });

    afterEach(async () => {
      await project?.shutdown();
    });

    it('lets a build go on, and its slow action does not run twice', async () => {
      const script = `${journal.write('began')}; ${gate.wait}; echo whole > $@`;
      project = BazelProject.withPackage(`genrule(name = "slow", outs = ["slow.txt"], cmd = "${script}")\n`);
      await startDeclaredWorker(server, { node: 'worker', properties: PROPERTIES });
      const build = project.start('build', remote(server.url, '--remote_retries=12', '//own:slow'));
      await eventually('the action runs', () => (journal.lines.length > 0 ? true : undefined), 1200);
      await killAndStartAgain();
      await eventually('the build has asked for it again', async () => {
        const { counts } = await fleetOf(server);
        return counts.operations === 1 && counts.busySlots === 1 ? true : undefined;
      });
      gate.open();
      const { exitCode, output } = await build.end();
      assert.equal(exitCode, 0, output);
      assert.equal(processCounts(output).remote, 1, output);
      assert.deepEqual(journal.lines, ['began']);
    });
  });
});

/** On the folder and the port of a former one. */
function startServer({ data, grpcAddress }: Gantry): Promise<Gantry> {
  return Gantry.start({ role: 'server', data, listen: grpcAddress });
}
