import assert from 'node:assert/strict';
import { BugError, ReapiError } from '../errors.ts';
import { readError, writeError } from './file-errors.ts';

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: /secret/path`), { code });
}

describe('errors of files', () => {
  const table: readonly (readonly [string, string, string])[] = [
    ['ENOSPC', 'quota-exceeded', 'unavailable'],
    ['EDQUOT', 'quota-exceeded', 'unavailable'],
    ['EIO', 'unavailable', 'data-loss'],
    ['EBADMSG', 'unavailable', 'data-loss'],
    ['EUCLEAN', 'unavailable', 'data-loss'],
    ['EACCES', 'unavailable', 'unavailable'],
    ['EMFILE', 'unavailable', 'unavailable'],
    ['EROFS', 'unavailable', 'unavailable'],
  ];
  for (const [code, writing, reading] of table) {
    it(`${code} is ${writing} when writing and ${reading} when reading, without the path`, () => {
      assert.equal(writeError(systemError(code), 'writing').kind, writing);
      const error = readError(systemError(code), 'reading');
      assert.equal(error.kind, reading);
      assert.match(error.message, new RegExp(code));
      assert.doesNotMatch(error.message, /secret/);
    });
  }

  it('keeps errors of ours, and throws bugs on', () => {
    const ours = new ReapiError('cancelled', 'the call was cancelled');
    assert.equal(writeError(ours, 'x'), ours);
    assert.equal(readError(ours, 'x'), ours);
    assert.throws(() => writeError(new BugError('law'), 'x'), BugError);
    assert.throws(() => readError(new BugError('law'), 'x'), BugError);
  });
});
