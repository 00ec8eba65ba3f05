import assert from 'node:assert/strict';
import { actionKeyText } from './action-key.ts';
import { parseDigest } from './digest.ts';
import { parseInstanceName } from './instance-name.ts';

const HASH = 'c'.repeat(64);
const textOf = (instance: string, hash: string, size: number): string =>
  actionKeyText({ instance: parseInstanceName(instance), action: parseDigest('sha256', hash, size) });

describe('actionKeyText', () => {
  it('has a form that is on disk and must not change', () => {
    assert.equal(textOf('acme/ci', HASH, 142), `sha256/${HASH}/142/acme/ci`);
    assert.equal(textOf('', HASH, 142), `sha256/${HASH}/142/`);
  });

  it('differs when instance, hash or size differ (R-AC-15)', () => {
    const texts = [
      textOf('', HASH, 1),
      textOf('a', HASH, 1),
      textOf('', HASH, 11),
      textOf('', 'd'.repeat(64), 1),
      textOf('1', HASH, 1),
    ];
    assert.equal(new Set(texts).size, texts.length);
  });
});
