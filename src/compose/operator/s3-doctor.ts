import { scratchFolder } from '../../cas/s3/object-names.ts';
import type { UnfinishedUpload } from '../../cas/s3/object-store.ts';
import { isKind, ReapiError } from '../../errors.ts';
import type { Clock } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import { diagnose, type S3Obstacle } from './s3-doctor-advice.ts';
import { CHECKS, type Check, type CheckScene, type Found, SAMPLE_BYTES } from './s3-doctor-checks.ts';
import type { S3Probe } from './s3-doctor-probe.ts';
import type { S3Finding } from './s3-doctor-report.ts';

/** What an examination needs beside the bucket. */
export interface S3DoctorParts {
  readonly clock: Clock;
  readonly random: Random;
  /** Told of each finding at once. @returns false if nobody wants to know more: the checks end. */
  readonly onFinding: (finding: S3Finding) => Promise<boolean>;
}

/** What AWS refuses, and what is worth a word: several servers compare times only in minutes, but certificates and logs do not. */
const MAX_SKEW_SECONDS = 900;
const NOTABLE_SKEW_SECONDS = 30;

/** Longest time for removing what was written, also after Ctrl-C. */
const CLEANING_MS = 20_000;

/** What the first request goes through, in this order, and how far an obstacle lets it. */
const CONTACT: readonly { readonly name: S3Obstacle; readonly finding: string }[] = [
  { name: 'endpoint', finding: 'it answers' },
  { name: 'credentials', finding: 'they are accepted' },
  { name: 'bucket', finding: 'it exists' },
];

type AddFinding = (check: string, found: Found) => Promise<void>;

/**
 * Looks whether a bucket does what Gantry needs, and what hinders it. Everything it writes is under `doctor/<random>/` and is removed
 * again, also after a failure or an abort.
 * @throws cancelled.
 */
export async function examineS3(
  probe: S3Probe,
  { clock, random, onFinding }: S3DoctorParts,
  signal: AbortSignal,
): Promise<readonly S3Finding[]> {
  const scene = {
    ...{ probe, clock, signal },
    folder: scratchFolder(random),
    sample: Buffer.from(random.token(SAMPLE_BYTES), 'hex'),
    keys: new Set<string>(),
    uploads: new Set<UnfinishedUpload>(),
    passed: new Set<string>(),
  };
  const findings: S3Finding[] = [];
  let isWanted = true;
  const add: AddFinding = async (check, found) => {
    const finding = { check, ...found };
    findings.push(finding);
    if (found.result === 'ok' || found.result === 'warning') scene.passed.add(check);
    isWanted = (await onFinding(finding)) && isWanted;
  };
  try {
    const others = (await contact(scene, add)) ? CHECKS : [];
    for (const check of others) {
      if (!isWanted) break;
      if (!findings.some(({ check: name }) => name === check.name)) await add(check.name, await runCheck(check, scene));
    }
  } finally {
    const left = await clean(scene);
    if (left !== undefined) await add('clean-up', left);
  }
  return findings;
}

/** The first request. @returns whether others make sense. */
async function contact(scene: CheckScene, add: AddFinding): Promise<boolean> {
  const { probe, folder, signal } = scene;
  let obstacle: S3Obstacle | undefined;
  let failure: Found | undefined;
  try {
    for await (const _ of probe.store.list(folder, undefined, signal)) break;
  } catch (error) {
    const { finding, advice, ...found } = diagnoseUnlessAborted(error, 's3:ListBucket', scene);
    obstacle = found.obstacle;
    failure = { result: 'failed', finding, advice };
  }
  for (const { name, finding } of CONTACT) {
    if (failure !== undefined && name === obstacle) {
      await add(name, failure);
      break;
    }
    // The chain of credentials may have failed before anything was sent.
    const isProven = failure === undefined || probe.serverTime() !== undefined;
    await add(name, isProven ? { result: 'ok', finding } : skipped('no answer came'));
  }
  // Refusals tell the time as well, and may be due to it.
  await add('clock', clockFinding(probe));
  if (obstacle === 'right' && failure !== undefined) await add('list', failure);
  return obstacle === undefined || obstacle === 'right';
}

function clockFinding(probe: S3Probe): Found {
  const time = probe.serverTime();
  if (time === undefined) return skipped('the server did not say its time');
  const seconds = Math.round((time.localMs - time.serverMs) / 1000);
  const size = Math.abs(seconds);
  const finding =
    size <= 1
      ? 'this machine and the server agree'
      : `this machine is ${size} s ${seconds > 0 ? 'ahead of' : 'behind'} the server`;
  if (size < NOTABLE_SKEW_SECONDS) return { result: 'ok', finding };
  const advice =
    'Set the clock (chrony, systemd-timesyncd): requests signed more than 15 minutes off are refused, and only repeated by the time of the server.';
  return { result: size < MAX_SKEW_SECONDS ? 'warning' : 'failed', finding, advice };
}

async function runCheck(check: Check, scene: CheckScene): Promise<Found> {
  const lacking = check.needs.find((name) => !scene.passed.has(name));
  try {
    if (lacking === undefined) return await check.run(scene);
    await check.useRight?.(scene);
    return skipped(`it needs ${lacking}`);
  } catch (error) {
    const { finding, advice } = diagnoseUnlessAborted(error, check.right, scene);
    return { result: 'failed', finding, advice };
  }
}

function diagnoseUnlessAborted(error: unknown, right: string, { signal, probe }: CheckScene) {
  if (signal.aborted || isKind(error, 'cancelled')) throw ReapiError.wrap(error, 'the checks were stopped');
  // Anything else is a fault of ours, and none of the bucket.
  if (!(error instanceof ReapiError)) throw error;
  return diagnose(error, right, probe.place);
}

/** Removes what is still there. @returns what could not be removed. */
async function clean(scene: CheckScene): Promise<Found | undefined> {
  const { probe, clock, keys, uploads } = scene;
  if (keys.size + uploads.size === 0) return undefined;
  const stop = new AbortController();
  const timer = clock.wakeAt(clock.monotonicMs() + CLEANING_MS, () => stop.abort());
  const removals = [...uploads].map((upload) => probe.store.dropUpload(upload, stop.signal));
  if (keys.size > 0) removals.push(probe.store.delete([...keys], stop.signal));
  const results = await Promise.allSettled(removals);
  timer.cancel();
  const failure = results.find((result) => result.status === 'rejected');
  if (failure === undefined) return undefined;
  const right = 's3:DeleteObject and s3:AbortMultipartUpload';
  const { finding, advice } = diagnose(failure.reason, right, probe.place);
  const where = `${probe.place.prefix}${scene.folder}`;
  return { result: 'warning', finding: `objects stay under "${where}": ${finding}`, advice };
}

function skipped(finding: string): Found {
  return { result: 'skipped', finding };
}
