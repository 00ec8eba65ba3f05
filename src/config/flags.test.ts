import assert from 'node:assert/strict';
import { FLAG_KEYS, overrideOf } from './flags.ts';
import { CONFIGURATION_KEYS } from './keys.ts';

const flagOf = (name: string) => {
  const flag = FLAG_KEYS.find((each) => each.syntax.startsWith(`${name} `));
  assert.ok(flag, name);
  return flag;
};

describe('FLAG_KEYS', () => {
  it('sets known keys only, each by one flag', () => {
    const known = new Set(CONFIGURATION_KEYS.map((key) => key.path.join('.')));
    for (const flag of FLAG_KEYS) assert.ok(known.has(flag.path), flag.path);
    assert.equal(new Set(FLAG_KEYS.map((flag) => flag.path)).size, FLAG_KEYS.length);
  });
});

describe('overrideOf', () => {
  it('reads values like variables are read', () => {
    assert.deepEqual(overrideOf(flagOf('--slots'), '3'), { path: ['worker', 'slots'], value: 3, source: '--slots' });
    assert.equal(overrideOf(flagOf('--max-size'), '3GiB').value, '3GiB');
    assert.equal(overrideOf(flagOf('--embedded-worker'), 'false').value, false);
    assert.equal(overrideOf(flagOf('--data'), '12').value, '12');
  });

  it('knows what a flag means that stands alone', () => {
    assert.equal(overrideOf(flagOf('--read-only'), true).value, true);
    assert.equal(overrideOf(flagOf('--log-requests'), true).value, 'all');
  });

  it('splits properties at the first equals sign', () => {
    assert.deepEqual(overrideOf(flagOf('--platform'), ['a=b=c', 'd=', 'e']).value, [
      { name: 'a', value: 'b=c' },
      { name: 'd', value: '' },
      'e',
    ]);
  });
});
