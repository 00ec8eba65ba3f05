import assert from 'node:assert/strict';
import { join } from 'node:path';
import fc from 'fast-check';
import { FakeClock } from '../../../../test/support/fake-clock.ts';
import { HookedFileSystem } from '../../../../test/support/hooked-file-system.ts';
import { type LoggedLine, recordingLog } from '../../../../test/support/recording-log.ts';
import { temporaryFolder } from '../../../../test/support/temporary-folder.ts';
import { ENTRY_KIND, recordBytes } from '../log/format.ts';
import { StoreTime } from '../store-time.ts';
import { DigestTable } from './digest-table.ts';
import { LeaseFile, readLeaseFile } from './lease-file.ts';
import { LeaseLedger } from './lease-ledger.ts';
import { leaseSecondsOf, RecordIndex } from './record-index.ts';
import { RowKey } from './row-key.ts';

const RETENTION = 60;
const LEASE = 90;
const BLOB_KIND = 1;
/** Renewals that are gathered before they are written without being asked for. */
const BLOCK = 4096;

function key(name: number, kind = BLOB_KIND): RowKey {
  return new RowKey().setHex(kind, name.toString(16).padStart(8, '0').repeat(8));
}

function place(payloadBytes: number, touched = 0): Parameters<RecordIndex['put']>[1] {
  return { segment: 1, offset: 32, payloadBytes, touched };
}

describe('leaseSecondsOf', () => {
  for (const [retention, lease] of [
    [0, 0],
    [1, 2],
    [2, 3],
    [60, 90],
    [61, 92],
  ] as const) {
    it(`holds for ${lease} s what is promised for ${retention} s`, () => {
      assert.equal(leaseSecondsOf(retention), lease);
    });
  }
});

describe('RecordIndex', () => {
  let clock: FakeClock;
  let files: HookedFileSystem;
  let path: string;
  let lines: readonly LoggedLine[];
  let opened: LeaseFile[];

  beforeEach(() => {
    clock = new FakeClock();
    files = new HookedFileSystem();
    path = join(temporaryFolder(), 'leases');
    opened = [];
  });
  afterEach(() => {
    for (const leases of opened) leases.close();
  });

  const create = (retentionSeconds = RETENTION): RecordIndex => {
    const recording = recordingLog();
    lines = recording.lines;
    return new RecordIndex({
      table: new DigestTable({ seed: 1, expectedRows: 10 }),
      ledger: new LeaseLedger({ leaseSeconds: leaseSecondsOf(retentionSeconds) }),
      time: new StoreTime(clock, 0),
      log: recording.log,
      retentionSeconds,
    });
  };
  const useLeases = (index: RecordIndex, where = path): LeaseFile => {
    const leases = LeaseFile.create(files, where);
    opened.push(leases);
    index.useLeaseFile(leases);
    return leases;
  };
  const renewals = (where = path): [number, number][] => {
    const found: [number, number][] = [];
    readLeaseFile(files, where, (word0, _, seconds) => found.push([word0, seconds]));
    return found;
  };
  const look = (index: RecordIndex, name: number): void => {
    index.touch(index.table.find(key(name)), index.time.now());
    index.flushRenewals();
  };
  const totals = (index: RecordIndex): number[] => [
    index.blobs,
    index.entries,
    index.liveBytes,
    index.ledger.heldBytes(index.time.now()),
  ];

  describe('what there is', () => {
    it('counts blobs and entries and their bytes, and holds blobs only', () => {
      const index = create();
      index.put(key(1), place(100));
      index.put(key(1, ENTRY_KIND), place(1000));
      assert.deepEqual(totals(index), [1, 1, recordBytes(100) + recordBytes(1000), recordBytes(100)]);
    });

    it('counts and holds nothing once all is replaced and removed', () => {
      const index = create();
      for (const kind of [BLOB_KIND, ENTRY_KIND]) {
        for (const [payloadBytes, touched] of [
          [100, 0],
          [300, 40],
          [0, 20],
        ] as const) {
          index.put(key(1, kind), place(payloadBytes, touched));
        }
      }
      assert.deepEqual(totals(index), [1, 1, 2 * recordBytes(0), recordBytes(0)]);
      for (const kind of [BLOB_KIND, ENTRY_KIND]) index.remove(index.table.find(key(1, kind)));
      assert.deepEqual(totals(index), [0, 0, 0, 0]);
    });

    it('takes up the rows that a table holds already', () => {
      const index = create();
      index.table.add(key(1), place(100));
      index.table.add(key(2), place(200));
      index.table.add(key(3, ENTRY_KIND), place(300));
      index.adopt();
      assert.deepEqual(totals(index), [
        ...[2, 1, recordBytes(100) + recordBytes(200) + recordBytes(300)],
        recordBytes(100) + recordBytes(200),
      ]);
    });

    it('moves a record without touching what is promised of it', () => {
      const index = create();
      index.put(key(1), place(100, 17));
      const before = totals(index);
      const row = index.table.find(key(1));
      index.move(row, 9, 4096);
      const { table } = index;
      assert.deepEqual(
        [table.segment(row), table.offset(row), table.payloadBytes(row), table.touched(row)],
        [9, 4096, 100, 17],
      );
      assert.deepEqual(totals(index), before);
      assert.deepEqual([table.rowsOf(1), table.rowsOf(9)], [[], [row]]);
    });

    it('law: counts, live bytes and held bytes are those of the rows', () => {
      const name = fc.nat(5);
      const step = fc.oneof(
        fc.record({ do: fc.constant('put' as const), name, isEntry: fc.boolean(), bytes: fc.nat(500) }),
        fc.record({ do: fc.constant('remove' as const), name, isEntry: fc.boolean() }),
        fc.record({ do: fc.constant('touch' as const), name, isEntry: fc.boolean() }),
        fc.record({ do: fc.constant('wait' as const), seconds: fc.nat(LEASE) }),
      );
      fc.assert(
        fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
          const index = create();
          const { table, time } = index;
          for (const each of steps) {
            if (each.do === 'wait') {
              clock.advance(each.seconds * 1000);
              continue;
            }
            const at = key(each.name, each.isEntry ? ENTRY_KIND : BLOB_KIND);
            const row = table.find(at);
            if (each.do === 'put') index.put(at, place(each.bytes, time.now()));
            else if (row >= 0 && each.do === 'remove') index.remove(row);
            else if (row >= 0) index.touch(row, time.now());
          }
          let [blobs, bytes, surelyHeld, perhapsHeld] = [0, 0, 0, 0];
          table.forEachRow((row) => {
            const size = recordBytes(table.payloadBytes(row));
            bytes += size;
            if (table.kind(row) === ENTRY_KIND) return;
            blobs++;
            const left = table.touched(row) + LEASE - time.now();
            if (left > 0) surelyHeld += size;
            // Counted as held up to one step longer, of 2 s for this lease.
            if (left > -2) perhapsHeld += size;
          });
          const held = index.ledger.heldBytes(time.now());
          assert.deepEqual([index.blobs, index.blobs + index.entries, index.liveBytes], [blobs, table.size, bytes]);
          assert.ok(surelyHeld <= held && held <= perhapsHeld, `${surelyHeld} ≤ ${held} ≤ ${perhapsHeld}`);
        }),
      );
    });
  });

  describe('renewal', () => {
    it('writes nothing within half the retention, and writes before the answer after it', () => {
      const index = create();
      const leases = useLeases(index);
      index.put(key(7), place(100));
      const emptyBytes = leases.sizeBytes;
      for (let second = 0; second < RETENTION / 2; second++) {
        look(index, 7);
        clock.advance(1000);
      }
      assert.deepEqual([leases.sizeBytes, renewals()], [emptyBytes, []]);
      look(index, 7);
      assert.deepEqual(renewals(), [[7, 30]]);
      look(index, 7);
      assert.deepEqual(renewals(), [[7, 30]]);
      assert.equal(index.table.touched(index.table.find(key(7))), 30);
    });

    it('holds for the whole retention from any look, and not much longer than a lease', () => {
      const index = create();
      index.put(key(7), place(100));
      clock.advance(29_000);
      look(index, 7);
      clock.advance(RETENTION * 1000);
      assert.equal(index.ledger.heldBytes(index.time.now()), recordBytes(100));
      clock.advance(LEASE * 1000);
      assert.equal(index.ledger.heldBytes(index.time.now()), 0);
    });

    it('renews entries too, which are held by nothing', () => {
      const index = create();
      useLeases(index);
      index.put(key(7, ENTRY_KIND), place(100));
      clock.advance(40_000);
      const row = index.table.find(key(7, ENTRY_KIND));
      index.touch(row, index.time.now());
      index.flushRenewals();
      assert.deepEqual([index.table.touched(row), renewals()], [40, [[7, 40]]]);
      assert.equal(index.ledger.heldBytes(40), 0);
    });

    it('promises and writes nothing if there is no retention, but knows when a record was used', () => {
      const index = create(0);
      useLeases(index);
      index.put(key(7), place(100));
      clock.advance(5000);
      look(index, 7);
      assert.deepEqual([renewals(), index.ledger.heldBytes(5)], [[], 0]);
      assert.equal(index.table.touched(index.table.find(key(7))), 5);
    });

    it('writes a full block of renewals without being asked to, so that they are bounded', () => {
      const index = create();
      useLeases(index);
      for (let name = 0; name < BLOCK - 1; name++) index.noteRenewal(name, 0);
      assert.equal(renewals().length, 0);
      index.noteRenewal(BLOCK - 1, 0);
      assert.equal(renewals().length, BLOCK);
      for (let name = 0; name < 10; name++) index.noteRenewal(name, 0);
      index.flushRenewals();
      index.flushRenewals();
      assert.equal(renewals().length, BLOCK + 10);
    });

    it('writes what was noted to the log that was in use then', () => {
      const index = create();
      useLeases(index);
      index.noteRenewal(1, 0);
      useLeases(index, `${path}-2`);
      index.noteRenewal(2, 0);
      index.useLeaseFile(undefined);
      index.noteRenewal(3, 0);
      index.flushRenewals();
      assert.deepEqual([renewals(), renewals(`${path}-2`)], [[[1, 0]], [[2, 0]]]);
    });
  });

  describe('with a lease log that cannot be written', () => {
    const renewOnce = (index: RecordIndex): void => {
      clock.advance(30_000);
      look(index, 7);
    };

    it('answers all the same, keeps the lease, and warns once', () => {
      const index = create();
      useLeases(index);
      index.put(key(7), place(100));
      files.failOn('EIO', (call) => call === 'write');
      for (let time = 0; time < 3; time++) renewOnce(index);
      assert.deepEqual(
        lines.map(({ level }) => level),
        ['warn'],
      );
      assert.equal(index.table.touched(index.table.find(key(7))), 90);
      assert.deepEqual(renewals(), []);
    });

    it('writes again when it can, and warns of the next failure', () => {
      const index = create();
      useLeases(index);
      index.put(key(7), place(100));
      for (const code of ['EIO', 'ENOSPC']) {
        files.failOn(code, (call) => call === 'write');
        renewOnce(index);
        files.mend();
        renewOnce(index);
      }
      assert.equal(lines.length, 2);
      assert.deepEqual(renewals(), [
        [7, 60],
        [7, 120],
      ]);
    });

    it('does not hide an error of our own', () => {
      const index = create();
      useLeases(index);
      index.put(key(7), place(100));
      files.before = () => {
        throw new TypeError('a bug');
      };
      assert.throws(() => renewOnce(index), TypeError);
    });
  });
});
