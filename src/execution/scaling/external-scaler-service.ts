import { type Authorizer, demand } from '../../auth/authorizer.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { ReapiError } from '../../errors.ts';
import {
  ExternalScalerDefinition,
  GetMetricSpecResponse,
  type GetMetricsRequest,
  GetMetricsResponse,
  IsActiveResponse,
  type ScaledObjectRef,
} from '../../gen/externalscaler/externalscaler.ts';
import type { Call } from '../../rpc/call.ts';
import { type Method, serverStreaming, unary } from '../../rpc/methods.ts';
import { type Clock, sleep } from '../../system/clock.ts';
import type { FleetPlan } from './fleet-plan.ts';
import { parseTrigger, planOf, type Trigger } from './trigger.ts';

/** What the service works with. */
export interface ExternalScalerParts {
  readonly plan: FleetPlan;
  readonly authorizer: Authorizer;
  readonly clock: Clock;
  /** Aborts when the server begins to stop: streams end. */
  readonly stopping: AbortSignal;
}

/** The one metric. KEDA puts an index in front of it, as in `s0-gantry-wanted-workers`. */
const METRIC_NAME = 'gantry-wanted-workers';

/** Open streams at a time. KEDA has one for each ScaledObject. */
const MAX_STREAMS = 256;

/** How soon a stream tells of a change in the plan. */
const STREAM_CHECK_MS = 1_000;

/** KEDA's external scaler: how many workers a pool should have (spec, section 14; docs/scaling.md). */
export function externalScalerMethods(parts: ExternalScalerParts): Method[] {
  const scaler = new ExternalScaler(parts);
  const { isActive, streamIsActive, getMetricSpec, getMetrics } = ExternalScalerDefinition.methods;
  return [
    unary(ExternalScalerDefinition, isActive, (request, call) => scaler.isActive(request, call)),
    serverStreaming(ExternalScalerDefinition, streamIsActive, (request, call) => scaler.stream(request, call)),
    unary(ExternalScalerDefinition, getMetricSpec, (request, call) => scaler.metricSpec(request, call)),
    unary(ExternalScalerDefinition, getMetrics, (request, call) => scaler.metrics(request, call)),
  ];
}

/**
 * Methods by their definitions. Numbers are told twice: KEDA calls the whole ones deprecated, and its older versions know no others.
 * All throw denied, and invalid-argument for a trigger that makes no sense.
 */
class ExternalScaler {
  readonly #parts: ExternalScalerParts;
  #streams = 0;

  constructor(parts: ExternalScalerParts) {
    this.#parts = parts;
  }

  /** @throws unavailable as long as the fleet is coming back after a start. */
  async isActive(request: ScaledObjectRef, call: Call): Promise<IsActiveResponse> {
    const trigger = await this.#triggerOf(request, call);
    this.#refuseUnsettled();
    return IsActiveResponse.fromPartial({ result: this.#wanted(trigger) > 0 });
  }

  /**
   * Begins with what is, and goes on with every change until the call or the server ends. Waits while the fleet is coming back.
   * @throws quota-exceeded above `MAX_STREAMS`.
   */
  async *stream(request: ScaledObjectRef, call: Call): AsyncGenerator<IsActiveResponse> {
    const trigger = await this.#triggerOf(request, call);
    if (this.#streams >= MAX_STREAMS) {
      throw new ReapiError('quota-exceeded', `there are ${MAX_STREAMS} streams already`);
    }
    this.#streams++;
    try {
      yield* this.#changes(trigger, AbortSignal.any([call.signal, this.#parts.stopping]));
    } finally {
      this.#streams--;
    }
  }

  async metricSpec(request: ScaledObjectRef, call: Call): Promise<GetMetricSpecResponse> {
    const { workersPerReplica } = await this.#triggerOf(request, call);
    return GetMetricSpecResponse.fromPartial({
      metricSpecs: [
        { metricName: METRIC_NAME, targetSize: BigInt(workersPerReplica), targetSizeFloat: workersPerReplica },
      ],
    });
  }

  /** @throws unavailable as long as the fleet is coming back after a start: then the autoscaler leaves everything as it is. */
  async metrics({ scaledObjectRef, metricName }: GetMetricsRequest, call: Call): Promise<GetMetricsResponse> {
    if (scaledObjectRef === undefined) {
      throw new ReapiError('invalid-argument', 'scaledObjectRef is required', { field: 'scaledObjectRef' });
    }
    if (metricName !== '' && !metricName.endsWith(METRIC_NAME)) {
      throw new ReapiError('invalid-argument', `there is only the metric ${METRIC_NAME}`, { field: 'metricName' });
    }
    const trigger = await this.#triggerOf(scaledObjectRef, call);
    this.#refuseUnsettled();
    const wanted = this.#wanted(trigger);
    return GetMetricsResponse.fromPartial({
      metricValues: [{ metricName: metricName || METRIC_NAME, metricValue: BigInt(wanted), metricValueFloat: wanted }],
    });
  }

  async #triggerOf({ scalerMetadata }: ScaledObjectRef, call: Call): Promise<Trigger> {
    await demand(this.#parts.authorizer, call.principal, 'operate', parseInstanceName(''));
    return parseTrigger(new Map(Object.entries(scalerMetadata)), this.#parts.plan.plans());
  }

  /** What workers brought is gone with the last of them. */
  #wanted({ pool, drainMs }: Trigger): number {
    const plans = this.#parts.plan.plans(drainMs === undefined ? undefined : { name: pool, drainMs });
    return planOf(plans, pool)?.wantedWorkers ?? 0;
  }

  #refuseUnsettled(): void {
    if (this.#parts.plan.isSettled) return;
    throw new ReapiError('unavailable', 'the server has just started and its workers are still coming back');
  }

  async *#changes(trigger: Trigger, signal: AbortSignal): AsyncGenerator<IsActiveResponse> {
    const { clock, plan } = this.#parts;
    let told: boolean | undefined;
    while (!signal.aborted) {
      const isActive = plan.isSettled ? this.#wanted(trigger) > 0 : told;
      if (isActive !== undefined && isActive !== told) {
        told = isActive;
        yield IsActiveResponse.fromPartial({ result: isActive });
      }
      try {
        await sleep(clock, STREAM_CHECK_MS, signal);
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    }
  }
}
