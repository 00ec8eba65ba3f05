import { z } from 'zod';
import { platform } from './platform-schema.ts';
import { pools } from './pools-schema.ts';
import { fairness, hedging, history, isolation, retries, trace } from './scheduling-schema.ts';
import { count, seconds } from './units.ts';

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
    maxUnansweredOffers: count(
      { min: 1, max: 100, by: 9 },
      'How often a worker may come back without having started the action it was given, before the action fails (R-BB-09).',
    ),
    workerTimeoutSeconds: seconds(
      { min: 5, max: 3600, by: 60 },
      'A worker silent for so long is lost and its actions are queued again (R-BB-20). At least twice `execution.synchronizeSeconds`.',
    ),
    adoptionGraceSeconds: seconds(
      { min: 0, max: 3600, by: 120 },
      'For so long after a start, workers go on with what they ran for the server before, and clients that ask for it again get it. Then what nobody asked for is stopped.',
    ),
    synchronizeSeconds: seconds(
      { min: 1, max: 60, by: 10 },
      'How often a busy worker reports (R-BB-04). Workers of Gantry do so every 30 seconds at least.',
    ),
    idlePollSeconds: seconds(
      { min: 1, max: 120, by: 100 },
      'How long an idle worker waits in one call at most (R-BB-02). Work reaches it at once; what is between it and the server must not cut calls sooner.',
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
    pools,
    platform,
    retries,
    fairness,
    hedging,
    isolation,
    history,
    trace,
  })
  .prefault({})
  .describe('Running actions: queue, timeouts, fleet.');
