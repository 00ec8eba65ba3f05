import { readFileSync, writeFileSync } from 'node:fs';
import type { Config } from '../../config/load.ts';
import { systemCode } from '../../errors.ts';
import type { FleetOptions } from '../../execution/trace/replay-fleet.ts';
import { simulateTrace } from '../../execution/trace/simulate-trace.ts';
import type { Trace } from '../../execution/trace/trace.ts';
import { decodeTrace } from '../../execution/trace/trace-decoder.ts';
import { createMatcher } from '../platform.ts';
import { schedulerPolicy } from '../scheduler-policy.ts';
import { simulationPicture } from './simulate-picture.ts';
import { type SimulatedPolicy, simulatedPolicy } from './simulate-policies.ts';
import { type SimulationSubject, simulationText } from './simulate-text.ts';
import { jsonText, type Terminal } from './terminal.ts';
import { UsageError } from './usage-error.ts';

/** What `gantry simulate` is asked for. */
export interface SimulateOptions {
  /** The trace. */
  readonly file: string;
  /** Default: the recorded one. */
  readonly fleet: FleetOptions | undefined;
  readonly policy: SimulatedPolicy;
  readonly speed: number;
  readonly isClosedLoop: boolean;
  readonly isJson: boolean;
  /** File to draw the picture into. */
  readonly svg: string | undefined;
}

/** `gantry simulate`. @returns whether every action ended. @throws UsageError: no such file; invalid-argument: it is no trace. */
export function simulate(config: Config, terminal: Pick<Terminal, 'out'>, options: SimulateOptions): boolean {
  const trace = readTrace(options.file);
  const { fleet, policy, speed, isClosedLoop } = options;
  const report = simulateTrace(trace, createMatcher(config), {
    ...simulatedPolicy(policy, schedulerPolicy(config)),
    ...{ speed, isClosedLoop },
    ...(fleet !== undefined && { fleet }),
  });
  const subject = subjectOf(trace, options);
  if (options.svg !== undefined) {
    const title = `${subject.fleet}, policy ${policy}`;
    write(options.svg, simulationPicture(report, title));
  }
  terminal.out(options.isJson ? jsonText({ ...subject, ...report }) : simulationText(report, subject));
  return report.unfinished === 0;
}

function subjectOf(
  { startedAtMs, isTruncated, isPartial = false }: Trace,
  { fleet, policy, speed }: SimulateOptions,
): SimulationSubject {
  const workers = fleet === undefined ? 'as recorded' : `${fleet.workers} workers`;
  const slots = fleet?.slotsPerWorker === undefined ? '' : ` with ${fleet.slotsPerWorker} slots each`;
  const faster = speed === 1 ? '' : `, ${speed} times as fast`;
  return { startedAt: dateText(startedAtMs), policy, fleet: `${workers}${slots}${faster}`, isTruncated, isPartial };
}

/** A trace may come from anywhere, with a start beyond what dates can say. */
function dateText(wallMs: number): string {
  const date = new Date(wallMs);
  return Number.isNaN(date.getTime()) ? 'an unknown time' : date.toISOString();
}

function readTrace(file: string): Trace {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new UsageError(`the file "${file}" cannot be read (${systemCode(error) ?? 'unknown error'})`);
  }
  return decodeTrace(bytes);
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (error) {
    throw new UsageError(`the file "${file}" cannot be written (${systemCode(error) ?? 'unknown error'})`);
  }
}
