import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A new empty folder of this test's own; removed with everything in it after the test that asked for it. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'gantry-test-'));
  made.push(folder);
  return folder;
}

const made: string[] = [];

afterEach(() => {
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** How many descriptors of this process refer to something below a temporary folder of a test: a leak shows as a rise. */
export function openTemporaryFiles(): number {
  const prefix = join(tmpdir(), 'gantry-test-');
  return readdirSync('/proc/self/fd').filter((fd) => linkOf(fd).startsWith(prefix)).length;
}

/** The descriptor of the listing itself is gone by now. */
function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch (error) {
    if (error instanceof Error) return '';
    throw error;
  }
}
