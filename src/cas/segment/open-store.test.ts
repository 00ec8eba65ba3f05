import assert from 'node:assert/strict';
import { readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { SegmentWorld } from '../../../test/support/segment-world.ts';
import { NODE_FILE_SYSTEM } from '../../system/file-system.ts';

/** What an opened store does is tested over its parts and over the whole store: local-store.test.ts. */
describe('openStore', () => {
  for (const [what, hasIndex] of [
    ['what it replays on the device before it answers: a crash may have left it in memory only', false],
    ['nothing to sync after a clean stop', true],
  ] as const) {
    it(`has ${what}`, async () => {
      const world = await SegmentWorld.open();
      await world.fill(10, 1);
      if (hasIndex) await world.parts.checkpoints.write(true);
      const synced: string[] = [];
      const files = {
        ...NODE_FILE_SYSTEM,
        syncData: async (fd: number) => void synced.push(basename(readlinkSync(`/proc/self/fd/${fd}`))),
      };
      await SegmentWorld.open({ sync: 'group', files }, world.crashCopy());
      const segments = synced.filter((name) => name.endsWith('.segment')).sort();
      assert.deepEqual(segments, hasIndex ? [] : ['00000001.segment', '00000002.segment']);
    });
  }
});
