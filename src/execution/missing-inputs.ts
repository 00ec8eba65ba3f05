import type { BlobStore } from '../cas/blob-store.ts';
import { type TreeLimits, walkDirectories } from '../cas/tree.ts';
import { type Digest, digestKey } from '../digest/digest.ts';
import type { MissingInputs } from './prepare-action.ts';

/** Files looked up in one question to the store. */
const FILES_PER_LOOKUP = 5_000;

/**
 * Walks the whole input root before an action is queued, so that a client learns of everything that is missing at once
 * (R-EX-43), and everything present is promised to stay for the store's retention. A missing Directory is named itself;
 * what is below it is unknown (R-EX-45).
 */
export function missingInputsOf(store: BlobStore, limits: TreeLimits): MissingInputs {
  return async (root, signal, largest) => {
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
    }
    await lookUp();
    return missing;
  };
}
