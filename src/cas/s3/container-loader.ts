import { digestFunctionToWire } from '../../digest/digest-function.ts';
import { isKind } from '../../errors.ts';
import type { Log } from '../../system/log.ts';
import { RowKey } from '../segment/record-index/row-key.ts';
import type { BucketIndex } from './bucket-index.ts';
import type { Container } from './containers.ts';
import { parseContainerKey } from './object-names.ts';
import type { ObjectInfo, ObjectStore } from './object-store.ts';
import { applyFooter, type PackFooter, readFooter } from './pack-footer.ts';
import type { Condemnation } from './pack-format.ts';

/** Footers that are read at the same time. */
const FOOTERS_AT_ONCE = 16;

/** What is told of while containers are loaded. */
export interface LoadOptions {
  /** Seconds since 1970 that count as last use of what is found. */
  readonly touched: number;
  readonly signal: AbortSignal;
  /** Containers that are known are read once more: rows were lost that they may hold copies of. */
  readonly again?: boolean;
  /** Told after each batch, in the same turn as it is entered, whom each of its packs condemns: nothing tells of that again. */
  readonly onCondemned: (condemnations: readonly Condemnation[], pack: ObjectInfo) => void;
  /** Called after each batch with the number of objects that are done. */
  readonly onProgress?: (done: number) => void;
}

/** Brings containers that others wrote, or that are not remembered, into the index. */
export class ContainerLoader {
  readonly #objects: ObjectStore;
  readonly #index: BucketIndex;
  readonly #log: Log;
  readonly #key = new RowKey();
  #damaged = 0;

  constructor(objects: ObjectStore, index: BucketIndex, log: Log) {
    this.#objects = objects;
    this.#index = index;
    this.#log = log;
  }

  /** Packs whose footer could not be read; they stay where they are. */
  get damaged(): number {
    return this.#damaged;
  }

  /**
   * Loads what is not known yet, in the given order: for each writer that of its numbers, so that copies come after what they are
   * copies of.
   * @throws unavailable; precondition for a pack of a newer version; cancelled. What was loaded before stays.
   */
  async load(infos: readonly ObjectInfo[], options: LoadOptions): Promise<void> {
    for (let at = 0; at < infos.length; at += FOOTERS_AT_ONCE) {
      const batch = infos.slice(at, at + FOOTERS_AT_ONCE);
      const footers = await Promise.all(batch.map((info) => this.#footerOf(info, options)));
      const entered = batch.map((info, index) => ({ info, found: this.#enter(info, footers[index], options) }));
      for (const { info, found } of entered) if (found.length > 0) options.onCondemned(found, info);
      options.onProgress?.(at + batch.length);
    }
  }

  /** The footer of a pack; undefined if it needs none, is gone, or is damaged. */
  async #footerOf(
    info: ObjectInfo,
    { signal, again = false }: LoadOptions,
  ): Promise<PackFooter | 'damaged' | undefined> {
    const name = parseContainerKey(info.key);
    if (name === undefined || name.digest !== undefined) return undefined;
    if (!again && this.#index.containers.find(name.id)) return undefined;
    try {
      return await readFooter(this.#objects, info, signal);
    } catch (error) {
      if (isKind(error, 'not-found')) return undefined;
      if (isKind(error, 'data-loss')) return this.#noteDamage(info, error);
      throw error;
    }
  }

  #enter(
    info: ObjectInfo,
    footer: PackFooter | 'damaged' | undefined,
    { touched, again = false }: LoadOptions,
  ): readonly Condemnation[] {
    const name = parseContainerKey(info.key);
    if (name === undefined || (!again && this.#index.containers.find(name.id))) return [];
    if (name.digest === undefined && footer === undefined) return [];
    const { containers } = this.#index;
    const container = containers.add(name, info.sizeBytes, Math.floor(info.modifiedMs / 1000));
    if (name.digest !== undefined) {
      const key = this.#key.setHex(digestFunctionToWire(name.digest.function), name.digest.hash);
      this.#index.putBlob(key, { container, offset: 0, lengthBytes: name.digest.sizeBytes }, touched);
      return [];
    }
    if (footer === undefined || footer === 'damaged') return this.#keepDamaged(container);
    try {
      return applyFooter(this.#index, container, footer, touched);
    } catch (error) {
      if (!isKind(error, 'data-loss')) throw error;
      this.#noteDamage(info, error);
      return this.#keepDamaged(container);
    }
  }

  /** A pack that cannot be read may become readable again, and is nobody's to throw away. */
  #keepDamaged(container: Container): readonly Condemnation[] {
    container.isDamaged = true;
    return [];
  }

  #noteDamage({ key }: ObjectInfo, error: unknown): 'damaged' {
    this.#damaged++;
    this.#log.error({ err: error, key }, 'a pack in the bucket is damaged: what only it holds is lost');
    return 'damaged';
  }
}
