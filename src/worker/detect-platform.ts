import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { arch, availableParallelism, platform, totalmem } from 'node:os';
import type { PlatformProperty } from '../platform/platform.ts';

/** The machine as `detectPlatform` sees it; tests describe others. */
export interface Machine {
  /** Node's name of the operating system. */
  readonly os: string;
  /** Node's name of the processor architecture. */
  readonly arch: string;
  readonly cpus: number;
  /** What all processes of this worker may take together: the machine's memory, or less where its cgroup has a limit. */
  readonly memoryBytes: number;
  /** Text of /proc/cpuinfo; empty where there is none. */
  readonly cpuInfo: string;
  readonly libc: 'glibc' | 'musl' | undefined;
}

/**
 * Memory is offered in whole units of this: the kernel keeps a little less or more for itself at every start, and machines of
 * one kind should offer the same.
 */
const MEMORY_UNIT_BYTES = 256 * 1024 * 1024;

/** Standard values of `OSFamily` (R-PL-05); others are the lower-case `uname -s`, as Node names them. */
const OS_FAMILIES: Readonly<Record<string, string>> = { darwin: 'macos', win32: 'windows' };

/** Standard values of `ISA` (R-PL-05). */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  arm: 'arm-a32',
  arm64: 'arm-a64',
  ia32: 'x86-32',
  loong64: 'la64v100',
  ppc64: 'power-isa-le',
  riscv64: 'rv64g',
  x64: 'x86-64',
};

/** Extensions of `ISA` by the flag in /proc/cpuinfo. */
const X86_EXTENSIONS: Readonly<Record<string, string>> = {
  avx: 'x86-avx',
  avx2: 'x86-avx2',
  avx512f: 'x86-avx-512',
  sse4_1: 'x86-sse4.1',
  sse4_2: 'x86-sse4.2',
};
const ARM_EXTENSIONS: Readonly<Record<string, string>> = {
  asimd: 'arm-neon',
  neon: 'arm-neon',
  sve: 'arm-sve',
  vfpv3: 'arm-vfpv3',
  vfpv4: 'arm-vfpv4',
};

/**
 * Platform properties of a machine, sorted by name and value (R-BB-17).
 * @param extra the operator's own; a name given there replaces what was detected.
 */
export function detectPlatform(machine: Machine, extra: readonly PlatformProperty[]): readonly PlatformProperty[] {
  const detected: PlatformProperty[] = [{ name: 'OSFamily', value: OS_FAMILIES[machine.os] ?? machine.os }];
  const isa = ARCHITECTURES[machine.arch];
  if (isa !== undefined) {
    for (const value of [isa, ...extensionsOf(machine)]) detected.push({ name: 'ISA', value });
  }
  if (machine.libc !== undefined) detected.push({ name: 'libc', value: machine.libc });
  detected.push({ name: 'cores', value: String(machine.cpus) });
  const units = Math.floor(machine.memoryBytes / MEMORY_UNIT_BYTES);
  detected.push({ name: 'memory', value: String(units * MEMORY_UNIT_BYTES) });
  const replaced = new Set(extra.map(({ name }) => name));
  return sortProperties([...detected.filter(({ name }) => !replaced.has(name)), ...extra]);
}

/** This machine. */
export function thisMachine(): Machine {
  return {
    os: platform(),
    arch: arch(),
    cpus: availableParallelism(),
    memoryBytes: memoryOfMachine(),
    cpuInfo: existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8') : '',
    libc: platform() === 'linux' ? libcOfSystem() : undefined,
  };
}

/** The limit of the cgroup is 0, or larger than any machine, where there is none. */
function memoryOfMachine(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/** By the dynamic loader that is installed, which is what programs of an action need. */
function libcOfSystem(): 'glibc' | 'musl' | undefined {
  const folders = ['/lib64', '/lib'].filter((folder) => existsSync(folder));
  const loaders = folders.flatMap((folder) => readdirSync(folder)).filter((name) => name.startsWith('ld-'));
  if (loaders.some((name) => name.startsWith('ld-linux'))) return 'glibc';
  return loaders.some((name) => name.startsWith('ld-musl')) ? 'musl' : undefined;
}

function extensionsOf(machine: Machine): string[] {
  const flags = /^(?:flags|Features)\s*:(.*)$/m.exec(machine.cpuInfo)?.[1]?.trim().split(/\s+/) ?? [];
  const isArm = machine.arch.startsWith('arm');
  const names = isArm ? ARM_EXTENSIONS : X86_EXTENSIONS;
  const found = flags.map((flag) => names[flag]).filter((name) => name !== undefined);
  if (machine.arch === 'arm64') found.push('armv8');
  return [...new Set(found)];
}

function sortProperties(properties: readonly PlatformProperty[]): readonly PlatformProperty[] {
  const key = ({ name, value }: PlatformProperty): Buffer => Buffer.from(`${name}\0${value}`);
  return [...properties].sort((a, b) => Buffer.compare(key(a), key(b)));
}
