import type { Config } from '../config/load.ts';
import type { ExecutionWork } from '../execution/execution-work.ts';
import type { SchedulerHost } from '../execution/scheduler-host.ts';
import { TraceRecorder } from '../execution/trace/trace-recorder.ts';
import type { Clock } from '../system/clock.ts';
import { NODE_FILE_SYSTEM } from '../system/file-system.ts';
import type { Lifecycle } from '../system/lifecycle.ts';
import type { Log } from '../system/log.ts';
import type { Metrics } from '../system/metrics.ts';

/** What a recording needs. */
export interface TraceDependencies {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly lifecycle: Lifecycle;
  readonly host: SchedulerHost;
  /** A slot silent for so long is gone. */
  readonly slotTimeoutMs: number;
}

/** Records what the scheduler is told, if the configuration says where. */
export function recordTrace(
  config: Config,
  { clock, log, metrics, lifecycle, host, slotTimeoutMs }: TraceDependencies,
): void {
  const { file, maxBytes } = config.execution.trace;
  if (file === '') return;
  const recorder = new TraceRecorder<ExecutionWork>(NODE_FILE_SYSTEM, clock, log, {
    ...{ path: file, maxBytes, slotTimeoutMs },
    mnemonicOf: ({ requestMetadata }) => requestMetadata?.actionMnemonic ?? '',
  });
  host.observe(recorder.observe);
  metrics.gauge(
    { name: 'gantry_trace_dropped_events', help: 'Events that could not be recorded since the start.' },
    () => recorder.counts.droppedEvents,
  );
  lifecycle.add('the recording', () => recorder.stop());
}
