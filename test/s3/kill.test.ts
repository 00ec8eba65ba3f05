import assert from 'node:assert/strict';
import { stopEverything, temporaryFolder } from '../clients/gantry.ts';
import { Minio, requireMinio } from '../support/minio.ts';
import { killRounds } from './kill-rounds.ts';

describe('a server that is killed again and again, with trouble on the way to S3', () => {
  let minio: Minio | undefined;

  before(async function () {
    requireMinio(this);
    minio = await Minio.start(temporaryFolder());
  });
  after(async () => {
    await minio?.kill();
    await stopEverything();
  });

  for (const durability of ['s3', 'local'] as const) {
    it(`loses nothing that it acknowledged with durability ${durability}`, async () => {
      assert.ok(minio);
      const { acknowledgements, faults } = await killRounds(minio, { seed: 1, rounds: 5, durability });
      assert.ok(acknowledgements > 50, `${acknowledgements} acknowledgements`);
      assert.ok(faults > 0, `${faults} faults`);
    });
  }
});
