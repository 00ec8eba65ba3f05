import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ExecuteResponse } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { verdictOf } from './attempt-verdict.ts';

type Fields = Parameters<typeof ExecuteResponse.fromPartial>[0];

const of = (fields: Fields, isExhausted = false) => verdictOf(ExecuteResponse.fromPartial(fields), isExhausted);

describe('verdictOf', () => {
  const cases: readonly (readonly [string, Fields, unknown])[] = [
    ['exit code 0', { result: {} }, { verdict: 'success' }],
    ['exit code 0 with a status that says OK', { result: {}, status: { code: 0 } }, { verdict: 'success' }],
    ['another exit code (R-EX-22)', { result: { exitCode: 3 } }, { verdict: 'failure', cause: 'exit code 3' }],
    ['death by a signal (R-EX-23)', { result: { exitCode: 137 } }, { verdict: 'failure', cause: 'exit code 137' }],
    [
      'a timeout, also with a result (R-EX-21)',
      { result: {}, status: { code: 4, message: 'too slow' } },
      { verdict: 'failure', cause: 'too slow' },
    ],
    ['no result (R-EX-04)', {}, { verdict: 'worker-fault', cause: 'the worker sent no result' }],
  ];
  for (const [what, fields, expected] of cases) it(what, () => assert.deepEqual(of(fields), expected));

  for (const [code, verdict] of [
    [1, 'worker-fault'],
    [2, 'worker-fault'],
    [3, 'failure'],
    [5, 'failure'],
    [7, 'worker-fault'],
    [8, 'worker-fault'],
    [9, 'failure'],
    [10, 'worker-fault'],
    [12, 'failure'],
    [13, 'worker-fault'],
    [14, 'worker-fault'],
    [15, 'worker-fault'],
    [16, 'worker-fault'],
  ] as const) {
    it(`status ${code} is a ${verdict}`, () => {
      assert.deepEqual(of({ status: { code, message: 'why' } }), { verdict, cause: 'why' });
    });
  }

  it('believes a worker that says its machine was too small, whatever else it says', () => {
    assert.deepEqual(of({ result: { exitCode: 137 } }, true), {
      verdict: 'exhausted',
      cause: 'the machine was too small',
    });
    assert.deepEqual(of({ status: { code: 8, message: 'disk full' } }, true), {
      verdict: 'exhausted',
      cause: 'disk full',
    });
  });

  it('law: only a result with exit code 0 and without an error is a success', () => {
    const fields = fc.record({ code: fc.nat(16), exitCode: fc.option(fc.nat(255)), isExhausted: fc.boolean() });
    fc.assert(
      fc.property(fields, ({ code, exitCode, isExhausted }) => {
        const result = exitCode === null ? {} : { result: { exitCode } };
        const isGood = code === 0 && exitCode === 0 && !isExhausted;
        assert.equal(of({ ...result, status: { code } }, isExhausted).verdict === 'success', isGood);
      }),
    );
  });
});
