import assert from 'node:assert/strict';
import { RequestMetadata } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { workTitle } from './work-title.ts';

describe('workTitle', () => {
  for (const [metadata, title] of [
    [undefined, ''],
    [{}, ''],
    [{ targetId: '//a:b' }, '//a:b'],
    [{ actionMnemonic: 'CppCompile' }, 'CppCompile'],
    [{ targetId: '//a:b', actionMnemonic: 'CppCompile' }, '//a:b (CppCompile)'],
  ] as const) {
    it(`is "${title}" for ${JSON.stringify(metadata)}`, () => {
      assert.equal(workTitle(metadata && RequestMetadata.fromPartial(metadata)), title);
    });
  }
});
