import { type ContainerId, containerKey, FORMAT_KEY, snapshotKey, writerKey } from '../../src/cas/s3/object-names.ts';
import { PackBuilder } from '../../src/cas/s3/pack-builder.ts';
import { encodeWriterState } from '../../src/cas/s3/writer-state.ts';
import { digestFunctionToWire } from '../../src/digest/digest-function.ts';
import { digestOf } from '../../src/digest/hasher.ts';
import { MemoryBucket } from './memory-object-store.ts';

/** What a pack is to hold. */
export interface PackContent {
  readonly blobs?: readonly string[];
  /** Key and value of each. */
  readonly entries?: readonly (readonly [string, string])[];
  /** Keys of entries that are removed. */
  readonly removals?: readonly string[];
  readonly condemns?: readonly ContainerId[];
}

/** Writers of tests. */
export const WRITERS = ['00000000000000aa', '00000000000000bb', '00000000000000cc'] as const;

/** Puts objects into a bucket as servers write them, at times that a test chooses. */
export class BucketContent {
  readonly bucket = new MemoryBucket();
  #sequence = 0;

  /** What every bucket has that was ever used. */
  format(modifiedMs: number, version = 1): void {
    this.bucket.set(
      FORMAT_KEY,
      Buffer.from(JSON.stringify({ format: 'gantry-bucket', version, bucket: 'b1' })),
      modifiedMs,
    );
  }

  /** A pack. @returns its key. */
  pack(id: ContainerId, content: PackContent, modifiedMs: number): string {
    const builder = new PackBuilder(id, Math.floor(modifiedMs / 1000));
    for (const text of content.blobs ?? []) {
      builder.addBlob(digestFunctionToWire('sha256'), digestOf('sha256', Buffer.from(text)).hash, Buffer.from(text));
    }
    const entries = [
      ...(content.entries ?? []).map(([key, value]) => ({ key, value, isRemoval: false })),
      ...(content.removals ?? []).map((key) => ({ key, value: '', isRemoval: true })),
    ];
    for (const { key, value, isRemoval } of entries) {
      const version = { sequence: ++this.#sequence, writer: id.writer };
      builder.addEntry({ ...version, key, value: Buffer.from(value), writtenMs: 1, isRemoval });
    }
    for (const condemned of content.condemns ?? []) builder.condemn({ id: condemned, keepSinceSeconds: 0 });
    const key = containerKey({ id });
    this.bucket.set(key, Buffer.concat(builder.finish()), modifiedMs);
    return key;
  }

  /** A large blob. @returns its key. */
  large(id: ContainerId, text: string, modifiedMs: number): string {
    const key = containerKey({ id, digest: digestOf('sha256', Buffer.from(text)) });
    this.bucket.set(key, Buffer.from(text), modifiedMs);
    return key;
  }

  /** What a server says of itself. @returns its key. */
  state(writer: string, modifiedMs: number, seconds = { refreshSeconds: 60, leaseSeconds: 900 }): string {
    const key = writerKey(writer);
    const state = encodeWriterState({
      writer,
      nonce: '0000aaaa',
      beat: 1,
      floor: 0,
      sequence: 0,
      done: {},
      ...seconds,
    });
    this.bucket.set(key, state, modifiedMs);
    return key;
  }

  /** Something that looks like a snapshot. @returns its key. */
  snapshot(writer: string, number: number, modifiedMs: number): string {
    const key = snapshotKey(writer, number);
    this.bucket.set(key, Buffer.from('snapshot'), modifiedMs);
    return key;
  }
}

/** A container of a writer of tests. */
export function idOf(writer: string, number: number): ContainerId {
  return { writer, number, nonce: '0000aaaa' };
}
