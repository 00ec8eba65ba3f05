import assert from 'node:assert/strict';
import { ExecutedActionMetadata } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { ranMsOf } from './ran-ms.ts';

const at = (seconds: bigint, nanos = 0) => ({ seconds, nanos });

describe('ranMsOf', () => {
  for (const [name, fields, expected] of [
    ['nothing', {}, undefined],
    ['only a start', { executionStartTimestamp: at(1n) }, undefined],
    ['start and end', { executionStartTimestamp: at(1n, 500_000_000), executionCompletedTimestamp: at(3n) }, 1_500],
    ['an end before the start', { executionStartTimestamp: at(3n), executionCompletedTimestamp: at(1n) }, undefined],
    [
      'the clock of the timeout, which counts for more (R-EX-52)',
      {
        executionStartTimestamp: at(1n),
        executionCompletedTimestamp: at(9n),
        virtualExecutionDuration: at(2n),
      },
      2_000,
    ],
    ['a negative duration', { virtualExecutionDuration: at(-2n) }, undefined],
  ] as const) {
    it(`understands ${name}`, () => {
      assert.equal(ranMsOf(ExecutedActionMetadata.fromPartial(fields)), expected);
    });
  }

  it('knows nothing without metadata', () => assert.equal(ranMsOf(undefined), undefined));
});
