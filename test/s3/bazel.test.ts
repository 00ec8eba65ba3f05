import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { BAZEL, BazelProject, processCounts, remote } from '../clients/bazel.ts';
import { commandLineOf, processesWith } from '../clients/child.ts';
import { eventually } from '../clients/eventually.ts';
import { Gantry, stopEverything, temporaryFolder } from '../clients/gantry.ts';
import { requireTool } from '../clients/tools.ts';
import { Minio, requireMinio } from '../support/minio.ts';
import { S3World } from './s3-world.ts';

/** Bazel uploads one small thing after the other: packs need not wait for company here. */
const QUICK = { s3: { maxSmallPacksPerSecond: 20 } };

/** How long S3 is away while Bazel builds. */
const OUTAGE_MS = 20_000;

describe('Bazel 4.2.3 with a server whose store is S3', () => {
  let minio: Minio;
  let world: S3World;
  let project: BazelProject | undefined;

  before(async function () {
    requireTool(this, 'Bazel', BAZEL);
    requireMinio(this);
    minio = await Minio.start(temporaryFolder());
  });
  beforeEach(async () => {
    world = await S3World.start(minio);
  });
  afterEach(async () => {
    await project?.shutdown();
    await world?.stop();
  });
  after(async () => {
    await minio?.kill();
    await stopEverything();
  });

  it('builds on one machine, and all is a cache hit on a new one over the same bucket', async () => {
    project = BazelProject.example();
    const first = await Gantry.start({ config: world.config(QUICK) });
    const built = await project.run('test', remote(first.url, '//...'));
    assert.equal(built.exitCode, 0, built.output);
    const counts = processCounts(built.output);
    assert.ok(counts.remote >= 30, built.output);
    await first.crash();

    await project.run('clean', []);
    const second = await Gantry.start({ role: 'server', config: world.config(QUICK) });
    const again = await project.run('test', remote(second.url, '//...'));
    assert.equal(again.exitCode, 0, again.output);
    const { remote: ran, local, 'remote cache hit': hits } = processCounts(again.output);
    assert.deepEqual({ ran, local, hits }, { ran: 0, local: 0, hits: counts.remote + counts['remote cache hit'] });
    await second.stop();
  });

  it('builds though S3 is stopped for 20 seconds in the middle', async () => {
    const marker = `marker${randomBytes(8).toString('hex')}`;
    const script = `sh -c 'sleep 2; : ${marker}'; echo done > $@`;
    project = BazelProject.withPackage(`genrule(name = "slow", outs = ["slow.txt"], cmd = "${script}")\n`);
    const gantry = await Gantry.start({ config: world.config(QUICK) });
    const build = project.start('build', remote(gantry.url, '//own:slow', '//words/...', '//greeting/...'));
    await eventually('the action runs', () =>
      processesWith(marker).find((pid) => commandLineOf(pid).startsWith('sh -c sleep')),
    );
    await minio.kill();
    // The outage itself is what is tried here: there is no condition to wait for.
    await delay(OUTAGE_MS);
    assert.doesNotMatch(build.output, /Build completed/);
    await minio.restart();
    const { exitCode, output } = await build.end();
    assert.equal(exitCode, 0, output);
    assert.equal(processCounts(output).local, 0, output);
    await gantry.stop();
  });
});
