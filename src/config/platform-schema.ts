import { z } from 'zod';
import { seconds } from './units.ts';

/** Name of a platform property. */
export const propertyName = z.string().min(1).max(255);

/** A platform property as clients and workers send it. */
export const property = z.strictObject({ name: propertyName, value: z.string().max(4096) });

/** How one platform property is understood. */
const rule = z
  .strictObject({
    name: propertyName,
    match: z.enum(['exact', 'any-of', 'all-of', 'minimum', 'preference', 'ignore']),
    aliases: z.array(propertyName).max(100).default([]),
    foldCase: z.boolean().default(false),
    isTaken: z.boolean().default(false),
    defaultAmount: z.number().min(0).max(1e15).default(0),
  })
  .superRefine(({ match, isTaken, defaultAmount }, context) => {
    if (isTaken && match !== 'minimum') {
      const message = 'only what is matched as a `minimum` can be taken: it has to be an amount';
      context.addIssue({ code: 'custom', path: ['isTaken'], message });
    }
    if (defaultAmount > 0 && !isTaken) {
      const message = 'needs `isTaken: true`: it is what an action takes that does not say how much';
      context.addIssue({ code: 'custom', path: ['defaultAmount'], message });
    }
  });

/** What platform properties mean, and how long a missing platform is waited for. */
export const platform = z
  .strictObject({
    ignore: z
      .array(propertyName)
      .max(1000)
      .default(['persistentWorkerKey', 'persistentWorkerProtocol', 'bazel_tool_input', 'max-cores', 'max-mem'])
      .describe(
        'Names of platform properties that are left out of matching: Bazel adds some by itself, and any worker keeps below an upper bound like `max-cores` (R-PL-04).',
      ),
    rules: z
      .array(rule)
      .max(1000)
      .default([])
      .describe(
        'Rules for platform properties, each `{ name, match, aliases, foldCase, isTaken, defaultAmount }`, on top of the built-in ones for `OSFamily`, `ISA` and their aliases; a rule for the same name replaces the built-in one. `match` is `exact`, `any-of`, `all-of`, `minimum`, `preference` (better to have, not needed) or `ignore`. With `isTaken: true`, which needs `minimum`, the amount is taken from the worker’s machine while the action runs; an action that does not ask takes `defaultAmount`. A property without a rule is matched exactly if some worker offers it; a name that nobody offers refuses the action.',
      ),
    graceSeconds: seconds(
      { min: 0, max: 3600, by: 60 },
      'For so long after a start, and after the last fitting worker was gone, an action that no worker satisfies waits instead of failing: its worker may be on the way.',
    ),
  })
  .prefault({})
  .describe('What platform properties mean.');
