import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import type { Digest } from '../../digest/digest.ts';
import { digestOf } from '../../digest/hasher.ts';
import { ENTRY_KIND } from '../segment/log/format.ts';
import { RowKey } from '../segment/record-index/row-key.ts';
import { BucketIndex, type BucketPlace } from './bucket-index.ts';
import { type Container, Containers } from './containers.ts';
import { compareVersions, type EntryVersion } from './entry-version.ts';
import { compareContainers } from './object-names.ts';

const WRITERS = ['00'.repeat(8), 'ff'.repeat(8)] as const;
const key = new RowKey();

function newIndex(): BucketIndex {
  return new BucketIndex(new Containers(), 7);
}

function addPack(index: BucketIndex, number: number): Container {
  return index.containers.add({ id: { writer: WRITERS[0], number, nonce: 'a1a2a3a4' } }, 1_000_000, 5);
}

function condemn(container: Container): void {
  container.condemned = { keepSinceSeconds: 0, learnedMs: 0, isAnnounced: false, publishedMs: undefined };
}

function hashOf(number: number): string {
  return createHash('sha256').update(String(number)).digest('hex');
}

function digestNumber(number: number, sizeBytes = 10): Digest {
  return { function: 'sha256', hash: hashOf(number), sizeBytes };
}

function blobKey(number: number): RowKey {
  return key.setHex(1, hashOf(number));
}

function entryKey(number: number): RowKey {
  return key.setHex(ENTRY_KIND, hashOf(number));
}

function placeIn(container: Container, offset = 0, lengthBytes = 10): BucketPlace {
  return { container, offset, lengthBytes };
}

function version(sequence: number, writer: string = WRITERS[0]): EntryVersion {
  return { sequence, writer };
}

describe('BucketIndex', () => {
  describe('blobs', () => {
    it('finds a blob where it was put', () => {
      const index = newIndex();
      const pack = addPack(index, 1);
      index.putBlob(blobKey(1), placeIn(pack, 7, 10), 100);
      assert.deepEqual(index.findBlob(digestNumber(1)), placeIn(pack, 7, 10));
      assert.equal(index.containerOf(index.blobRow(digestNumber(1))), pack);
      assert.equal(index.findBlob(digestNumber(2)), undefined);
      assert.deepEqual([pack.liveBytes, pack.liveRows], [10, 1]);
    });

    it('takes right hash and wrong size for another blob that is absent (R-DIG-02)', () => {
      const index = newIndex();
      index.putBlob(blobKey(1), placeIn(addPack(index, 1)), 100);
      assert.equal(index.findBlob(digestNumber(1, 11)), undefined);
      assert.equal(index.blobRow(digestNumber(1, 2 ** 32 + 10)), -1);
    });

    it('keeps no place for the empty blob', () => {
      const index = newIndex();
      const empty = digestOf('sha256', new Uint8Array());
      index.putBlob(key.setHex(1, empty.hash), placeIn(addPack(index, 1), 0, 0), 100);
      assert.equal(index.findBlob(empty), undefined);
    });

    it('knows the size of a blob that has more bytes than a row can count', () => {
      const index = newIndex();
      const digest = digestNumber(1, 2 ** 33 + 5);
      const name = { id: { writer: WRITERS[0], number: 1, nonce: 'a1a2a3a4' }, digest };
      const large = index.containers.add(name, digest.sizeBytes, 5);
      index.putBlob(blobKey(1), placeIn(large, 0, digest.sizeBytes), 100);
      assert.deepEqual(index.findBlob(digest), placeIn(large, 0, digest.sizeBytes));
      assert.equal(large.liveBytes, digest.sizeBytes);
      assert.equal(index.findBlob(digestNumber(1, 5)), undefined);
      index.dropBlob(digest, large);
      assert.deepEqual([large.liveBytes, large.liveRows], [0, 0]);
    });

    it('looks for a blob in the last of the containers that have it, and remembers the latest use', () => {
      const index = newIndex();
      const [first, second] = [addPack(index, 1), addPack(index, 2)];
      index.putBlob(blobKey(1), placeIn(first), 100);
      index.putBlob(blobKey(1), placeIn(second, 3), 50);
      assert.deepEqual(index.findBlob(digestNumber(1)), placeIn(second, 3));
      assert.equal(index.rowsOf(second)[0]?.touched, 100);
      assert.deepEqual([first.liveBytes, second.liveBytes], [0, 10]);
      // Whoever learns of them the other way round comes to the same.
      index.putBlob(blobKey(1), placeIn(first), 120);
      assert.deepEqual(index.findBlob(digestNumber(1)), placeIn(second, 3));
      assert.equal(index.rowsOf(second)[0]?.touched, 120);
      condemn(second);
      index.putBlob(blobKey(1), placeIn(first), 50);
      assert.deepEqual(index.findBlob(digestNumber(1)), placeIn(first));
    });

    it('looks for nothing in a container that is condemned already', () => {
      const index = newIndex();
      const [first, second] = [addPack(index, 1), addPack(index, 2)];
      condemn(second);
      index.putBlob(blobKey(1), placeIn(first), 100);
      index.putBlob(blobKey(1), placeIn(second), 100);
      index.putBlob(blobKey(2), placeIn(second), 100);
      assert.equal(index.findBlob(digestNumber(1))?.container, first);
      assert.equal(index.findBlob(digestNumber(2)), undefined);
    });

    it('finds what a container holds that is condemned later, but does not count on it', () => {
      const index = newIndex();
      const pack = addPack(index, 1);
      index.putBlob(blobKey(1), placeIn(pack), 100);
      assert.deepEqual([index.keeps(digestNumber(1)), index.keepsBlob(blobKey(1))], [true, true]);
      condemn(pack);
      assert.notEqual(index.findBlob(digestNumber(1)), undefined);
      assert.deepEqual([index.keeps(digestNumber(1)), index.keepsBlob(blobKey(1))], [false, false]);
      assert.deepEqual([index.keeps(digestNumber(2)), index.keepsBlob(blobKey(2))], [false, false]);
    });

    it('drops a damaged blob only from where it was damaged', () => {
      const index = newIndex();
      const [first, second] = [addPack(index, 1), addPack(index, 2)];
      index.putBlob(blobKey(1), placeIn(first), 100);
      index.dropBlob(digestNumber(1), second);
      assert.notEqual(index.findBlob(digestNumber(1)), undefined);
      index.dropBlob(digestNumber(1), first);
      index.dropBlob(digestNumber(1), first);
      assert.equal(index.findBlob(digestNumber(1)), undefined);
      assert.deepEqual([first.liveBytes, first.liveRows], [0, 0]);
    });
  });

  describe('rows', () => {
    it('lists those of a container in the order of their places, blobs before entries', () => {
      const index = newIndex();
      const [pack, other] = [addPack(index, 1), addPack(index, 2)];
      index.putBlob(blobKey(1), placeIn(pack, 20), 100);
      index.putEntry(entryKey(2), placeIn(pack, 10), { version: version(3), isRemoval: true }, 101);
      index.putBlob(blobKey(3), placeIn(pack, 0), 102);
      index.putBlob(blobKey(4), placeIn(other, 0), 103);
      assert.deepEqual(index.rowsOf(pack), [
        { kind: 1, hash: hashOf(3), place: placeIn(pack, 0), touched: 102 },
        { kind: 1, hash: hashOf(1), place: placeIn(pack, 20), touched: 100 },
        {
          ...{ kind: ENTRY_KIND, hash: hashOf(2), place: placeIn(pack, 10), touched: 101 },
          entry: { version: version(3), isRemoval: true, hasPredecessor: false },
        },
      ]);
    });

    it('leaves a row alone that has moved since it was listed', () => {
      const index = newIndex();
      const [first, second] = [addPack(index, 1), addPack(index, 2)];
      index.putBlob(blobKey(1), placeIn(first), 100);
      const [row] = index.rowsOf(first);
      assert.ok(row !== undefined && index.isCurrent(row));
      index.putBlob(blobKey(1), placeIn(second), 120);
      assert.equal(index.isCurrent(row), false);
      index.drop(row);
      assert.equal(index.findBlob(digestNumber(1))?.container, second);
      assert.equal(index.touchedOf(row), 120);
      index.dropBlob(digestNumber(1), second);
      assert.equal(index.touchedOf(row), 0);
    });

    it('forgets a container with what it holds', () => {
      const index = newIndex();
      const [first, second] = [addPack(index, 1), addPack(index, 2)];
      index.putBlob(blobKey(1), placeIn(first), 100);
      index.putEntry(entryKey(1), placeIn(first, 10), { version: version(1), isRemoval: false }, 100);
      index.putBlob(blobKey(2), placeIn(second), 100);
      assert.equal(index.forget(first), 2);
      assert.equal(index.containers.count, 1);
      assert.equal(index.findBlob(digestNumber(1)), undefined);
      assert.equal(index.findEntry(hashOf(1)), undefined);
      assert.notEqual(index.findBlob(digestNumber(2)), undefined);
    });

    it('was not used later than now, whatever the clock said that it was written by', () => {
      const index = newIndex();
      const pack = addPack(index, 1);
      index.putBlob(blobKey(1), placeIn(pack, 0), 4_000_000_000);
      index.putBlob(blobKey(2), placeIn(pack, 10), 99);
      index.putEntry(entryKey(3), placeIn(pack, 20), { version: version(1), isRemoval: false }, 101);
      index.capTouched(100);
      assert.deepEqual(
        index.rowsOf(pack).map(({ touched }) => touched),
        [100, 99, 100],
      );
    });

    it('takes memory for its rows', () => {
      const index = newIndex();
      const before = index.memoryBytes;
      index.putEntry(entryKey(1), placeIn(addPack(index, 1)), { version: version(1), isRemoval: false }, 100);
      assert.ok(index.memoryBytes > before + 65_536 * 13);
    });
  });

  describe('entries', () => {
    function put(index: BucketIndex, pack: Container, entry: Partial<EntryVersion> & { readonly isRemoval?: boolean }) {
      const { sequence = 1, writer = WRITERS[0], isRemoval = false } = entry;
      index.putEntry(entryKey(1), placeIn(pack), { version: { sequence, writer }, isRemoval }, 100);
    }

    it('knows the newest value, and that there were older ones, in whatever order it learns of them', () => {
      for (const order of [
        [1, 2],
        [2, 1],
      ]) {
        const index = newIndex();
        for (const sequence of order) put(index, addPack(index, sequence), { sequence });
        const pack = index.containers.find({ writer: WRITERS[0], number: 2, nonce: 'a1a2a3a4' });
        assert.ok(pack !== undefined);
        const expected = { ...placeIn(pack), version: version(2), isRemoval: false };
        assert.deepEqual(index.findEntry(hashOf(1)), expected);
        assert.equal(index.rowsOf(pack)[0]?.entry?.hasPredecessor, true);
      }
    });

    it('prefers the value to a removal of the same version, in whatever order it learns of them', () => {
      for (const order of [
        [false, true],
        [true, false],
      ]) {
        const index = newIndex();
        for (const isRemoval of order) put(index, addPack(index, isRemoval ? 1 : 2), { isRemoval });
        const found = index.findEntry(hashOf(1));
        assert.deepEqual([found?.isRemoval, found?.container.id.number], [false, 2]);
      }
    });

    it('looks for the same value in the last of the containers that have it', () => {
      const index = newIndex();
      const [first, second] = [addPack(index, 1), addPack(index, 2)];
      put(index, first, {});
      put(index, second, {});
      put(index, first, {});
      assert.equal(index.findEntry(hashOf(1))?.container, second);
      assert.equal(index.rowsOf(second)[0]?.entry?.hasPredecessor, false);
    });

    it('remembers from a snapshot that there were older values', () => {
      const index = newIndex();
      const pack = addPack(index, 1);
      const entry = { version: version(5), isRemoval: false, hasPredecessor: true };
      index.putEntry(entryKey(1), placeIn(pack), entry, 100);
      assert.deepEqual(index.rowsOf(pack)[0]?.entry, entry);
    });

    it('has seen the sequence also of what it does not keep', () => {
      const index = newIndex();
      const pack = addPack(index, 1);
      condemn(pack);
      put(index, pack, { sequence: 70 });
      assert.deepEqual([index.maxSequence, index.findEntry(hashOf(1))], [70, undefined]);
      index.sawSequence(60);
      assert.equal(index.maxSequence, 70);
      index.sawSequence(80);
      assert.equal(index.maxSequence, 80);
    });

    it('notes a use', () => {
      const index = newIndex();
      const pack = addPack(index, 1);
      put(index, pack, {});
      index.touchEntry(hashOf(1), 200);
      index.touchEntry(hashOf(2), 300);
      assert.equal(index.rowsOf(pack)[0]?.touched, 200);
    });

    it('law: values, removals and whether there were older ones do not depend on the order of arrival', () => {
      const arrival = fc.record({
        entry: fc.nat({ max: 1 }),
        sequence: fc.nat({ max: 3 }),
        writer: fc.constantFrom(...WRITERS),
        isRemoval: fc.boolean(),
      });
      const orders = fc
        .array(arrival, { maxLength: 8 })
        .chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })));
      fc.assert(
        fc.property(orders, (both) => {
          const outcomes = both.map((arrivals) => {
            const index = newIndex();
            const pack = addPack(index, 1);
            for (const { entry, sequence, writer, isRemoval } of arrivals) {
              index.putEntry(entryKey(entry), placeIn(pack), { version: { sequence, writer }, isRemoval }, 100);
            }
            const facts = [hashOf(0), hashOf(1)].map((hash) => index.rowsOf(pack).find((row) => row.hash === hash));
            return { facts: facts.map((row) => row?.entry), maxSequence: index.maxSequence };
          });
          assert.deepEqual(outcomes[0], outcomes[1]);
        }),
      );
    });
  });

  it('law: it is what a naive map would be, and containers count their rows', () => {
    fc.assert(
      fc.property(fc.array(steps(), { maxLength: 60 }), (all) => new Comparison().run(all)),
      { numRuns: 200 },
    );
  });
});

type Step =
  | { readonly kind: 'blob'; readonly name: number; readonly pack: number; readonly length: number }
  | { readonly kind: 'entry'; readonly name: number; readonly pack: number; readonly entry: EntryStep }
  | { readonly kind: 'condemn' | 'forget' | 'drop' | 'touch' | 'cap'; readonly name: number; readonly pack: number };

type EntryStep = EntryVersion & { readonly isRemoval: boolean };

function steps(): fc.Arbitrary<Step> {
  const at = { name: fc.nat({ max: 4 }), pack: fc.nat({ max: 3 }) };
  const entry = fc.record({
    sequence: fc.nat({ max: 3 }),
    writer: fc.constantFrom(...WRITERS),
    isRemoval: fc.boolean(),
  });
  const length = fc.nat({ max: 50 });
  return fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('blob' as const), ...at, length }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('entry' as const), ...at, entry }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('condemn', 'forget', 'drop', 'touch', 'cap'), ...at }) },
  );
}

interface ModelRow {
  readonly kind: number;
  readonly name: number;
  readonly container: Container;
  readonly offset: number;
  readonly length: number;
  readonly touched: number;
  readonly entry?: EntryStep & { readonly hasPredecessor: boolean };
}

/** The index and a naive model of it, driven side by side. */
class Comparison {
  readonly #index = newIndex();
  readonly #model = new Map<string, ModelRow>();
  /** By number; those that were forgotten are made anew, as another object of the same name could be. */
  readonly #packs = new Map<number, Container>();
  #now = 100;
  #offset = 0;

  run(all: readonly Step[]): void {
    for (const step of all) {
      this.#now++;
      this.#offset += 100;
      this.#apply(step);
      this.#compare();
    }
  }

  #pack(number: number): Container {
    const pack = this.#packs.get(number) ?? addPack(this.#index, number);
    this.#packs.set(number, pack);
    return pack;
  }

  #apply(step: Step): void {
    const index = this.#index;
    const container = this.#pack(step.pack);
    const rows = index.rowsOf(container);
    if (step.kind === 'blob') this.#putBlob(step.name, container, step.length);
    else if (step.kind === 'entry') this.#putEntry(step.name, container, step.entry);
    else if (step.kind === 'condemn') condemn(container);
    else if (step.kind === 'forget') this.#forget(step.pack, container);
    else if (step.kind === 'touch') this.#touch(step.name);
    else if (step.kind === 'cap') this.#cap(this.#now - 5);
    else {
      const row = rows[step.name % Math.max(1, rows.length)];
      if (row === undefined) return;
      index.drop(row);
      for (const [text, { kind, name }] of this.#model) {
        if (kind === row.kind && hashOf(name) === row.hash) this.#model.delete(text);
      }
    }
  }

  #putBlob(name: number, container: Container, length: number): void {
    this.#index.putBlob(blobKey(name), placeIn(container, this.#offset, length), this.#now);
    if (container.condemned !== undefined) return;
    const known = this.#model.get(`1/${name}`);
    if (known !== undefined && isLeft(container, known.container)) {
      this.#model.set(`1/${name}`, { ...known, touched: this.#now });
      return;
    }
    this.#model.set(`1/${name}`, { kind: 1, name, container, offset: this.#offset, length, touched: this.#now });
  }

  #putEntry(name: number, container: Container, { isRemoval, ...ofEntry }: EntryStep): void {
    const length = 20;
    const place = placeIn(container, this.#offset, length);
    this.#index.putEntry(entryKey(name), place, { version: ofEntry, isRemoval }, this.#now);
    if (container.condemned !== undefined) return;
    const text = `${ENTRY_KIND}/${name}`;
    const known = this.#model.get(text);
    const order = known?.entry === undefined ? undefined : compareVersions(ofEntry, known.entry);
    if (known?.entry !== undefined && order !== undefined && order < 0) {
      this.#model.set(text, { ...known, entry: { ...known.entry, hasPredecessor: true } });
      return;
    }
    if (order === 0 && isRemoval && known?.entry?.isRemoval === false) return;
    const isSame = order === 0 && known?.entry?.isRemoval === isRemoval;
    if (known !== undefined && isSame && isLeft(container, known.container)) {
      this.#model.set(text, { ...known, touched: this.#now });
      return;
    }
    const hasPredecessor = known?.entry?.hasPredecessor === true || (order ?? 0) > 0;
    const entry = { ...ofEntry, isRemoval, hasPredecessor };
    const facts = { kind: ENTRY_KIND, name, container, offset: this.#offset, length, touched: this.#now };
    this.#model.set(text, { ...facts, entry });
  }

  #forget(number: number, container: Container): void {
    const lost = [...this.#model].filter(([, row]) => row.container === container);
    assert.equal(this.#index.forget(container), lost.length);
    for (const [text] of lost) this.#model.delete(text);
    this.#packs.delete(number);
  }

  #touch(name: number): void {
    this.#index.touchEntry(hashOf(name), this.#now);
    const text = `${ENTRY_KIND}/${name}`;
    const known = this.#model.get(text);
    if (known !== undefined) this.#model.set(text, { ...known, touched: this.#now });
  }

  #cap(now: number): void {
    this.#index.capTouched(now);
    for (const [text, row] of this.#model) this.#model.set(text, { ...row, touched: Math.min(now, row.touched) });
  }

  #compare(): void {
    let rows = 0;
    for (const container of this.#index.containers) {
      const listed = this.#index.rowsOf(container);
      rows += listed.length;
      assert.equal(container.liveRows, listed.length);
      assert.equal(
        container.liveBytes,
        listed.reduce((sum, { place }) => sum + place.lengthBytes, 0),
      );
    }
    assert.equal(rows, this.#model.size);
    for (const { kind, name, container, offset, length, touched, entry } of this.#model.values()) {
      const place = placeIn(container, offset, length);
      if (entry === undefined) assert.deepEqual(this.#index.findBlob(digestNumber(name, length)), place);
      const row = this.#index.rowsOf(container).find((listed) => listed.kind === kind && listed.hash === hashOf(name));
      assert.deepEqual(row?.place, place);
      assert.equal(row?.touched, touched);
      if (entry === undefined) continue;
      const { isRemoval, hasPredecessor, ...ofEntry } = entry;
      assert.deepEqual(this.#index.findEntry(hashOf(name)), { ...place, version: ofEntry, isRemoval });
      assert.deepEqual(row?.entry, { version: ofEntry, isRemoval, hasPredecessor });
    }
  }
}

/** Whether what is in both is looked for in `other`. */
function isLeft(container: Container, other: Container): boolean {
  return other.condemned === undefined && compareContainers(container.id, other.id) < 0;
}
