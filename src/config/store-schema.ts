import { z } from 'zod';
import { GIB, KIB, MIB, seconds, size } from './units.ts';

/** Where blobs are kept. */
export const store = z
  .strictObject({
    maxSizeBytes: size(
      { min: MIB, max: 1024 * 1024 * GIB, by: 20 * GIB },
      'What all blobs may take on disk. The least recently used go when it is reached. A single build whose blobs are larger fails with RESOURCE_EXHAUSTED.',
    ),
    minFreeBytes: size(
      { min: 0, max: 1024 * 1024 * GIB, by: GIB },
      'Room that is left free on the file system whatever `maxSizeBytes` says: below it uploads are refused.',
    ),
    minRetentionSeconds: seconds(
      { min: 0, max: 604_800, by: 600 },
      'How long a blob stays after a client was told that it is there. Long enough for the longest build step between two looks; blobs under this promise are not evicted.',
    ),
    sync: z
      .enum(['file', 'none'])
      .default('file')
      .describe(
        '`file`: a blob is on disk before its upload is acknowledged. `none`: faster; blobs survive a crash of the process, but not of the machine.',
      ),
  })
  .prefault({})
  .describe('Blobs: the content-addressed store.');

/** Where action results are kept. */
export const actionCache = z
  .strictObject({
    maxSizeBytes: size(
      { min: MIB, max: 1024 * GIB, by: GIB },
      'What all action results may take on disk. The least recently used go when it is reached.',
    ),
    maxResultBytes: size(
      { min: 64 * KIB, max: 4 * MIB, by: 3 * MIB },
      'Largest encoded action result that is stored. Above it a client could not receive it: most refuse messages over 4 MiB (R-AC-06).',
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
