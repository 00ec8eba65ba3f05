import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SOME_BUCKET_STATS, SOME_STATS } from '../../test/support/fake-store-control.ts';
import { CheckStoreReport, PruneStoreReport, StoreStats } from '../gen/gantry/v1/admin.ts';
import {
  checkReportFromWire,
  checkReportToWire,
  progressFromWire,
  progressToWire,
  pruneReportFromWire,
  pruneReportToWire,
  statsFromWire,
  statsToWire,
} from './store-messages.ts';

const size = fc.maxSafeNat();
/** Objects like those that code makes. */
const PLAIN = { noNullPrototype: true };

describe('the reports of a store as messages', () => {
  it('keep every statistic, through the bytes of the message', () => {
    const wire = StoreStats.decode(StoreStats.encode(statsToWire(SOME_STATS)).finish());
    assert.deepEqual(statsFromWire(wire), SOME_STATS);
    assert.equal(new Set(Object.values(SOME_STATS)).size, 19);
  });

  it('keep every statistic of the bucket, and that there was no news', () => {
    assert.equal(new Set(Object.values(SOME_BUCKET_STATS)).size, 19);
    for (const bucket of [SOME_BUCKET_STATS, { ...SOME_BUCKET_STATS, isReachable: false, staleSeconds: undefined }]) {
      const stats = { ...SOME_STATS, bucket };
      const wire = StoreStats.decode(StoreStats.encode(statsToWire(stats)).finish());
      assert.deepEqual(statsFromWire(wire), stats);
    }
  });

  it('drop the fraction of a limit that was computed as a share', () => {
    assert.equal(statsToWire({ ...SOME_STATS, maxLeasedBytes: 10.8 }).maxLeasedBytes, 10n);
  });

  it('law: keep progress', () => {
    fc.assert(
      fc.property(fc.record({ doneBytes: size, totalBytes: size }, PLAIN), (progress) => {
        assert.deepEqual(progressFromWire(progressToWire(progress)), progress);
      }),
    );
  });

  it('law: keep what a check found', () => {
    const what = fc.constantFrom('blob' as const, 'entry' as const);
    const damage = fc.record({ what, name: fc.string(), reason: fc.string() }, PLAIN);
    const report = fc.record(
      { blobs: size, entries: size, bytes: size, damaged: size, damage: fc.array(damage) },
      PLAIN,
    );
    fc.assert(
      fc.property(report, (found) => {
        const bytes = CheckStoreReport.encode(checkReportToWire(found)).finish();
        assert.deepEqual(checkReportFromWire(CheckStoreReport.decode(bytes)), found);
      }),
    );
  });

  it('law: keep what a prune did', () => {
    const report = fc.record({ freedBytes: size, evictedBlobs: size, evictedEntries: size, sizeBytes: size }, PLAIN);
    fc.assert(
      fc.property(report, (done) => {
        const bytes = PruneStoreReport.encode(pruneReportToWire(done)).finish();
        assert.deepEqual(pruneReportFromWire(PruneStoreReport.decode(bytes)), done);
      }),
    );
  });
});
