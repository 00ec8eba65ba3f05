import assert from 'node:assert/strict';
import { BAZEL, BazelProject, processCounts, remote } from './bazel.ts';
import { Gantry, stopEverything } from './gantry.ts';
import { requireTool } from './tools.ts';

describe('Bazel 4.2.3 builds the example', () => {
  let project: BazelProject;

  before(function () {
    requireTool(this, 'Bazel', BAZEL);
    project = BazelProject.example();
  });

  after(async () => {
    await project?.shutdown();
    await stopEverything();
  });

  it('remotely, and the second time every action is a cache hit', async () => {
    const gantry = await Gantry.start();
    const first = await project.run('test', remote(gantry.url, '//...'));
    assert.equal(first.exitCode, 0, first.output);
    const counts = processCounts(first.output);
    assert.ok(counts.remote >= 30, first.output);
    assert.equal(counts.local, 0, first.output);

    await project.run('clean', []);
    const second = await project.run('test', remote(gantry.url, '//...'));
    assert.equal(second.exitCode, 0, second.output);
    const { remote: ran, local, 'remote cache hit': hits } = processCounts(second.output);
    assert.deepEqual({ ran, local, hits }, { ran: 0, local: 0, hits: counts.remote + counts['remote cache hit'] });
    await gantry.stop();
  });

  it('with the cache alone: what one build uploads, the next finds', async () => {
    const gantry = await Gantry.start({ flags: ['--embedded-worker=false'] });
    const cache = ['--symlink_prefix=/', `--remote_cache=${gantry.url}`, '//...'];
    await project.run('clean', []);
    const first = await project.run('test', cache);
    assert.equal(first.exitCode, 0, first.output);
    assert.equal(processCounts(first.output)['remote cache hit'], 0, first.output);
    await project.run('clean', []);
    const second = await project.run('test', cache);
    assert.equal(second.exitCode, 0, second.output);
    const { local, 'remote cache hit': hits } = processCounts(second.output);
    assert.equal(local, 0, second.output);
    assert.ok(hits >= 30, second.output);
    await gantry.stop();
  });

  it('without downloading what it does not need', async () => {
    const gantry = await Gantry.start();
    await project.run('clean', []);
    // Bazel 4.2.3 refuses links in outputs with this flag.
    const minimal = remote(gantry.url, '--experimental_inmemory_dotd_files', '--remote_download_minimal', '--');
    const { exitCode, output } = await project.run('test', [...minimal, '//...', '-//links/...']);
    assert.equal(exitCode, 0, output);
    assert.equal(processCounts(output).local, 0, output);
    await gantry.stop();
  });

  it('under an instance name of several segments, which shares no results with others', async () => {
    const gantry = await Gantry.start();
    await project.run('clean', []);
    const named = await project.run('build', remote(gantry.url, '--remote_instance_name=main/sub', '//words/...'));
    assert.equal(named.exitCode, 0, named.output);
    const ran = processCounts(named.output).remote;
    assert.ok(ran > 10, named.output);
    await project.run('clean', []);
    const other = await project.run('build', remote(gantry.url, '--remote_instance_name=other', '//words/...'));
    assert.equal(other.exitCode, 0, other.output);
    assert.equal(processCounts(other.output).remote, ran, other.output);
    await gantry.stop();
  });

  it('from a server that only gives; a client that means to upload is told', async () => {
    const filler = await Gantry.start({ flags: ['--embedded-worker=false'] });
    await project.run('clean', []);
    const filled = await project.run('build', ['--symlink_prefix=/', `--remote_cache=${filler.url}`, '//words/...']);
    assert.equal(filled.exitCode, 0, filled.output);
    await filler.stop();

    const giver = await Gantry.start({ data: filler.data, flags: ['--read-only'] });
    await project.run('clean', []);
    const cache = ['--symlink_prefix=/', `--remote_cache=${giver.url}`];
    const uploading = await project.run('build', [...cache, '//words/...']);
    assert.notEqual(uploading.exitCode, 0, uploading.output);
    assert.match(uploading.output, /not authorized to write/);
    const reading = await project.run('build', [...cache, '--noremote_upload_local_results', '//words/...']);
    assert.equal(reading.exitCode, 0, reading.output);
    assert.equal(processCounts(reading.output).local, 0, reading.output);
    await giver.stop();
  });
});
