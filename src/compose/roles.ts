import type { Config } from '../config/load.ts';
import type { PlatformProperty } from '../platform/platform.ts';
import { startServer } from './server.ts';
import { startWorkerRole } from './worker.ts';

/** What a role that runs has to say of itself. */
export interface ReadyInfo {
  /** `HOST:PORT` or `unix:/path`. */
  readonly grpcAddress?: string;
  readonly httpAddress?: string;
  readonly dataFolder: string;
  readonly maxSizeBytes?: number;
  readonly workerProperties?: readonly PlatformProperty[];
  readonly slots?: number;
  /** Sentences for people: what is limited or unusual about this start. */
  readonly notes: readonly string[];
}

/** A role that has started. */
export interface RunningRole {
  readonly ready: ReadyInfo;
  /** Lets running calls and actions end within `graceMs`, then stops. */
  stop(graceMs: number): Promise<void>;
  /** Stops now: what runs is aborted. */
  force(): void;
  /** Resolves when the role has ended by itself: with what went wrong, if anything. */
  readonly done: Promise<Error | undefined>;
}

/** Around a start. */
export interface Starting {
  /** Gives the start up, where it waits for something that may take long. */
  readonly signal: AbortSignal;
  /** Told how far it is, for people; undefined when there is nothing more to tell. */
  readonly onProgress: (text: string | undefined) => void;
}

/** `gantry serve`: a server with an embedded worker, unless the configuration says otherwise. */
export function serve(config: Config, starting: Starting): Promise<RunningRole> {
  return startServer(config, { hasWorker: config.embeddedWorker && !config.readOnly }, starting);
}

/** `gantry server`: a server alone. */
export function server(config: Config, starting: Starting): Promise<RunningRole> {
  return startServer(config, { hasWorker: false }, starting);
}

/** `gantry worker`: a worker for a server elsewhere. */
export function worker(config: Config): Promise<RunningRole> {
  return startWorkerRole(config);
}
