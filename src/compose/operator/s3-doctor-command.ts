import type { Config, Environment } from '../../config/load.ts';
import { SystemClock } from '../../system/clock.ts';
import { SystemRandom } from '../../system/random.ts';
import { s3OptionsOf } from '../s3-options.ts';
import { examineS3 } from './s3-doctor.ts';
import type { OpenS3Probe } from './s3-doctor-probe.ts';
import { findingText, isUsable, placeText, type S3Finding, sumText } from './s3-doctor-report.ts';
import { jsonText, type Terminal } from './terminal.ts';
import { UsageError } from './usage-error.ts';

/** What `gantry doctor s3` takes beside the configuration. */
export interface S3DoctorOptions {
  /** Prints one report for programs at the end. */
  readonly isJson: boolean;
  readonly signal: AbortSignal;
  /** Where secrets may be; default: the process's. */
  readonly environment?: Environment;
}

/**
 * `gantry doctor s3`.
 * @returns whether nothing failed. @throws UsageError: no bucket is configured, or its secrets cannot be read; cancelled.
 */
export async function doctorS3(
  config: Config,
  open: OpenS3Probe,
  terminal: Terminal,
  { isJson, signal, environment }: S3DoctorOptions,
): Promise<boolean> {
  const options = s3OptionsOf(config, environment);
  if (options === undefined) throw new UsageError('no bucket is configured: set s3.bucket, or give --s3-bucket');
  const clock = terminal.clock ?? new SystemClock();
  const random = new SystemRandom();
  const probe = open(options, { clock, random });
  try {
    // Not by `out`: whoever pipes this to `head` would end the process, and leave in the bucket what was written.
    const print = (text: string): Promise<boolean> => terminal.writeOut(Buffer.from(text));
    if (!isJson) await print(placeText(probe.place));
    const onFinding = async (finding: S3Finding) => isJson || (await print(findingText(finding)));
    const findings = await examineS3(probe, { clock, random, onFinding }, signal);
    await print(
      isJson ? jsonText({ ...probe.place, isUsable: isUsable(findings), checks: findings }) : sumText(findings),
    );
    return isUsable(findings);
  } finally {
    probe.close();
  }
}
