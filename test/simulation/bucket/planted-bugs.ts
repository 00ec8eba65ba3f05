import { BucketIndex } from '../../../src/cas/s3/bucket-index.ts';
import { BucketWriter } from '../../../src/cas/s3/bucket-writer.ts';
import { Condemnations } from '../../../src/cas/s3/condemnations.ts';
import { CopyForward } from '../../../src/cas/s3/copy-forward.ts';
import { Promises } from '../../../src/cas/s3/promises.ts';
import type { Plant } from './world.ts';

/** A tier with one rule taken away. */
export interface PlantedBug {
  /** The rule that is missing. */
  readonly name: string;
  /** A bug that needs much to come together is looked for from a seed on that finds it; default 0. */
  readonly fromSeed?: number;
  readonly plant: Plant;
}

/** Each must be caught within a few seeds; otherwise the laws are blind to that rule. */
export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    name: 'leases',
    plant: () => replaceGetter(Promises.prototype, 'leaseSeconds', () => 0),
  },
  {
    name: 'copying forward what others condemned',
    plant: () => replace(Condemnations.prototype, 'empty', () => async () => undefined),
  },
  {
    name: 'copying forward at all',
    plant: () => replace(CopyForward.prototype, 'copy', () => async () => undefined),
  },
  {
    name: 'order of the values of an entry',
    plant: () =>
      replace(BucketIndex.prototype, 'putEntry', (putEntry) => {
        return function (this: BucketIndex, key, place, entry, touched) {
          const row = this.entryTable.find(key);
          const oldest = { sequence: 0, writer: '' };
          if (row >= 0) this.versions.set(row, { ...this.versions.get(row), version: oldest });
          putEntry.call(this, key, place, entry, touched);
        };
      }),
  },
  {
    name: 'without news nothing is promised',
    plant: () => replaceGetter(Promises.prototype, 'staleMs', (staleMs) => (staleMs === undefined ? undefined : 0)),
  },
  {
    name: 'time counts from the publication',
    fromSeed: 21,
    plant: () =>
      replace(Condemnations.prototype, 'publishing', (publishing) => {
        return function (this: Condemnations, state) {
          publishing.call(this, state)();
          return () => undefined;
        };
      }),
  },
  {
    name: 'what is condemned counts as dealt with once it is empty',
    plant: () => replaceGetter(Condemnations.prototype, 'unfinished', () => []),
  },
  {
    name: 'acknowledged is what the bucket has',
    plant: () =>
      replace(BucketWriter.prototype, 'writeBlob', (writeBlob) => {
        return function (this: BucketWriter, digest, bytes, patienceMs) {
          writeBlob.call(this, digest, bytes, patienceMs).catch(() => undefined);
          return Promise.resolve();
        };
      }),
  },
];

/** Puts another method in the place of one. @returns what undoes that. */
function replace<T extends object, K extends keyof T>(on: T, name: K, make: (original: T[K]) => T[K]): () => void {
  const original = on[name];
  on[name] = make(original);
  return () => {
    on[name] = original;
  };
}

/** The same of a property that is computed. */
function replaceGetter<T extends object, K extends keyof T>(
  on: T,
  name: K,
  get: (this: T, value: T[K]) => T[K],
): () => void {
  const original = Object.getOwnPropertyDescriptor(on, name);
  if (original?.get === undefined) throw new Error(`${String(name)} is not computed`);
  const compute = original.get;
  Object.defineProperty(on, name, {
    ...original,
    get(this: T) {
      return get.call(this, compute.call(this));
    },
  });
  return () => Object.defineProperty(on, name, original);
}
