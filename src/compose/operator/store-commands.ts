import type { ServerStats } from '../../admin/store-messages.ts';
import type { StoreProgress } from '../../cas/segment/store-report.ts';
import { type OperatorStore, type StoreSource, withOperatorStore } from './operator-store.ts';
import { ProgressLine } from './progress-line.ts';
import { checkText, pruneText, statsText } from './store-text.ts';
import { jsonText, type Terminal } from './terminal.ts';

/** What the commands on a store share. */
export interface StoreCommandOptions {
  /** Prints the report as JSON, and no progress. */
  readonly isJson: boolean;
  readonly signal: AbortSignal;
}

/** `gantry store stats`. @throws as reaching the store does. */
export async function storeStats(
  source: StoreSource,
  terminal: Terminal,
  { isJson, signal }: StoreCommandOptions,
): Promise<void> {
  const stats = await withOperatorStore(source, (store) => store.stats(signal));
  const hasLimits = source.type === 'server';
  if (!isJson) terminal.out(statsText(stats, hasLimits));
  else terminal.out(jsonText(hasLimits ? stats : withoutLimits(stats)));
}

/** Of a store that was opened to be looked at: its limits, and what they lease, are not those of its server. */
function withoutLimits(stats: ServerStats): Partial<ServerStats> {
  const { maxBytes, maxLeasedBytes, leasedBytes, ...held } = stats;
  return held;
}

/** `gantry store check`. @returns whether nothing is damaged. @throws as reaching the store does. */
export async function storeCheck(
  source: StoreSource,
  terminal: Terminal,
  options: StoreCommandOptions,
): Promise<boolean> {
  const report = await withProgress(source, terminal, { ...options, what: 'checking' }, (store, onProgress) =>
    store.check(onProgress, options.signal),
  );
  terminal.out(options.isJson ? jsonText(report) : checkText(report));
  return report.damaged === 0;
}

/** `gantry store prune`. @throws as reaching the store does. */
export async function storePrune(
  source: StoreSource,
  terminal: Terminal,
  options: StoreCommandOptions & { readonly targetBytes: number },
): Promise<void> {
  const { targetBytes, isJson, signal } = options;
  const report = await withProgress(source, terminal, { isJson, what: 'pruning' }, (store, onProgress) =>
    store.prune(targetBytes, onProgress, signal),
  );
  terminal.out(isJson ? jsonText(report) : pruneText(report, targetBytes));
}

function withProgress<T>(
  source: StoreSource,
  terminal: Terminal,
  { isJson, what }: { readonly isJson: boolean; readonly what: string },
  job: (store: OperatorStore, onProgress: (progress: StoreProgress) => void) => Promise<T>,
): Promise<T> {
  return withOperatorStore(source, async (store) => {
    const line = new ProgressLine(terminal, what);
    try {
      return await job(store, (progress) => {
        if (!isJson) line.update(progress);
      });
    } finally {
      line.end();
    }
  });
}
