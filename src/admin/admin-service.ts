import type { ActionStore } from '../action-cache/action-store.ts';
import type { MissExplainer, MissReport } from '../action-cache/misses/miss-report.ts';
import { type Authorizer, demand, type Permission } from '../auth/authorizer.ts';
import type { BucketStats } from '../cas/s3/bucket-stats.ts';
import type { StoreControl } from '../cas/segment/store-report.ts';
import { digestFromWire } from '../digest/digest.ts';
import { resolveDigestFunction } from '../digest/digest-function.ts';
import { type InstanceNames, parseInstanceName } from '../digest/instance-name.ts';
import { isKind, ReapiError } from '../errors.ts';
import type {
  DigestFunction_Value,
  Digest as WireDigest,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  AdminDefinition,
  type CheckStoreUpdate,
  type ExplainMissRequest,
  type ExplainMissResponse,
  type PruneStoreRequest,
  type PruneStoreUpdate,
  type RemoveActionResultRequest,
} from '../gen/gantry/v1/admin.ts';
import type { Call } from '../rpc/call.ts';
import { type Method, serverStreaming, unary } from '../rpc/methods.ts';
import type { Clock } from '../system/clock.ts';
import { type JobUpdate, jobUpdates, type StoreJob } from './job-updates.ts';
import { checkReportToWire, progressToWire, pruneReportToWire, statsToWire } from './store-messages.ts';

/** What the service works on. */
export interface AdminParts {
  readonly control: StoreControl;
  /** Absent without a bucket. */
  readonly bucketStats?: () => BucketStats;
  readonly actions: Pick<ActionStore, 'remove'>;
  readonly misses: MissExplainer;
  /** An explanation in sentences and lines, for people. */
  readonly renderMiss: (report: MissReport) => string;
  readonly authorizer: Authorizer;
  readonly instances: InstanceNames;
  readonly clock: Clock;
  /** Aborts when the server begins to stop: jobs do not outlast that. Absent: they end with their calls only. */
  readonly stopping?: AbortSignal;
}

/** The store belongs to no instance name: whoever may operate under the empty one may operate it. */
const EVERYWHERE = parseInstanceName('');

/**
 * `gantry.v1.Admin`. What only looks (a check, too: it puts aside what a read would put aside) asks for `operate`, what
 * removes for `admin`.
 */
export function adminMethods(parts: AdminParts): Method[] {
  const service = new AdminService(parts);
  const { methods } = AdminDefinition;
  return [
    unary(AdminDefinition, methods.getStoreStats, async (_, call) => {
      await service.admit('operate', call);
      const bucket = parts.bucketStats?.();
      return statsToWire({ ...parts.control.stats(), ...(bucket && { bucket }) });
    }),
    serverStreaming(AdminDefinition, methods.checkStore, (_, call) => service.check(call)),
    serverStreaming(AdminDefinition, methods.pruneStore, (request, call) => service.prune(request, call)),
    unary(AdminDefinition, methods.removeActionResult, async (request, call) => ({
      removed: await service.removeResult(request, call),
    })),
    unary(AdminDefinition, methods.explainMiss, (request, call) => service.explain(request, call)),
  ];
}

class AdminService {
  readonly #parts: AdminParts;
  /** Jobs that run. */
  readonly #busy = new Set<string>();

  constructor(parts: AdminParts) {
    this.#parts = parts;
  }

  /** @throws denied. */
  admit(what: Permission, call: Call, where = EVERYWHERE): Promise<void> {
    return demand(this.#parts.authorizer, call.principal, what, where);
  }

  async *check(call: Call): AsyncGenerator<CheckStoreUpdate, void> {
    await this.admit('operate', call);
    const { control } = this.#parts;
    for await (const update of this.#alone('check', (told, signal) => control.check(told, signal), call)) {
      yield { update: updateToWire(update, checkReportToWire) };
    }
  }

  async *prune(request: PruneStoreRequest, call: Call): AsyncGenerator<PruneStoreUpdate, void> {
    await this.admit('admin', call);
    const { control } = this.#parts;
    if (request.targetBytes === undefined) {
      throw new ReapiError('invalid-argument', 'target_bytes is required', { field: 'target_bytes' });
    }
    const targetBytes = Number(request.targetBytes);
    if (targetBytes < 0) {
      throw new ReapiError('invalid-argument', `${targetBytes} is not a size`, { field: 'target_bytes' });
    }
    const job: StoreJob<Awaited<ReturnType<StoreControl['prune']>>> = (told, signal) =>
      control.prune(targetBytes, told, signal);
    for await (const update of this.#alone('prune', job, call)) {
      yield { update: updateToWire(update, pruneReportToWire) };
    }
  }

  async removeResult(request: RemoveActionResultRequest, call: Call): Promise<boolean> {
    const instance = this.#parts.instances.resolve(request.instanceName);
    await this.admit('admin', call, instance);
    return this.#parts.actions.remove({ instance, action: actionOf(request) }, call.signal);
  }

  async explain(request: ExplainMissRequest, call: Call): Promise<ExplainMissResponse> {
    const { instances, misses, renderMiss } = this.#parts;
    const instance = request.instanceName === undefined ? undefined : instances.resolve(request.instanceName);
    // Without a name the answer may come from any.
    await this.admit('operate', call, instance);
    const query = { digest: actionOf(request), ...(instance !== undefined && { instance }) };
    const report = await misses.explain(query, call.signal);
    return { reportJson: JSON.stringify(report), text: renderMiss(report) };
  }

  /** Runs a job unless one of its kind runs. @throws precondition: one does. */
  async *#alone<Report>(kind: string, job: StoreJob<Report>, call: Call): AsyncGenerator<JobUpdate<Report>, void> {
    if (this.#busy.has(kind)) {
      throw new ReapiError('precondition', `a ${kind} of this store is running already; wait for it or cancel it`);
    }
    const { clock, stopping } = this.#parts;
    this.#busy.add(kind);
    try {
      yield* jobUpdates(clock, job, AbortSignal.any(stopping === undefined ? [call.signal] : [call.signal, stopping]));
    } catch (error) {
      // The caller did not cancel it: it learns that the server goes away.
      if (stopping?.aborted === true && isKind(error, 'cancelled')) throw stopping.reason;
      throw error;
    } finally {
      this.#busy.delete(kind);
    }
  }
}

type WireUpdate<WireReport> =
  | { readonly $case: 'progress'; readonly value: ReturnType<typeof progressToWire> }
  | { readonly $case: 'report'; readonly value: WireReport };

function updateToWire<Report, WireReport>(
  update: JobUpdate<Report>,
  reportToWire: (report: Report) => WireReport,
): WireUpdate<WireReport> {
  if (update.type === 'progress') return { $case: 'progress', value: progressToWire(update.progress) };
  return { $case: 'report', value: reportToWire(update.report) };
}

function actionOf(request: { actionDigest: WireDigest | undefined; digestFunction: DigestFunction_Value }) {
  const fn = resolveDigestFunction(request.digestFunction, request.actionDigest?.hash.length);
  return digestFromWire(fn, request.actionDigest, 'action_digest');
}
