import assert from 'node:assert/strict';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { isKind } from '../../errors.ts';
import { S3Health } from './s3-health.ts';

/** S3 that has failed for three seconds. */
function down() {
  const clock = new FakeClock();
  const health = new S3Health(clock);
  const error = new Error('refused');
  health.failed(error);
  clock.advance(3000);
  return { clock, health, error };
}

describe('S3Health', () => {
  it('takes S3 for there until it has failed for three seconds', () => {
    const clock = new FakeClock();
    const health = new S3Health(clock);
    assert.equal(health.isDown, false);
    health.failed(new Error('first'));
    clock.advance(2999);
    health.failed(new Error('second'));
    assert.deepEqual([health.isDown, health.reason], [false, ': second']);
    health.throwIfDown();
    clock.advance(1);
    assert.equal(health.isDown, true);
  });

  it('takes S3 for there again after one success, and counts anew', () => {
    const { clock, health } = down();
    health.succeeded();
    assert.deepEqual([health.isDown, health.reason], [false, '']);
    health.failed(new Error('again'));
    clock.advance(2999);
    assert.equal(health.isDown, false);
  });

  it('turns readers away while S3 is out of reach, but lets one a second find out', () => {
    const { clock, health, error } = down();
    const isTurnedAway = (thrown: unknown): boolean =>
      isKind(thrown, 'unavailable') && thrown.facts.retryAfterMs === 1000 && thrown.cause === error;
    health.throwIfDown();
    assert.throws(() => health.throwIfDown(), isTurnedAway);
    clock.advance(999);
    assert.throws(() => health.throwIfDown(), isTurnedAway);
    clock.advance(1);
    health.throwIfDown();
    assert.throws(() => health.throwIfDown(), isTurnedAway);
  });

  it('says why it is out of reach, and nothing while it is not', () => {
    const { health, error } = down();
    health.throwIfDown();
    assert.throws(() => health.throwIfDown(), new RegExp(`no copy of its own: ${error.message}$`));
    health.succeeded();
    assert.equal(health.reason, '');
  });
});
