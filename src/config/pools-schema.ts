import { z } from 'zod';
import { property } from './platform-schema.ts';
import { count, seconds } from './units.ts';

/** Most configured pools: each is a series of every metric by pool. */
const MAX_POOLS = 100;

/** A pool that is known before it has workers. */
const pool = z
  .strictObject({
    name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, {
      message: 'must be 1 to 63 letters, digits, dots, dashes or underscores, the first a letter or digit',
    }),
    platform: z.array(property).max(1000).default([]),
    instanceNamePrefix: z.string().max(255).default(''),
    sizeClass: count({ min: 0, max: 4_294_967_295, by: 0 }, 'Size class of the workers.'),
    slotsPerWorker: count({ min: 1, max: 1024, by: 1 }, 'As `worker.slots` of the workers.'),
    minWorkers: count({ min: 0, max: 100_000, by: 0 }, 'Wanted also without work.'),
    maxWorkers: count({ min: 1, max: 100_000, by: 100 }, 'Most that are wanted.'),
    drainSeconds: seconds({ min: 1, max: 86_400, by: 60 }, 'How fast a queue is to be worked off.'),
    waitSeconds: seconds({ min: 0, max: 86_400, by: 600 }, 'How long actions wait for a first worker.'),
    scaleDownSeconds: seconds({ min: 0, max: 86_400, by: 300 }, 'How long workers stay wanted without need.'),
  })
  .superRefine(({ minWorkers, maxWorkers }, context) => {
    if (minWorkers <= maxWorkers) return;
    context.addIssue({ code: 'custom', path: ['minWorkers'], message: 'must not be above maxWorkers of the pool' });
  });

type Pool = z.output<typeof pool>;

/** Pools of workers that come and go. */
export const pools = z
  .array(pool)
  .max(MAX_POOLS)
  .default([])
  .superRefine((all, context) => {
    all.forEach((each, at) => {
      const before = all.slice(0, at);
      if (before.some(({ name }) => name === each.name)) {
        context.addIssue({ code: 'custom', path: [at, 'name'], message: `there is a pool "${each.name}" already` });
      }
      const same = before.find((other) => offerText(other) === offerText(each));
      if (same === undefined) return;
      const message = `is the same as that of "${same.name}", with the same instanceNamePrefix and sizeClass: their workers could not be told apart`;
      context.addIssue({ code: 'custom', path: [at, 'platform'], message });
    });
  })
  .describe(
    'Pools of workers that are known before they have any, so that their work waits instead of failing and a fleet can be scaled from zero ([scaling.md](scaling.md)). Each is `{ name, platform, instanceNamePrefix, sizeClass, slotsPerWorker, minWorkers, maxWorkers, drainSeconds, waitSeconds, scaleDownSeconds }`; all but `name` have defaults. `platform`: what its workers offer at least, as `{ name, value }` each; with the same `instanceNamePrefix` and `sizeClass` (0: none) they are counted with the first pool whose platform they satisfy. `slotsPerWorker` (1): as `worker.slots` of its workers. `minWorkers` (0) and `maxWorkers` (100) bound how many workers are wanted. `drainSeconds` (60): so many workers are wanted that what is queued takes so long. `waitSeconds` (600): how long an action waits for the first worker of the pool. `scaleDownSeconds` (300): how long workers stay wanted that are not needed.',
  );

/** What makes workers of a pool recognisable; names of properties in any case. */
function offerText({ platform, instanceNamePrefix, sizeClass }: Pool): string {
  const properties = platform.map(({ name, value }) => JSON.stringify([name.toLowerCase(), value]));
  return JSON.stringify([instanceNamePrefix, sizeClass, ...new Set(properties.toSorted())]);
}
