import assert from 'node:assert/strict';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { StartProgress } from './start-progress.ts';

function world() {
  const clock = new FakeClock();
  const shown: (string | undefined)[] = [];
  return { clock, shown, progress: new StartProgress(clock, (text) => shown.push(text)) };
}

describe('StartProgress', () => {
  it('says that the server is starting before there is more to say', () => {
    const { shown, progress } = world();
    assert.equal(progress.text, 'the server is starting');
    assert.deepEqual(shown, []);
  });

  it('says what the start waits for', () => {
    const { shown, progress } = world();
    progress.waiting('waiting for S3: bucket builds');
    assert.equal(progress.text, 'waiting for S3: bucket builds');
    assert.deepEqual(shown, ['waiting for S3: bucket builds']);
  });

  it('counts objects while the bucket is listed', () => {
    const { progress } = world();
    progress.recovering({ listed: 2000, done: 0, total: 0 });
    assert.equal(progress.text, 'listing the bucket: 2000 objects so far');
  });

  it('shows a bar, the share and the time that is left while packs are read', () => {
    const { clock, progress } = world();
    progress.recovering({ listed: 400, done: 0, total: 200 });
    assert.equal(progress.text, 'reading the index of the bucket: [........................] 0.0 %, 0 of 200 packs');
    clock.advance(10_000);
    progress.recovering({ listed: 400, done: 50, total: 200 });
    assert.equal(
      progress.text,
      'reading the index of the bucket: [######..................] 25.0 %, 50 of 200 packs, about 30 s left',
    );
    clock.advance(30_000);
    progress.recovering({ listed: 400, done: 200, total: 200 });
    assert.equal(
      progress.text,
      'reading the index of the bucket: [########################] 100.0 %, 200 of 200 packs',
    );
  });

  it('takes the text away at the end', () => {
    const { shown, progress } = world();
    progress.waiting('waiting');
    progress.end();
    assert.deepEqual(shown, ['waiting', undefined]);
  });
});
