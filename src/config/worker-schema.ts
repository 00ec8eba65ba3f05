import { z } from 'zod';
import { serverUrl } from './address.ts';
import { property } from './platform-schema.ts';
import { count, GIB, KIB, MIB, seconds, size } from './units.ts';

/** A worker: of its own, or embedded in `gantry serve`. */
export const worker = z
  .strictObject({
    server: serverUrl
      .default('127.0.0.1:8980')
      .describe(
        'The server that gives work, as `HOST:PORT`, `grpc://HOST:PORT` or `unix:/path`. The embedded worker does not need it.',
      ),
    slots: z
      .union([z.literal('cpus'), z.int().min(1).max(1024)])
      .default('cpus')
      .describe('How many actions run at the same time: 1 to 1024, or `cpus` for one per CPU.'),
    nodeName: z
      .string()
      .max(255)
      .default('$HOSTNAME')
      .describe(
        'Name of this machine in the fleet: the same for all its slots, different from every other machine. `$HOSTNAME` is the host name.',
      ),
    instanceNamePrefix: z
      .string()
      .max(255)
      .default('')
      .describe('The worker takes work of instance names that start with it. Empty: of all.'),
    detectPlatform: z
      .boolean()
      .default(true)
      .describe('Whether the worker offers what it finds out about the machine (`OSFamily`, `ISA` and so on).'),
    platform: z
      .array(property)
      .max(1000)
      .default([])
      .describe(
        'Platform properties that the worker offers, each `{ name, value }`. A name given here replaces what was detected.',
      ),
    alternatives: z
      .array(z.array(property).max(1000))
      .max(16)
      .default([])
      .describe(
        'Further platforms that the worker offers instead of `platform`, each a list of `{ name, value }`: an action needs one of them as a whole. Only Gantry’s scheduler understands them.',
      ),
    sizeClass: count(
      { min: 0, max: 4_294_967_295, by: 0 },
      'Size class of this machine, if the fleet has several: an action that fails in a smaller class is tried once in the largest (R-BB-22). 0: none.',
    ),
    folder: z
      .string()
      .min(1)
      .default('$DATA_FOLDER/worker')
      .describe(
        'Folder for the file cache and the actions being run: one file system, so that inputs can be hard links. A leading `$DATA_FOLDER` is `dataFolder`.',
      ),
    cacheSizeBytes: size(
      { min: MIB, max: 1024 * 1024 * GIB, by: 10 * GIB },
      'What the cache of input files may take on disk.',
    ),
    fetchSeconds: seconds({ min: 10, max: 86_400, by: 1800 }, 'How long fetching the inputs of an action may take.'),
    uploadSeconds: seconds({ min: 10, max: 86_400, by: 1800 }, 'How long uploading the outputs of an action may take.'),
    maxTransfers: count(
      { min: 1, max: 1024, by: 16 },
      'Most downloads at the same time over all slots, and as many uploads.',
    ),
    prefetch: z
      .boolean()
      .default(true)
      .describe(
        'Whether the worker fetches inputs of actions that will probably come, while no action waits for a download.',
      ),
    maxStdoutBytes: size(
      { min: 64 * KIB, max: 64 * GIB, by: GIB },
      'Most bytes of standard output, and of standard error, that one action may write; above it the action fails.',
    ),
  })
  .prefault({})
  .describe('Workers.');
