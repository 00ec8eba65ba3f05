import assert from 'node:assert/strict';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { RequestCounts } from './request-counts.ts';
import type { S3Options } from './s3-options.ts';
import { type Attempt, S3Requests } from './s3-requests.ts';

const OPTIONS: S3Options = {
  bucket: 'our-bucket',
  prefix: '',
  region: 'eu-central-1',
  endpoint: undefined,
  pathStyle: true,
  credentials: undefined,
  encryption: { kind: 'bucket-default' },
  storageClass: undefined,
  proxy: undefined,
  certificateAuthorities: undefined,
  maxConcurrentRequests: 1,
  requestTimeoutMs: 1_000,
  maxAttempts: 2,
};

const HALF = { fraction: () => 0.5, uuid: () => '', token: () => '' };

function world(changes: Partial<S3Options> = {}) {
  const clock = new FakeClock(0);
  const counts = new RequestCounts();
  return { clock, counts, requests: new S3Requests({ ...OPTIONS, ...changes }, { clock, random: HALF, counts }) };
}

/** What hangs where no signal reaches, as the credential chain does. */
const never = () => new Promise<never>(() => undefined);

/** Lets everything happen that needs no time. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
}

describe('S3Requests', () => {
  it('gives up what does not even listen to its signal, each try after its time', async () => {
    const { clock, counts, requests } = world();
    const sending = assert.rejects(
      requests.send({ operation: 'list', run: never }, noAbort()),
      /did not answer in time/,
    );
    await settle();
    clock.advance(1_000);
    await settle();
    clock.advance(75);
    await settle();
    clock.advance(1_000);
    await sending;
    assert.equal(clock.armed, 0);
    assert.deepEqual([...counts.of('list').errors], [['TimeoutError', 2]]);
    assert.equal(counts.of('list').seconds.sum, 2);
  });

  it('ends with the caller, whatever runs', async () => {
    const { clock, requests } = world();
    const controller = new AbortController();
    const sending = assert.rejects(
      requests.send({ operation: 'get', run: never }, controller.signal),
      ofKind('cancelled'),
    );
    await settle();
    controller.abort();
    await sending;
    assert.equal(clock.armed, 0);
    assert.equal(await requests.send({ operation: 'get', run: async () => 'next' }, noAbort()), 'next');
  });

  it('starts the time anew with every piece that comes', async () => {
    const { clock, counts, requests } = world({ maxAttempts: 1 });
    let attempt: Attempt | undefined;
    const run = (one: Attempt) => {
      attempt = one;
      return never();
    };
    const sending = assert.rejects(requests.send({ operation: 'get', run }, noAbort()), ofKind('unavailable'));
    for (let piece = 0; piece < 5; piece++) {
      await settle();
      clock.advance(900);
      assert.equal(attempt?.abortSignal.aborted, false);
      attempt?.received(10);
    }
    clock.advance(1_000);
    assert.equal(attempt?.abortSignal.aborted, true);
    await sending;
    assert.equal(counts.of('get').receivedBytes, 50);
  });

  it('gives its place to others while it waits to try again', async () => {
    const { clock, requests } = world();
    const order: string[] = [];
    const run = async () => {
      order.push('failing');
      if (order.length === 1) throw Object.assign(new Error('reset'), { code: 'ECONNRESET' });
    };
    const failing = requests.send({ operation: 'get', run }, noAbort());
    await requests.send({ operation: 'get', run: async () => void order.push('other') }, noAbort());
    clock.advance(75);
    await failing;
    assert.deepEqual(order, ['failing', 'other', 'failing']);
  });

  it('tries less often where told so', async () => {
    const { counts, requests } = world();
    const run = () => Promise.reject(Object.assign(new Error('reset'), { code: 'ECONNRESET' }));
    const request = { operation: 'drop-upload', maxAttempts: 1, run } as const;
    await assert.rejects(requests.send(request, noAbort()), /dropping an upload, ECONNRESET/);
    assert.equal(counts.of('drop-upload').requests, 1);
  });
});
