import { z } from 'zod';
import { count, GIB, KIB, MIB, seconds, size } from './units.ts';

/** What whoever still has the earlier default is told. */
const FILE_REPLACED =
  '"file" is called "group" now: as durable, but what arrives together shares the wait for the disk';

/** Where blobs and action results are kept. */
export const store = z
  .strictObject({
    maxSizeBytes: size(
      { min: 16 * MIB, max: 1024 * 1024 * GIB, by: 20 * GIB },
      'What the store may take on disk, everything in it together: blobs, action results, index. The least recently used go when it is reached. A single build whose blobs are larger fails with RESOURCE_EXHAUSTED.',
    ),
    minFreeBytes: size(
      { min: 0, max: 1024 * 1024 * GIB, by: GIB },
      'Room that is left free on the file system whatever `maxSizeBytes` says: below it uploads are refused.',
    ),
    minRetentionSeconds: seconds(
      { min: 0, max: 604_800, by: 600 },
      'How long a blob stays after a client was told that it is there. Long enough for the longest build step between two looks; blobs under this promise are not evicted.',
    ),
    maxLeasedShare: z
      .number()
      .min(0.1)
      .max(0.95)
      .default(0.8)
      .describe(
        'Part of `maxSizeBytes` that blobs under the promise of `minRetentionSeconds` may take. Above it uploads are refused with RESOURCE_EXHAUSTED and a time to try again, instead of a promise being broken.',
      ),
    sync: z
      .enum(['group', 'none'], { error: ({ input }) => (input === 'file' ? FILE_REPLACED : undefined) })
      .default('group')
      .describe(
        '`group`: a blob or action result is on disk before its upload is acknowledged; those that arrive together share the wait. `none`: faster; they survive a crash of the process, but not of the machine.',
      ),
  })
  .prefault({})
  .describe('The store: blobs and action results.');

/** What is kept of action results, and for how long. */
export const actionCache = z
  .strictObject({
    maxResultBytes: size(
      { min: 64 * KIB, max: 4 * MIB, by: 3 * MIB },
      'Largest encoded action result that is stored. Above it a client could not receive it: most refuse messages over 4 MiB (R-AC-06).',
    ),
    maxAgeSeconds: seconds(
      { min: 0, max: 315_360_000, by: 0 },
      'A result older than that is not used any more, whenever it was last asked for. 0: results stay until they are evicted.',
    ),
    treeCacheBytes: size(
      { min: 0, max: 64 * GIB, by: 32 * MIB },
      'Memory for output directories whose contents are known already, so that a hit need not read their trees again to see that nothing of them is gone. 0: read them each time.',
    ),
    missHistory: count(
      { min: 0, max: 1_000_000, by: 20_000 },
      'How many actions are remembered to say why a later one missed (`gantry why-miss`). 0: none.',
    ),
    requireAction: z
      .boolean()
      .default(false)
      .describe(
        'Refuses an uploaded action result whose Action or Command is not in the store (R-AC-07). Clients must upload them, few servers insist on it.',
      ),
  })
  .prefault({})
  .describe('Action results.');
