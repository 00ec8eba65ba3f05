import { digestFromWire } from '../digest/digest.ts';
import { resolveDigestFunction } from '../digest/digest-function.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import type { CachedFiles, NextAction } from '../gen/gantry/v1/worker.ts';
import type { CacheReporter } from './inputs/cache-report.ts';
import type { ExpectedAction, Prefetcher } from './inputs/prefetcher.ts';
import type { SlotNode } from './worker.ts';

/** The cache that all slots of a worker share, towards the scheduler. */
export class WorkerNode implements SlotNode {
  readonly #reporter: CacheReporter;
  readonly #prefetcher: Prefetcher | undefined;

  /** @param prefetcher absent if nothing is to be fetched before it is needed. */
  constructor(reporter: CacheReporter, prefetcher: Prefetcher | undefined) {
    this.#reporter = reporter;
    this.#prefetcher = prefetcher;
  }

  cached(): CachedFiles | undefined {
    const sketch = this.#reporter.take();
    return sketch && { bits: sketch.bits, hashes: sketch.hashes };
  }

  disconnected(): void {
    this.#reporter.lost();
  }

  expect(next: NextAction | undefined): void {
    this.#prefetcher?.expect(next && expectedOf(next));
  }
}

/** @throws invalid-argument. */
function expectedOf(next: NextAction): ExpectedAction {
  const fn = resolveDigestFunction(next.digestFunction, next.actionDigest?.hash.length);
  const action = digestFromWire(fn, next.actionDigest, 'next.action_digest');
  return {
    key: { instance: parseInstanceName(next.instanceName), action },
    inputRoot: digestFromWire(fn, next.inputRootDigest, 'next.input_root_digest'),
  };
}
