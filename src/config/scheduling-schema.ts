import { z } from 'zod';
import { count, GIB, MIB, seconds, size } from './units.ts';

/** How often an action is started again. */
export const retries = z
  .strictObject({
    maxAttempts: count(
      { min: 1, max: 100, by: 5 },
      'How often an action is started in all, whatever ended the attempts before.',
    ),
    maxLost: count({ min: 0, max: 100, by: 3 }, 'How often an action is started again after its worker was lost.'),
    maxFaults: count(
      { min: 0, max: 100, by: 2 },
      'How often an action is started again after its worker failed by itself, as by a full disk.',
    ),
    maxExhausted: count(
      { min: 0, max: 100, by: 1 },
      'How often an action is started again after the machine was too small for it; where there are size classes, on a larger one.',
    ),
    onLarger: z
      .enum(['failure', 'exhaustion', 'nothing'])
      .default('failure')
      .describe(
        'What is tried once more in the largest size class: every `failure` of an action, only the `exhaustion` of a machine, or `nothing`.',
      ),
    quarantineAfter: count(
      { min: 0, max: 100, by: 3 },
      'An action that took down so many different workers is refused with FAILED_PRECONDITION. 0: never.',
    ),
    quarantineSeconds: seconds({ min: 1, max: 604_800, by: 3600 }, 'How long such an action is refused.'),
    maxQuarantined: count(
      { min: 1, max: 100_000, by: 1000 },
      'Most refused actions that are remembered; beyond it the oldest are allowed again.',
    ),
  })
  .prefault({})
  .describe('When an action is started again, by the cause that ended the attempt before.');

/** Who can have a share of the fleet of its own, from the outermost. */
const level = z.enum(['principal', 'correlated', 'invocation']);

const weight = z.strictObject({
  level,
  id: z
    .string()
    .max(1024)
    .regex(/^[^*]*\*?$/, { message: 'may have a `*` only at its end' }),
  weight: z.number().min(0.01).max(1000),
});

/** In which order actions run. */
export const fairness = z
  .strictObject({
    levels: z
      .array(level)
      .refine((all) => new Set(all).size === all.length, { message: 'names a level twice' })
      .default(['principal', 'correlated', 'invocation'])
      .describe(
        'Among whom the fleet is shared, from the outermost: `principal`, who asks; `correlated`, the invocations that a client ties together; `invocation`, one run of the build tool. Siblings get equal shares, or by `weights`. Empty: first come, first served within a priority.',
      ),
    ageingSecondsPerPoint: seconds(
      { min: 1, max: 86_400, by: 60 },
      'Waiting for so long counts as much as one point of priority, so that nothing waits for ever.',
    ),
    pointsPerDoubling: count(
      { min: 1, max: 10_000, by: 100 },
      'So many points of priority halve the claim of a share, and so does running twice as much.',
    ),
    maxPriority: count(
      { min: 0, max: 1_000_000, by: 1000 },
      'A priority further from 0 counts as this one. Bounds how long others can be made to wait.',
    ),
    longestFirst: z
      .number()
      .min(0)
      .max(1000)
      .default(4)
      .describe(
        'Each second that an action is expected to take counts as so many seconds that it has waited: long ones begin early. 0: no difference.',
      ),
    unknownSeconds: seconds(
      { min: 1, max: 86_400, by: 10 },
      'How long an action is taken to need that has not been seen before.',
    ),
    weights: z
      .array(weight)
      .max(1000)
      .default([])
      .describe(
        'Shares that are not 1, each `{ level, id, weight }` with a weight of 0.01 to 1000; 2 is twice the share of a sibling. An `id` that ends in `*` stands for all that begin like it. The exact `id` wins, then the longest.',
      ),
  })
  .superRefine(({ levels, weights }, context) => {
    weights.forEach((each, at) => {
      const path = ['weights', at];
      if (!levels.includes(each.level)) {
        const message = `"${each.level}" is not one of execution.fairness.levels`;
        context.addIssue({ code: 'custom', path: [...path, 'level'], message });
      }
      const isTwice = weights.slice(0, at).some((other) => other.level === each.level && other.id === each.id);
      if (!isTwice) return;
      const message = `there is a weight for the ${each.level} "${each.id}" already`;
      context.addIssue({ code: 'custom', path: [...path, 'id'], message });
    });
  })
  .prefault({})
  .describe('The order in which actions run.');

/** Second attempts. */
export const hedging = z
  .strictObject({
    enabled: z
      .boolean()
      .default(false)
      .describe(
        'Whether an action that takes far longer than before is started a second time on a slot that would be idle. The first good result counts.',
      ),
    factor: z.number().min(1.1).max(100).default(4).describe('How many times longer than expected is far longer.'),
    minSeconds: seconds({ min: 1, max: 86_400, by: 30 }, 'An action that ran for less is not started a second time.'),
    maxShare: z
      .number()
      .min(0)
      .max(1)
      .default(0.05)
      .describe('Part of the slots that second attempts may take at the same time.'),
  })
  .prefault({})
  .describe('Second attempts for actions that take far longer than expected.');

/** When a worker's machine is taken to be broken. */
export const isolation = z
  .strictObject({
    faultsInARow: count(
      { min: 0, max: 1000, by: 5 },
      'A machine that fails by itself so often in a row, each time with another action, gets no work for `forSeconds`, unless an operator forgives it. 0: never.',
    ),
    window: count(
      { min: 5, max: 10_000, by: 40 },
      'How many of the last results of a machine are compared with those of the others.',
    ),
    maxShare: z
      .number()
      .min(0)
      .max(1)
      .default(0.25)
      .describe(
        'Part of the machines that may be isolated at the same time, but always one: when everything fails, no single one is to blame.',
      ),
    forSeconds: seconds(
      { min: 1, max: 604_800, by: 900 },
      'How long an isolated machine gets no work before it is tried again.',
    ),
  })
  .prefault({})
  .describe('Machines that fail differently from the rest.');

/** What is remembered of actions that ran. */
export const history = z
  .strictObject({
    maxActions: count(
      { min: 0, max: 10_000_000, by: 100_000 },
      'How many kinds of actions are remembered with how long they took and what size they needed; beyond it the least recently run are forgotten. 0: none.',
    ),
  })
  .prefault({})
  .describe('What is remembered of actions that ran, to know what to expect of the next.');

/** A recording of what the scheduler was told. */
export const trace = z
  .strictObject({
    file: z
      .string()
      .default('')
      .describe(
        'File to which everything is recorded that the scheduler is told, for `gantry simulate`. A leading `$DATA_FOLDER` is `dataFolder`. Empty: nothing is recorded.',
      ),
    maxBytes: size(
      { min: MIB, max: 1024 * GIB, by: GIB },
      'Most that the recording takes, with the file before it (`file.1`).',
    ),
  })
  .prefault({})
  .describe('Recording of the scheduler’s work.');
