import assert from 'node:assert/strict';
import { createServer } from 'node:net';
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
async function refusingServer(): Promise<{ readonly endpoint: string; readonly calls: () => number; close(): void }> {
  let calls = 0;
  const server = createServer((socket) => {
    calls++;
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return { endpoint: `http://127.0.0.1:${address.port}`, calls: () => calls, close: () => server.close() };
}

describe('openBucketTier', () => {
  it('says that it waits for S3, goes on trying, and ends when the start is cancelled', async () => {
    const s3 = await refusingServer();
    const environment = { AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'secret' };
    const flags = { 's3.bucket': 'builds', 's3.endpoint': s3.endpoint };
    const loaded = loadConfig({ environment, flags });
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
    await until(() => {
      clock.advance(100);
      return s3.calls() >= 5;
    });
    assert.deepEqual(shown, ['waiting for S3: bucket builds']);
    assert.match(await metrics.text(), /^gantry_s3_requests_total\{operation="get"\} [1-9]/m);
    abort.abort();
    await refused;
    assert.deepEqual(await lifecycle.stop(0), []);
    await turns(5);
    await folder.release();
    s3.close();
  });
});
