import assert from 'node:assert/strict';
import { noAbort } from '../../../test/support/expectations.ts';
import { temporaryFolder } from '../../../test/support/temporary-folder.ts';
import { DataFolder } from '../../system/data-folder.ts';
import { openLocalStore } from './open-local-store.ts';

describe('openLocalStore', () => {
  it('opens a store to look at, keeps others away, and gives the folder free again', async () => {
    const path = temporaryFolder();
    await (await DataFolder.open(path)).release();
    for (let time = 0; time < 2; time++) {
      const { control, close } = await openLocalStore(path);
      await assert.rejects(DataFolder.open(path), /another process is using it/);
      assert.deepEqual([control.stats().blobs, control.stats().files], [0, 0]);
      const { blobs, damaged } = await control.check(() => undefined, noAbort());
      assert.deepEqual([blobs, damaged], [0, 0]);
      await close();
    }
  });

  it('refuses a folder that is in use', async () => {
    const path = temporaryFolder();
    const owner = await DataFolder.open(path);
    try {
      await assert.rejects(openLocalStore(path), { kind: 'precondition' });
    } finally {
      await owner.release();
    }
  });
});
