import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BAZEL, BazelProject, processCounts, remote } from './bazel.ts';
import { Gantry, stopEverything } from './gantry.ts';
import { requireTool } from './tools.ts';

/**
 * 6 MB in 2,000 files of 50 folders: more small files than one batch call may hold. A remote action has to make its
 * output directory itself (R-CM-20).
 */
const TREE_RULE = `
def _tree(ctx):
    out = ctx.actions.declare_directory(ctx.label.name)
    script = "mkdir -p %s/d{0..49}; cd %s; for i in {1..2000}; do printf %%3000d $i > d$((i %% 50))/f$i; done"
    ctx.actions.run_shell(outputs = [out], command = script % (out.path, out.path))
    return [DefaultInfo(files = depset([out]))]
tree = rule(implementation = _tree)
`;

const BUILD_FILE = `
load(":tree.bzl", "tree")
tree(name = "tree")
genrule(
    name = "count",
    srcs = [":tree"],
    outs = ["count.txt"],
    cmd = "cat $$(find -L $(SRCS) -type f) | wc -c > $@",
)
genrule(name = "large", outs = ["large.bin"], cmd = "head -c 200000000 /dev/zero > $@")
genrule(name = "size", srcs = [":large"], outs = ["size.txt"], cmd = "wc -c < $< > $@")
sh_test(name = "failing", srcs = ["failing.sh"])
`;

describe('Bazel 4.2.3 with much or unusual', () => {
  let project: BazelProject;

  before(function () {
    requireTool(this, 'Bazel', BAZEL);
    project = BazelProject.withPackage(BUILD_FILE);
    writeFileSync(join(project.folder, 'own/tree.bzl'), TREE_RULE);
    writeFileSync(join(project.folder, 'own/failing.sh'), '#!/bin/sh\necho what went wrong\nexit 3\n', { mode: 0o755 });
  });

  after(async () => {
    await project?.shutdown();
    await stopEverything();
  });

  it('builds a directory of 2,000 files and a file of 200 MB, and what needs them', async () => {
    const gantry = await Gantry.start();
    const args = remote(gantry.url, '--remote_download_toplevel', '--symlink_prefix=out-', '//own:count', '//own:size');
    const { exitCode, output } = await project.run('build', args);
    assert.equal(exitCode, 0, output);
    assert.equal(processCounts(output).local, 0, output);
    assert.equal(readFileSync(join(project.folder, 'out-bin/own/count.txt'), 'utf8').trim(), '6000000');
    assert.equal(readFileSync(join(project.folder, 'out-bin/own/size.txt'), 'utf8').trim(), '200000000');
  });

  it('shows the log of a test that failed remotely, though it downloads nothing else', async () => {
    const gantry = await Gantry.start();
    const { exitCode, output } = await project.run(
      'test',
      remote(gantry.url, '--remote_download_minimal', '//own:failing'),
    );
    assert.equal(exitCode, 3, output);
    assert.match(output, /what went wrong/);
  });

  it('gives a remote build what a build on the machine itself uploaded', async () => {
    const gantry = await Gantry.start({ flags: ['--embedded-worker=false'] });
    const local = ['--spawn_strategy=local', '--remote_executor=', `--remote_cache=${gantry.url}`];
    await project.run('clean', []);
    const first = await project.run('build', ['--config=remote', '--symlink_prefix=/', ...local, '//own:count']);
    assert.equal(first.exitCode, 0, first.output);
    await project.run('clean', []);
    const second = await project.run('build', remote(gantry.url, '//own:count'));
    assert.equal(second.exitCode, 0, second.output);
    assert.deepEqual(processCounts(second.output), { internal: 1, remote: 0, 'remote cache hit': 2, local: 0 });
  });
});
