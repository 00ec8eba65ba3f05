import {
  checkReportFromWire,
  progressFromWire,
  pruneReportFromWire,
  type ServerStats,
  statsFromWire,
} from '../../admin/store-messages.ts';
import type { CheckReport, PruneReport, StoreControl, StoreProgress } from '../../cas/segment/store-report.ts';
import { ReapiError } from '../../errors.ts';
import { AdminDefinition, type StoreProgress as WireProgress } from '../../gen/gantry/v1/admin.ts';
import type { RpcClient } from '../../rpc/client.ts';
import { type OpenLocalStore, withOfflineStore } from './offline-store.ts';
import { CALL_TIMEOUT_MS, withAdmin, withServer } from './server-connection.ts';

/** A store as operators see it, wherever it is: `StoreControl` with a call in between. */
export interface OperatorStore extends Pick<StoreControl, 'check' | 'prune'> {
  stats(signal: AbortSignal): Promise<ServerStats>;
}

/** Which store is meant: that of a running server, or one in a data folder that no server uses. */
export type StoreSource =
  | { readonly type: 'server'; readonly target: string }
  | { readonly type: 'folder'; readonly dataFolder: string; readonly open: OpenLocalStore };

/** Works on the store and lets go of it. @throws as connecting, opening and `work` do. */
export function withOperatorStore<T>(source: StoreSource, work: (store: OperatorStore) => Promise<T>): Promise<T> {
  if (source.type === 'server') return withServer(source.target, (client) => work(new AdminClient(client)));
  return withOfflineStore(source.open, source.dataFolder, (control) =>
    work({
      stats: async () => control.stats(),
      check: (onProgress, signal) => control.check(onProgress, signal),
      prune: (targetBytes, onProgress, signal) => control.prune(targetBytes, onProgress, signal),
    }),
  );
}

const { methods } = AdminDefinition;

/** The store of a running server. */
class AdminClient implements OperatorStore {
  readonly #client: RpcClient;

  constructor(client: RpcClient) {
    this.#client = client;
  }

  stats(signal: AbortSignal): Promise<ServerStats> {
    const options = { signal, timeoutMs: CALL_TIMEOUT_MS };
    return withAdmin(async () =>
      statsFromWire(await this.#client.unary(AdminDefinition, methods.getStoreStats, {}, options)),
    );
  }

  check(onProgress: (progress: StoreProgress) => void, signal: AbortSignal): Promise<CheckReport> {
    const updates = this.#client.serverStream(AdminDefinition, methods.checkStore, {}, { signal });
    return reportOf(updates, onProgress, checkReportFromWire);
  }

  prune(targetBytes: number, onProgress: (progress: StoreProgress) => void, signal: AbortSignal): Promise<PruneReport> {
    const request = { targetBytes: BigInt(targetBytes) };
    const updates = this.#client.serverStream(AdminDefinition, methods.pruneStore, request, { signal });
    return reportOf(updates, onProgress, pruneReportFromWire);
  }
}

interface WireUpdate<WireReport> {
  readonly update:
    | { readonly $case: 'progress'; readonly value: WireProgress }
    | { readonly $case: 'report'; readonly value: WireReport }
    | undefined;
}

/** The report that ends the stream. */
function reportOf<WireReport, Report>(
  updates: AsyncIterable<WireUpdate<WireReport>>,
  onProgress: (progress: StoreProgress) => void,
  fromWire: (report: WireReport) => Report,
): Promise<Report> {
  return withAdmin(async () => {
    for await (const { update } of updates) {
      if (update?.$case === 'progress') onProgress(progressFromWire(update.value));
      else if (update?.$case === 'report') return fromWire(update.value);
    }
    throw new ReapiError('internal', 'the server ended the job without a report');
  });
}
