import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { LinuxProbe } from './machine-probe.ts';

describe('LinuxProbe', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'machine-probe-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  function write(path: string, text: string): void {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  const probe = (): LinuxProbe => new LinuxProbe({ proc: join(folder, 'proc'), cgroup: join(folder, 'cgroup') });

  it('reads the counter of its cgroup, version 2', () => {
    write('proc/self/cgroup', '0::/build/worker\n');
    write('proc/vmstat', 'oom_kill 99\n');
    write('cgroup/build/worker/memory.events', 'low 0\nhigh 0\nmax 7\noom 5\noom_kill 3\noom_group_kill 2\n');
    const linux = probe();
    assert.equal(linux.countsOwnOnly, true);
    assert.equal(linux.memoryKills(), 3);
    write('cgroup/build/worker/memory.events', 'oom_kill 4\n');
    assert.equal(linux.memoryKills(), 4);
  });

  it('reads the counter of a container, whose cgroup is the root it sees', () => {
    write('proc/self/cgroup', '0::/\n');
    write('cgroup/memory.events', 'oom_kill 1\n');
    assert.equal(probe().memoryKills(), 1);
    assert.equal(probe().countsOwnOnly, true);
  });

  it('reads the counter of its cgroup, version 1', () => {
    write('proc/self/cgroup', '5:cpu,memory:/a\n0::/\n');
    write('cgroup/memory/a/memory.oom_control', 'oom_kill_disable 0\nunder_oom 0\noom_kill 6\n');
    assert.equal(probe().memoryKills(), 6);
    assert.equal(probe().countsOwnOnly, true);
  });

  it('reads the counter of the machine when its cgroup tells nothing', () => {
    write('proc/self/cgroup', '0::/\n');
    write('proc/vmstat', 'nr_free_pages 1\noom_kill 8\ndrop_pagecache 0\n');
    assert.equal(probe().memoryKills(), 8);
    assert.equal(probe().countsOwnOnly, false);
  });

  it('counts nothing where nothing is known', () => {
    assert.equal(probe().memoryKills(), 0);
    assert.equal(probe().countsOwnOnly, false);
  });

  it('finds room on the disk of this machine, and takes a folder that is gone for no proof', () => {
    assert.equal(new LinuxProbe().isDiskFull(folder), false);
    assert.equal(new LinuxProbe().isDiskFull(join(folder, 'gone')), false);
  });
});
