import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BlobStore } from '../cas/blob-store.ts';
import { type TreeLimits, walkDirectories } from '../cas/tree.ts';
import { type Digest, digestKey } from '../digest/digest.ts';
import { Semaphore } from '../system/semaphore.ts';
import type { MissingInputs } from './prepare-action.ts';

/** Files looked up in one question to the store. */
const FILES_PER_LOOKUP = 5_000;

/** Walks at a time: each remembers all that it has seen. Many, as some may wait for a bucket. */
const MAX_WALKS = 32;

/** Files and directories that all walks together look at before other calls have their turn. */
const LOOKED_AT_PER_TURN = 1_000;

/**
 * Walks the whole input root before an action is queued, so that a client learns of everything that is missing at once
 * (R-EX-43), and everything present is promised to stay for the store's retention. A missing Directory is named itself;
 * what is below it is unknown (R-EX-45).
 */
export function missingInputsOf(store: BlobStore, limits: TreeLimits): MissingInputs {
  const walks = new Semaphore(MAX_WALKS);
  const pace = new Pace();
  const walk: MissingInputs = async (root, signal, largest) => {
    const missing: Digest[] = [];
    const seen = new Set<string>();
    let files: Digest[] = [];
    const lookUp = async (): Promise<void> => {
      if (files.length > 0) missing.push(...(await store.findMissing(files, signal)));
      files = [];
    };
    for await (const directory of walkDirectories(store, root, limits, signal)) {
      if (directory.bytes === undefined) missing.push(directory.digest);
      for (const file of directory.files) {
        const key = digestKey(file);
        if (seen.has(key)) continue;
        seen.add(key);
        largest?.add(file);
        // Inside: one directory may have more files than a question, or a call, may have.
        if (files.push(file) >= FILES_PER_LOOKUP) await lookUp();
      }
      await pace.lookedAt(1 + directory.files.length);
    }
    await lookUp();
    return missing;
  };
  return (root, signal, largest) => walks.run(signal, () => walk(root, signal, largest));
}

/**
 * Lets everything else have its turn between two parts of the walks. What a local store has is there without waiting: when a build begins
 * hundreds of actions at once, nothing else would happen until the last of their trees has been walked.
 */
class Pace {
  #lookedAt = 0;
  #turn: Promise<void> = Promise.resolve();

  /** One walk a turn. */
  async lookedAt(count: number): Promise<void> {
    this.#lookedAt += count;
    if (this.#lookedAt < LOOKED_AT_PER_TURN) return;
    this.#turn = this.#turn.then(async () => {
      await nextTurn();
      this.#lookedAt = 0;
    });
    await this.#turn;
  }
}
