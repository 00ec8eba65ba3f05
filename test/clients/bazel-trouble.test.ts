import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { BAZEL, BazelProject, processCounts, remote } from './bazel.ts';
import { commandLineOf, killProcess, processesWith } from './child.ts';
import { eventually } from './eventually.ts';
import { Gantry, startWorker, stopEverything } from './gantry.ts';
import { requireTool } from './tools.ts';

/** A word that is in the command line of one action only. */
function freshMarker(): string {
  return `marker${randomBytes(8).toString('hex')}`;
}

/** One genrule that sleeps under a name that can be looked for. */
function sleeper(seconds: number, marker: string): string {
  const script = `sh -c 'sleep ${seconds}; : ${marker}'; echo done > $@`;
  return `genrule(name = "slow", outs = ["slow.txt"], cmd = "${script}")\n`;
}

/** Waits until the action with this marker runs; Bazel, which has it in its command line too, does not count. */
async function runningAction(marker: string): Promise<number> {
  return await eventually('the action runs', () =>
    processesWith(marker).find((pid) => commandLineOf(pid).startsWith('sh -c sleep')),
  );
}

describe('Bazel 4.2.3 in trouble', () => {
  let project: BazelProject | undefined;

  before(function () {
    requireTool(this, 'Bazel', BAZEL);
  });

  afterEach(async () => {
    await project?.shutdown();
    await stopEverything();
  });

  it('builds though its worker is killed in the middle', async () => {
    const marker = freshMarker();
    project = BazelProject.withPackage(sleeper(4, marker));
    const gantry = await Gantry.start();
    const build = project.start('build', remote(gantry.url, '//own:slow', '//words/...'));
    await runningAction(marker);
    const before = await gantry.workerPid();
    killProcess(before);
    const { exitCode, output } = await build.end();
    assert.equal(exitCode, 0, output);
    assert.equal(processCounts(output).local, 0, output);
    assert.notEqual(await gantry.workerPid(), before);
  });

  for (const [how, bringDown] of [
    ['stopped', (gantry: Gantry) => gantry.stop()],
    ['crashes', (gantry: Gantry) => gantry.crash()],
  ] as const) {
    it(`builds though the server ${how} in the middle and is started again`, async () => {
      const marker = freshMarker();
      project = BazelProject.withPackage(sleeper(4, marker));
      const config = { stop: { graceSeconds: 0 } };
      const gantry = await Gantry.start({ config });
      // Five retries, the default, last about three seconds: enough for a restart, but not on any machine however busy.
      const build = project.start('build', remote(gantry.url, '--remote_retries=12', '//own:slow', '//words/...'));
      await runningAction(marker);
      await bringDown(gantry);
      await Gantry.start({ config, data: gantry.data, listen: gantry.grpcAddress });
      const { exitCode, output } = await build.end();
      assert.equal(exitCode, 0, output);
      assert.equal(processCounts(output).local, 0, output);
    });
  }

  it('is told which property no worker has', async () => {
    project = BazelProject.example();
    const gantry = await Gantry.start({ config: { execution: { platform: { graceSeconds: 0 } } } });
    const wish = ['--remote_default_exec_properties=gpu=h100', '//words:anchor'];
    const { exitCode, output } = await project.run('build', remote(gantry.url, ...wish));
    assert.notEqual(exitCode, 0, output);
    assert.match(output, /Failed Precondition: [^\n]*gpu[^\n]*h100/);
  });

  it('leaves no action running after Ctrl-C', async () => {
    const marker = freshMarker();
    project = BazelProject.withPackage(sleeper(600, marker));
    const gantry = await Gantry.start({ config: { execution: { abandonAfterSeconds: 2 } } });
    const build = project.start('build', remote(gantry.url, '//own:slow'));
    await runningAction(marker);
    build.signal('SIGINT');
    await build.end();
    const running = () => processesWith(marker).filter((pid) => commandLineOf(pid).startsWith('sh -c sleep'));
    try {
      await eventually('the action is gone', () => (running().length === 0 ? true : undefined));
    } finally {
      for (const pid of running()) killProcess(pid);
    }
  });

  it('is told that a file is larger than the whole store, and does not hang', async () => {
    project = BazelProject.withPackage(
      'genrule(name = "huge", outs = ["huge.bin"], cmd = "head -c 80000000 /dev/urandom > $@")\n',
    );
    const gantry = await Gantry.start({ flags: ['--max-size=64MiB'] });
    const { exitCode, output } = await project.run('build', remote(gantry.url, '--remote_retries=1', '//own:huge'));
    assert.notEqual(exitCode, 0, output);
    assert.match(output, /80000000 bytes are more than the store may promise/);
  });

  it('is told that the files of a build are larger than the store, and does not hang', async () => {
    const rules = Array.from(
      { length: 10 },
      (_, index) =>
        `genrule(name = "part${index}", outs = ["part${index}.bin"], cmd = "head -c 12000000 /dev/urandom > $@")\n`,
    );
    project = BazelProject.withPackage(rules.join(''));
    const gantry = await Gantry.start({ flags: ['--max-size=64MiB'] });
    const { exitCode, output } = await project.run('build', remote(gantry.url, '--remote_retries=1', '//own/...'));
    assert.notEqual(exitCode, 0, output);
    assert.match(output, /Resource Exhausted|RESOURCE_EXHAUSTED/);
  });

  it('has its actions run by the worker whose platform they ask for', async () => {
    project = BazelProject.withPackage(
      ['linux', 'freebsd']
        .map(
          (system) =>
            `genrule(name = "${system}", outs = ["${system}.txt"], cmd = "echo ${system} > $@", ` +
            `exec_properties = {"OSFamily": "${system}"})\n`,
        )
        .join(''),
    );
    const gantry = await Gantry.start({ role: 'server' });
    await startWorker(gantry, ['--platform', 'OSFamily=linux']);
    const first = await project.run('build', remote(gantry.url, '//own:linux'));
    assert.equal(first.exitCode, 0, first.output);
    // Within the start-up grace the other action waits for its worker, though one is idle.
    const options = remote(gantry.url, '--show_progress_rate_limit=0', '//own:freebsd');
    const second = project.start('build', options);
    await second.outputMatching(/\[Sched\] Executing genrule \/\/own:freebsd; \d+s/);
    assert.doesNotMatch(second.output, /Build completed/);
    await startWorker(gantry, ['--platform', 'OSFamily=freebsd', '--platform', 'ISA=arm-a64']);
    const { exitCode, output } = await second.end();
    assert.equal(exitCode, 0, output);
    assert.equal(processCounts(output).remote, 1, output);
  });
});
