import { z } from 'zod';
import { count, seconds } from './units.ts';

const propertyName = z.string().min(1).max(255);

/** How one platform property is understood. */
const rule = z.strictObject({
  name: propertyName,
  match: z.enum(['exact', 'any-of', 'all-of', 'minimum', 'ignore']),
  aliases: z.array(propertyName).max(100).default([]),
  foldCase: z.boolean().default(false),
});

const platform = z
  .strictObject({
    ignore: z
      .array(propertyName)
      .max(1000)
      .default(['persistentWorkerKey', 'persistentWorkerProtocol', 'bazel_tool_input', 'max-cores'])
      .describe(
        'Names of platform properties that are left out of matching: Bazel adds some by itself, and any worker keeps below an upper bound like `max-cores` (R-PL-04).',
      ),
    rules: z
      .array(rule)
      .max(1000)
      .default([])
      .describe(
        'Rules for platform properties, each `{ name, match, aliases, foldCase }`, on top of the built-in ones for `OSFamily`, `ISA` and their aliases; a rule for the same name replaces the built-in one. `match` is `exact`, `any-of`, `all-of`, `minimum` or `ignore`. A property without a rule is matched exactly if some worker offers it; a name that nobody offers refuses the action.',
      ),
    graceSeconds: seconds(
      { min: 0, max: 3600, by: 60 },
      'For so long after a start, and after the last fitting worker was gone, an action that no worker satisfies waits instead of failing: its worker may be on the way.',
    ),
  })
  .prefault({})
  .describe('What platform properties mean.');

/** Running actions. */
export const execution = z
  .strictObject({
    defaultTimeoutSeconds: seconds(
      { min: 1, max: 604_800, by: 3600 },
      'Time an action without a timeout gets (R-EX-19).',
    ),
    maxTimeoutSeconds: seconds(
      { min: 1, max: 604_800, by: 86_400 },
      'Longest timeout an action may ask for; a longer one is refused (R-EX-19).',
    ),
    abandonAfterSeconds: seconds(
      { min: 0, max: 86_400, by: 60 },
      'How long an action goes on after its last waiting client left: a client that lost its connection comes back within it (R-EX-12).',
    ),
    finishedOperationsSeconds: seconds(
      { min: 0, max: 604_800, by: 3600 },
      'How long a finished operation can be asked for.',
    ),
    maxFinishedOperations: count({ min: 0, max: 10_000_000, by: 100_000 }, 'Most finished operations that are kept.'),
    maxLiveOperations: count(
      { min: 1, max: 10_000_000, by: 200_000 },
      'Most unfinished operations; further Execute calls are told to try again.',
    ),
    maxQueuedTasks: count(
      { min: 1, max: 10_000_000, by: 100_000 },
      'Most actions in the queue; further ones are told to try again.',
    ),
    maxAttempts: count(
      { min: 1, max: 100, by: 3 },
      'How often an action is started before the loss of its worker fails it.',
    ),
    maxUnansweredOffers: count(
      { min: 1, max: 100, by: 9 },
      'How often a worker may come back without having started the action it was given, before the action fails (R-BB-09).',
    ),
    workerTimeoutSeconds: seconds(
      { min: 5, max: 3600, by: 60 },
      'A worker silent for so long is lost and its actions are queued again (R-BB-20).',
    ),
    synchronizeSeconds: seconds(
      { min: 1, max: 60, by: 10 },
      'How often a busy worker reports; an idle one waits in its call for at most so long.',
    ),
    recordSeconds: seconds(
      { min: 1, max: 600, by: 30 },
      'How long storing an action result may take before the action finishes without it.',
    ),
    heartbeatSeconds: seconds(
      { min: 1, max: 600, by: 30 },
      'How often a waiting client is told that its action is still there, so that nothing between us closes a quiet stream.',
    ),
    maxSlots: count({ min: 1, max: 1_000_000, by: 10_000 }, 'Most slots of the whole fleet; further ones get no work.'),
    platform,
  })
  .prefault({})
  .describe('Running actions: queue, timeouts, fleet.');
