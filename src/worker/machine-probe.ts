import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { systemCode } from '../errors.ts';

/** With less room than this a disk counts as full: nothing of use can be written any more. */
const MIN_FREE_BYTES = 1024 * 1024;

/** Tells whether a command failed because the machine was too small for it. */
export interface MachineProbe {
  /** How many processes the kernel has killed so far because memory was short. Always 0 where that is not known. */
  memoryKills(): number;
  /** Whether `memoryKills` counts only what runs together with this worker, rather than on the whole machine. */
  readonly countsOwnOnly: boolean;
  /** Whether nothing can be written to the file system of `folder` any more. */
  isDiskFull(folder: string): boolean;
}

/** Where Linux tells. Tests have folders of their own. */
export interface ProbeFolders {
  readonly proc: string;
  readonly cgroup: string;
}

/** The counters of Linux: of the worker's cgroup (version 2 or 1) if it can be read, else of the machine. */
export class LinuxProbe implements MachineProbe {
  readonly #counter: string | undefined;
  readonly countsOwnOnly: boolean;

  constructor(folders: ProbeFolders = { proc: '/proc', cgroup: '/sys/fs/cgroup' }) {
    const own = cgroupCounters(folders).find((path) => countIn(path) !== undefined);
    const all = `${folders.proc}/vmstat`;
    this.countsOwnOnly = own !== undefined;
    this.#counter = own ?? (existsSync(all) ? all : undefined);
  }

  memoryKills(): number {
    return this.#counter === undefined ? 0 : (countIn(this.#counter) ?? 0);
  }

  isDiskFull(folder: string): boolean {
    try {
      const { bavail, bsize, files, ffree } = statfsSync(folder);
      return bavail * bsize < MIN_FREE_BYTES || (files > 0 && ffree === 0);
    } catch (error) {
      // The action may have removed its own root.
      if (systemCode(error) === undefined) throw error;
      return false;
    }
  }
}

/** Version 2 counts what happened to processes of the group in `memory.events`, version 1 in `memory.oom_control`. */
function cgroupCounters({ proc, cgroup }: ProbeFolders): string[] {
  const lines = (textOf(`${proc}/self/cgroup`) ?? '').split('\n');
  return lines.flatMap((line) => {
    const [, id = '', controllers = '', path = ''] = /^(\d+):([^:]*):(.*)$/.exec(line) ?? [];
    const below = path === '/' ? '' : path;
    if (id === '0') return [`${cgroup}${below}/memory.events`];
    return controllers.split(',').includes('memory') ? [`${cgroup}/memory${below}/memory.oom_control`] : [];
  });
}

function countIn(path: string): number | undefined {
  const count = /^oom_kill (\d+)$/m.exec(textOf(path) ?? '')?.[1];
  return count === undefined ? undefined : Number(count);
}

/** Undefined if it cannot be read: not Linux, or not allowed. */
function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return undefined;
  }
}
