import type { PropertyRule } from './property-rules.ts';

/**
 * The default rules: the names of the REAPI platform lexicon (R-PL-05) with the spellings found in the wild (R-PL-06),
 * a few of our own that need more than equality, and names that only matter to the client (R-PL-04).
 * What can be counted is taken while an action runs that asks for it, and only then: Buildfarm, BuildBuddy and NativeLink
 * name these differently. Names without a rule are compared exactly, so a worker may offer anything else without configuration.
 */
export const DEFAULT_RULES: readonly PropertyRule[] = [
  {
    name: 'OSFamily',
    aliases: ['os', 'os-family', 'os_family'],
    mode: 'exact',
    foldsValueCase: true,
    valueAliases: {
      darwin: 'macos',
      macosx: 'macos',
      osx: 'macos',
      win: 'windows',
      win32: 'windows',
      solaris: 'sunos',
    },
  },
  {
    name: 'ISA',
    aliases: ['arch', 'cpu'],
    mode: 'all-of',
    foldsValueCase: true,
    valueAliases: {
      x86_64: 'x86-64',
      amd64: 'x86-64',
      k8: 'x86-64',
      x64: 'x86-64',
      x86: 'x86-32',
      x86_32: 'x86-32',
      i386: 'x86-32',
      i486: 'x86-32',
      i586: 'x86-32',
      i686: 'x86-32',
      aarch64: 'arm-a64',
      arm64: 'arm-a64',
      arm: 'arm-a32',
      riscv32: 'rv32g',
      riscv64: 'rv64g',
      ppc64: 'power-isa-be',
      ppc64le: 'power-isa-le',
      loong64: 'la64v100',
      loongarch64: 'la64v100',
    },
  },
  { name: 'libc', mode: 'any-of', foldsValueCase: true, valueAliases: { gnu: 'glibc' } },
  { name: 'pool', mode: 'any-of' },
  { name: 'container-image', mode: 'exact' },
  {
    name: 'cores',
    aliases: ['min-cores', 'cpus', 'cpu_count', 'EstimatedCPU'],
    mode: 'minimum',
    unit: 'milli',
    isTaken: true,
  },
  {
    name: 'memory',
    aliases: ['min-mem', 'EstimatedMemory'],
    scaledAliases: { memory_kb: 1024, memory_mb: 1024 ** 2 },
    mode: 'minimum',
    unit: 'bytes',
    isTaken: true,
  },
  { name: 'disk', aliases: ['EstimatedFreeDiskBytes'], mode: 'minimum', unit: 'bytes', isTaken: true },
  { name: 'gpus', mode: 'minimum', isTaken: true },
  { name: 'max-cores', mode: 'ignore' },
  { name: 'max-mem', mode: 'ignore' },
  { name: 'persistentWorkerKey', mode: 'ignore' },
  { name: 'persistentWorkerProtocol', mode: 'ignore' },
  { name: 'bazel_tool_input', mode: 'ignore' },
];
