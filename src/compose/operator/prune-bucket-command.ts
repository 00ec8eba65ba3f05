import { type Orphan, orphansIn, removeOrphans } from '../../cas/s3/bucket-orphans.ts';
import { type BucketSurvey, surveyBucket } from '../../cas/s3/bucket-survey.ts';
import type { ObjectStore } from '../../cas/s3/object-store.ts';
import type { Config, Environment } from '../../config/load.ts';
import { SystemClock } from '../../system/clock.ts';
import { NO_LOG } from '../../system/log.ts';
import { SystemRandom } from '../../system/random.ts';
import { s3OptionsOf } from '../s3-options.ts';
import { StartProgress } from '../start-progress.ts';
import type { OpenBucket } from './open-bucket.ts';
import { ProgressText } from './progress-text.ts';
import { orphansText, pruneJson, surveyText } from './prune-bucket-text.ts';
import { readableCount } from './readable.ts';
import { bucketText } from './s3-doctor-report.ts';
import { jsonText, type Terminal } from './terminal.ts';
import { UsageError } from './usage-error.ts';

/** What `gantry store prune --bucket` takes beside the configuration. */
export interface PruneBucketOptions {
  /** Says what would be removed, and removes nothing. */
  readonly isDryRun: boolean;
  /** Prints one report for programs at the end, and no progress. */
  readonly isJson: boolean;
  readonly signal: AbortSignal;
  /** Where secrets may be; default: the process's. */
  readonly environment?: Environment;
}

/**
 * `gantry store prune --bucket`: looks at all of the bucket and removes what nobody needs and no server removes. No server has to
 * run, and all of them may.
 * @returns whether no pack is damaged. @throws UsageError: no bucket is configured; as surveying and removing do.
 */
export async function pruneBucket(
  config: Config,
  open: OpenBucket,
  terminal: Terminal,
  options: PruneBucketOptions,
): Promise<boolean> {
  const s3 = s3OptionsOf(config, options.environment);
  if (s3 === undefined) throw new UsageError('no bucket is configured: set s3.bucket, or give --s3-bucket');
  const { isDryRun, isJson } = options;
  const { objects, close } = open(s3);
  try {
    const survey = await lookAt(objects, terminal, options);
    const orphans = orphansIn(survey);
    if (!isJson) terminal.out(`${bucketText(s3)}\n${surveyText(survey)}`);
    const removed: Orphan[] = [];
    try {
      if (!isDryRun) await remove(objects, orphans, removed, { terminal, ...options });
    } finally {
      // Also after a failure: what is gone is gone.
      const outcome = { survey, orphans, removed, isDryRun };
      const { bucket, prefix, region, endpoint } = s3;
      terminal.out(
        isJson ? jsonText({ bucket, prefix, region, endpoint, ...pruneJson(outcome) }) : orphansText(outcome),
      );
    }
    return survey.damagedPacks.length === 0;
  } finally {
    close();
  }
}

async function lookAt(
  objects: ObjectStore,
  terminal: Terminal,
  { isJson, signal }: PruneBucketOptions,
): Promise<BucketSurvey> {
  const text = new ProgressText(terminal);
  const clock = terminal.clock ?? new SystemClock();
  const progress = new StartProgress(clock, (line) => {
    if (!isJson) text.show(line);
  });
  try {
    return await surveyBucket(
      objects,
      // Without a log: damage is in the report.
      { random: new SystemRandom(), log: NO_LOG, onProgress: (state) => progress.recovering(state) },
      signal,
    );
  } finally {
    progress.end();
  }
}

async function remove(
  objects: ObjectStore,
  orphans: readonly Orphan[],
  removed: Orphan[],
  { terminal, isJson, signal }: PruneBucketOptions & { readonly terminal: Terminal },
): Promise<void> {
  const progress = new ProgressText(terminal);
  const onRemoved = (orphan: Orphan): void => {
    removed.push(orphan);
    if (!isJson) progress.show(`removing: ${readableCount(removed.length)} of ${readableCount(orphans.length)}`);
  };
  try {
    await removeOrphans(objects, orphans, onRemoved, signal);
  } finally {
    progress.show(undefined);
  }
}
