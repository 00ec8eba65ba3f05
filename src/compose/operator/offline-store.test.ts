import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ofKind } from '../../../test/support/expectations.ts';
import { FakeStoreControl } from '../../../test/support/fake-store-control.ts';
import { temporaryFolder } from '../../../test/support/temporary-folder.ts';
import { ReapiError } from '../../errors.ts';
import { DataFolder } from '../../system/data-folder.ts';
import { withOfflineStore } from './offline-store.ts';
import { UsageError } from './usage-error.ts';

/** Opens by the lock of the folder alone, as the real store does first. */
function opener() {
  const control = new FakeStoreControl();
  const opened: string[] = [];
  let closed = 0;
  return {
    control,
    opened,
    closed: () => closed,
    open: async (path: string) => {
      opened.push(path);
      const folder = await DataFolder.open(path);
      return {
        control,
        close: async () => {
          closed++;
          await folder.release();
        },
      };
    },
  };
}

async function dataFolder(): Promise<string> {
  const path = temporaryFolder();
  await (await DataFolder.open(path)).release();
  return path;
}

describe('withOfflineStore', () => {
  it('works on the store and closes it', async () => {
    const { open, control, closed } = opener();
    const stats = await withOfflineStore(open, await dataFolder(), async (given) => given.stats());
    assert.deepEqual(stats, control.stats());
    assert.equal(closed(), 1);
  });

  it('closes it too when the work fails', async () => {
    const { open, closed } = opener();
    const work = withOfflineStore(open, await dataFolder(), () => Promise.reject(new ReapiError('cancelled', 'no')));
    await assert.rejects(work, ofKind('cancelled'));
    assert.equal(closed(), 1);
  });

  it('makes no store where there is none', async () => {
    const { open, opened } = opener();
    const empty = temporaryFolder();
    writeFileSync(join(empty, 'file'), '');
    for (const path of [empty, join(empty, 'absent'), join(empty, 'file')]) {
      await assert.rejects(
        withOfflineStore(open, path, () => assert.fail('there is nothing to work on')),
        (error) => error instanceof UsageError && error.message === `"${path}" is not the data folder of a server`,
      );
    }
    assert.deepEqual(opened, []);
  });

  it('points to the running server when one owns the folder', async () => {
    const path = await dataFolder();
    const owner = await DataFolder.open(path);
    try {
      const work = withOfflineStore(opener().open, path, () => assert.fail('it is not ours'));
      await assert.rejects(work, {
        kind: 'precondition',
        message: /another process is using it; without --data the running server is asked$/,
      });
    } finally {
      await owner.release();
    }
  });

  it('passes on other reasons as they are', async () => {
    const failing = () => Promise.reject(new ReapiError('precondition', 'written by a newer program'));
    const work = withOfflineStore(failing, await dataFolder(), () => assert.fail('it did not open'));
    await assert.rejects(work, { message: 'written by a newer program' });
  });
});
