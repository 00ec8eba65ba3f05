import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Child, type ChildEnd, killProcess, processesWith } from './child.ts';
import { ROOT, temporaryFolder } from './gantry.ts';

/** Where Debian's package puts its program. */
export const BAZEL = '/usr/bin/bazel';

/** Bazel's last line about where actions ran: `52 processes: 12 internal, 40 remote.` */
export interface ProcessCounts {
  readonly internal: number;
  readonly remote: number;
  readonly 'remote cache hit': number;
  /** Everything that ran on this side. */
  readonly local: number;
}

/** A copy of examples/bazel, or a project of the test's own, with a Bazel server for it. */
export class BazelProject {
  readonly folder: string;
  readonly #outputRoot: string;

  private constructor(folder: string) {
    this.folder = folder;
    this.#outputRoot = join(temporaryFolder(), 'bazel');
  }

  /** The example, copied so that tests leave nothing in it. */
  static example(): BazelProject {
    const folder = join(temporaryFolder(), 'example');
    cpSync(join(ROOT, 'examples/bazel'), folder, { recursive: true });
    return new BazelProject(folder);
  }

  /** The example with one more package, `//own`, of which this is the BUILD file. */
  static withPackage(buildFile: string): BazelProject {
    const project = BazelProject.example();
    mkdirSync(join(project.folder, 'own'));
    writeFileSync(join(project.folder, 'own/BUILD'), buildFile);
    return project;
  }

  /** Starts `bazel COMMAND ARGS`. */
  start(command: string, args: readonly string[]): Child {
    const startup = ['--noworkspace_rc', '--nohome_rc', '--bazelrc=debian-4.2.3.bazelrc', '--max_idle_secs=600'];
    const output = `--output_user_root=${this.#outputRoot}`;
    return new Child(BAZEL, [...startup, output, command, ...args], { cwd: this.folder });
  }

  /** Runs `bazel COMMAND ARGS` to its end. */
  async run(command: string, args: readonly string[]): Promise<ChildEnd> {
    return await this.start(command, args).end();
  }

  /** Ends the Bazel server, which would otherwise outlive the tests. */
  async shutdown(): Promise<void> {
    await this.run('shutdown', []);
    for (const pid of processesWith(this.#outputRoot)) killProcess(pid);
  }
}

/** Options that build at `url` remotely. */
export function remote(url: string, ...more: readonly string[]): readonly string[] {
  return ['--symlink_prefix=/', '--config=remote', `--remote_executor=${url}`, ...more];
}

/** Reads the line in which Bazel counts its processes. @throws if there is none. */
export function processCounts(output: string): ProcessCounts {
  const line = /INFO: \d+ process(?:es)?: ([^\n]*?)\.?\n/.exec(output)?.[1];
  if (line === undefined) throw new Error(`Bazel counted no processes:\n${output}`);
  const counts = new Map<string, number>();
  for (const part of line.split(', ')) {
    const [, count, kind] = /^(\d+) (.*)$/.exec(part) ?? [];
    if (kind !== undefined) counts.set(kind, Number(count));
  }
  const take = (kind: string) => {
    const count = counts.get(kind) ?? 0;
    counts.delete(kind);
    return count;
  };
  const known = { internal: take('internal'), remote: take('remote'), 'remote cache hit': take('remote cache hit') };
  return { ...known, local: [...counts.values()].reduce((sum, count) => sum + count, 0) };
}
