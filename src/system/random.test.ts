import assert from 'node:assert/strict';
import { SystemRandom } from './random.ts';

describe('SystemRandom', () => {
  const random = new SystemRandom();

  it('draws fractions from 0 up to but not including 1, and not always the same', () => {
    const drawn = Array.from({ length: 1000 }, () => random.fraction());
    assert.ok(drawn.every((value) => value >= 0 && value < 1));
    assert.ok(new Set(drawn).size > 900);
  });

  it('makes version 4 UUIDs that differ', () => {
    const drawn = Array.from({ length: 100 }, () => random.uuid());
    assert.ok(
      drawn.every((uuid) => /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(uuid)),
    );
    assert.equal(new Set(drawn).size, drawn.length);
  });

  it('makes tokens of the length asked for, in lower-case hex', () => {
    assert.match(random.token(16), /^[0-9a-f]{32}$/);
    assert.notEqual(random.token(16), random.token(16));
    assert.equal(random.token(0), '');
  });
});
