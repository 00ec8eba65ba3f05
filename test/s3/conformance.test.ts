import assert from 'node:assert/strict';
import { formatText } from '../../conformance/report.ts';
import { QUICK_EXECUTION, reportOn } from '../clients/conformance-report.ts';
import { eventually } from '../clients/eventually.ts';
import { Gantry, stopEverything, temporaryFolder } from '../clients/gantry.ts';
import { Minio, requireMinio } from '../support/minio.ts';
import { S3World } from './s3-world.ts';

describe('the conformance suite', () => {
  let minio: Minio | undefined;
  let world: S3World | undefined;

  before(async function () {
    requireMinio(this);
    minio = await Minio.start(temporaryFolder());
  });
  afterEach(async () => {
    await world?.stop();
  });
  after(async () => {
    await minio?.kill();
    await stopEverything();
  });

  for (const durability of ['s3', 'local']) {
    it(`passes against a server with a worker whose uploads are acknowledged with durability ${durability}`, async () => {
      assert.ok(minio);
      world = await S3World.start(minio);
      const config = world.config({ s3: { durability, maxSmallPacksPerSecond: 20 } });
      const gantry = await Gantry.start({ config: { ...config, execution: QUICK_EXECUTION } });
      const report = await reportOn(gantry);
      assert.equal(report.counts.fail, 0, formatText(report));
      await eventually('the blobs are in the bucket', async () =>
        (await gantry.metric('gantry_bucket_blobs')) > 100 ? true : undefined,
      );
      await gantry.stop();
    });
  }
});
