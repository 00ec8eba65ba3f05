import type { RowKey } from './record-index/row-key.ts';

/**
 * Says what a store must not evict yet, because it has it alone: such blobs and entries are pinned. They stay whatever happens to
 * leases and limits, until the guard lets them go; a store that is full of them refuses writes.
 */
export interface EvictionGuard {
  /**
   * Whether what this key names, a blob or an entry (`ENTRY_KIND`), may be evicted now. The key is valid during the call only. Asked
   * from the start of opening on, and on the hot path of rotation: must not throw nor allocate much. What it lets go may still stay.
   */
  mayEvict(key: RowKey): boolean;
}
