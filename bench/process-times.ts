import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ, the unit of times in `/proc`, is 100 on every architecture that Node runs on. */
const MS_PER_TICK = 10;

interface ProcessTimes {
  readonly pid: number;
  readonly parent: number;
  /** Its own and that of the children it waited for. */
  readonly cpuMs: number;
}

/** Processor time in ms, user and system, of these processes and of all they started: those that run and those that were waited for. */
export function cpuMsOf(roots: readonly number[]): number {
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const times = all.flatMap((name) => timesOf(Number(name)));
  const tree = new Set(roots);
  // A set that grows while it is walked through is walked through to its end.
  for (const pid of tree) for (const each of times) if (each.parent === pid) tree.add(each.pid);
  return times.filter(({ pid }) => tree.has(pid)).reduce((sum, { cpuMs }) => sum + cpuMs, 0);
}

/** Nothing if it has ended. */
function timesOf(pid: number): readonly ProcessTimes[] {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return [];
  }
  // `PID (NAME) STATE PPID …`: the name may hold anything. Fields 14 to 17 are utime, stime, cutime, cstime.
  const fields = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  const cpuMs = fields.slice(11, 15).reduce((sum, ticks) => sum + ticks, 0) * MS_PER_TICK;
  return [{ pid, parent: fields[1] ?? 0, cpuMs }];
}
