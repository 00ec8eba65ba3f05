import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from './gantry.ts';

/** Holds actions back until it is opened. */
export class Gate {
  readonly #folder = temporaryFolder();

  /** Shell text that waits. It ends too when the test's folders are removed, so that no action outlives a failed test. */
  get wait(): string {
    return `until [ -e ${this.#file} ] || [ ! -d ${this.#folder} ]; do sleep 0.05; done`;
  }

  open(): void {
    writeFileSync(this.#file, '');
  }

  get #file(): string {
    return join(this.#folder, 'open');
  }
}

/** Lines that actions write, in the order in which they wrote them. */
export class Journal {
  readonly #file = join(temporaryFolder(), 'lines');

  /** Shell text that writes a line. */
  write(line: string): string {
    return `echo ${line} >> ${this.#file}`;
  }

  get lines(): readonly string[] {
    if (!existsSync(this.#file)) return [];
    return readFileSync(this.#file, 'utf8').trim().split('\n');
  }
}
