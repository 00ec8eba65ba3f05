import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { turns, until } from '../../test/support/deferred.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { openStoreForTest } from '../../test/support/local-store-for-test.ts';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import { loadConfig } from '../config/load.ts';
import { DataFolder } from '../system/data-folder.ts';
import { Lifecycle } from '../system/lifecycle.ts';
import { createLog } from '../system/log.ts';
import { Metrics } from '../system/metrics.ts';
import { SystemRandom } from '../system/random.ts';
import { openBucketTier } from './bucket-tier-role.ts';
import { s3OptionsOf } from './s3-options.ts';
import { StartProgress } from './start-progress.ts';

/** A server on this machine that hangs up on everybody. */
async function refusingServer(): Promise<{ readonly endpoint: string; close(): void }> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return { endpoint: `http://127.0.0.1:${address.port}`, close: () => server.close() };
}

describe('openBucketTier', () => {
  let closing = (): void => undefined;

  afterEach(() => closing());

  it('says that it waits for S3, and ends when the start is cancelled', async () => {
    const s3 = await refusingServer();
    closing = () => s3.close();
    const environment = { AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'secret' };
    const file = join(temporaryFolder(), 'gantry.yaml');
    writeFileSync(file, JSON.stringify({ s3: { bucket: 'builds', endpoint: s3.endpoint } }));
    const loaded = loadConfig({ file, environment });
    assert.ok(loaded.ok, JSON.stringify(loaded));
    const options = s3OptionsOf(loaded.config, environment);
    assert.ok(options);
    const clock = new FakeClock();
    const shown: (string | undefined)[] = [];
    const folder = await DataFolder.open(temporaryFolder());
    const lifecycle = new Lifecycle(clock);
    const metrics = new Metrics();
    const abort = new AbortController();
    const opening = openBucketTier(loaded.config, options, {
      ...{ folder, clock, metrics, lifecycle, random: new SystemRandom(), log: createLog('silent') },
      local: await openStoreForTest(temporaryFolder(), { clock }),
      progress: new StartProgress(clock, (text) => shown.push(text)),
      signal: abort.signal,
      maxEntryBytes: 10_000,
      onEntryForgotten: () => assert.fail('nothing is forgotten'),
    });
    const refused = assert.rejects(opening);
    await until(() => shown.length > 0);
    assert.deepEqual(shown, ['waiting for S3: bucket builds']);
    abort.abort();
    await refused;
    assert.deepEqual(await lifecycle.stop(0), []);
    await turns(5);
    await folder.release();
  });
});
