import { ReapiError } from '../errors.ts';
import {
  type HealthCheckResponse,
  HealthDefinition,
  HealthListResponse,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '../gen/grpc/health/v1/health.ts';
import type { HealthState } from '../system/health-state.ts';
import type { Call } from './call.ts';
import { type Method, serverStreaming, unary } from './methods.ts';

/** Limits of the health service. */
export interface HealthLimits {
  /** Open Watch calls at a time. One for each connection of a large fleet is plenty. Default 1000. */
  readonly maxWatchers: number;
  /** Services one List answer names (R-XC-14). Default 100, as in grpc-go. */
  readonly maxListedServices: number;
}

const DEFAULT_LIMITS: HealthLimits = { maxWatchers: 1000, maxListedServices: 100 };

/** grpc.health.v1.Health over `state` (R-XC-14, R-XC-15). */
export function healthMethods(state: HealthState, limits: Partial<HealthLimits> = {}): readonly Method[] {
  const { maxWatchers, maxListedServices } = { ...DEFAULT_LIMITS, ...limits };
  const { check, list, watch } = HealthDefinition.methods;
  let watchers = 0;

  async function* watchOne(service: string, call: Call): AsyncIterable<HealthCheckResponse> {
    if (watchers >= maxWatchers) {
      throw new ReapiError('quota-exceeded', `the limit of ${maxWatchers} health watchers is reached`);
    }
    watchers++;
    try {
      yield* statuses(state, service, call.signal);
    } finally {
      watchers--;
    }
  }

  return [
    unary(HealthDefinition, check, async ({ service }) => {
      const isServing = state.isServing(service);
      if (isServing === undefined) throw new ReapiError('not-found', `the service '${service}' is not known`);
      return response(isServing);
    }),
    unary(HealthDefinition, list, async () => {
      const all = state.all();
      if (all.size > maxListedServices) {
        throw new ReapiError('quota-exceeded', `there are more than ${maxListedServices} services to list`);
      }
      return HealthListResponse.fromPartial({
        statuses: Object.fromEntries([...all].map(([service, isServing]) => [service, response(isServing)])),
      });
    }),
    serverStreaming(HealthDefinition, watch, ({ service }, call) => watchOne(service, call)),
  ];
}

/** The state now, then every change the caller was fast enough to take. @throws cancelled when the call ends. */
async function* statuses(state: HealthState, service: string, signal: AbortSignal): AsyncIterable<HealthCheckResponse> {
  let wake = (): void => undefined;
  const unsubscribe = state.subscribe(service, () => wake());
  const onAbort = (): void => wake();
  signal.addEventListener('abort', onAbort);
  try {
    let sent: HealthCheckResponse | undefined;
    while (!signal.aborted) {
      const now = response(state.isServing(service));
      if (now.status !== sent?.status) {
        sent = now;
        yield now;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
    throw new ReapiError('cancelled', 'the call was cancelled', { cause: signal.reason });
  } finally {
    signal.removeEventListener('abort', onAbort);
    unsubscribe();
  }
}

function response(isServing: boolean | undefined): HealthCheckResponse {
  if (isServing === undefined) return { status: ServingStatus.SERVICE_UNKNOWN };
  return { status: isServing ? ServingStatus.SERVING : ServingStatus.NOT_SERVING };
}
