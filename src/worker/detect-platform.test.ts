import assert from 'node:assert/strict';
import { detectPlatform, type Machine, thisMachine } from './detect-platform.ts';

describe('detectPlatform', () => {
  const linux: Machine = {
    os: 'linux',
    arch: 'x64',
    cpus: 8,
    memoryBytes: 16 * 2 ** 30 + 4096,
    cpuInfo: 'processor\t: 0\nflags\t\t: fpu sse4_1 sse4_2 avx avx2 avx512f bmi\n',
    libc: 'glibc',
  };
  const shown = (machine: Machine, extra: Parameters<typeof detectPlatform>[1] = []): string[] =>
    detectPlatform(machine, extra).map(({ name, value }) => `${name}=${value}`);

  it('names an x86-64 machine with its extensions, sorted by name and value (R-PL-05, R-BB-17)', () => {
    assert.deepEqual(shown(linux), [
      'ISA=x86-64',
      'ISA=x86-avx',
      'ISA=x86-avx-512',
      'ISA=x86-avx2',
      'ISA=x86-sse4.1',
      'ISA=x86-sse4.2',
      'OSFamily=linux',
      'cores=8',
      'libc=glibc',
      'memory=17179869184',
    ]);
  });

  it('offers memory in whole units of 256 MiB, so that it is the same after every start', () => {
    const offered = (memoryBytes: number) => shown({ ...linux, memoryBytes }).find((one) => one.startsWith('memory='));
    assert.equal(offered(2 ** 20 * 1024), 'memory=1073741824');
    assert.equal(offered(2 ** 20 * 1280 - 1), 'memory=1073741824');
  });

  it('names an arm machine', () => {
    const arm: Machine = { ...linux, arch: 'arm64', libc: 'musl', cpuInfo: 'Features\t: fp asimd sve\n' };
    assert.deepEqual(shown(arm).slice(0, 4), ['ISA=arm-a64', 'ISA=arm-neon', 'ISA=arm-sve', 'ISA=armv8']);
  });

  it('uses the standard names of other systems', () => {
    assert.ok(shown({ ...linux, os: 'darwin', libc: undefined }).includes('OSFamily=macos'));
    assert.ok(shown({ ...linux, os: 'freebsd', libc: undefined }).includes('OSFamily=freebsd'));
  });

  it('lets the operator add properties and replace detected ones', () => {
    const extra = [
      { name: 'ISA', value: 'x86-64' },
      { name: 'pool', value: 'gpu' },
    ];
    const kept = ['ISA=x86-64', 'OSFamily=linux', 'cores=8', 'libc=glibc', 'memory=17179869184', 'pool=gpu'];
    assert.deepEqual(shown(linux, extra), kept);
  });

  it('describes this machine', () => {
    const machine = thisMachine();
    assert.ok(machine.cpus >= 1);
    assert.ok(machine.memoryBytes > 2 ** 20 && machine.memoryBytes < 2 ** 60, 'a limit that is none is not offered');
    assert.ok(shown(machine).some((property) => property.startsWith('OSFamily=')));
  });
});
