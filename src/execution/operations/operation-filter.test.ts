import assert from 'node:assert/strict';
import { digestOf } from '../../digest/hasher.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { isKind } from '../../errors.ts';
import type { OperationState } from '../operations.ts';
import { operationFilter } from './operation-filter.ts';
import { NO_IDS } from './request-ids.ts';

const action = digestOf('sha256', Buffer.from('action'));
const state: OperationState = {
  name: 'a/b/operations/17',
  key: { instance: parseInstanceName('a/b'), action },
  ...{ stage: 'queued', message: '', createdAtMs: 1, order: 1_000, priority: 0, attempts: [] },
  ids: { tool: 'bazel', invocation: 'inv-1', correlated: 'all', mnemonic: 'CppCompile', target: '//x:y' },
  slot: '{"host":"h-7"}',
};
const done: OperationState = { ...state, stage: 'completed', ids: NO_IDS, response: new Uint8Array() };

describe('operationFilter', () => {
  for (const [text, wantsQueued, wantsDone] of [
    ['', true, true],
    ['  ', true, true],
    ['stage=QUEUED', true, false],
    ['stage=queued', true, false],
    ['stage!=COMPLETED', true, false],
    ['done=true', false, true],
    ['done!=true', true, false],
    ['instance="a/b"', true, true],
    ['instance=a', false, false],
    ['instance:a', true, true],
    [`action=${action.hash}`, true, true],
    [`action:${action.hash.slice(0, 8)}`, true, true],
    ['name:/17', true, true],
    ['tool=bazel', true, false],
    ['invocation=inv-1', true, false],
    ['invocation!=inv-1', false, true],
    ['invocation=""', false, true],
    ['correlated=all', true, false],
    ['mnemonic:Compile', true, false],
    ['target=//x:y', true, false],
    ['worker:h-7', true, true],
    ['stage=QUEUED AND done=false AND instance="a/b" AND mnemonic=CppCompile', true, false],
    ['tool=bazel OR done=true', true, true],
    ['NOT (tool=bazel OR done=true)', false, false],
  ] as const) {
    it(`understands ${text === '' ? 'no filter' : text}`, () => {
      const isWanted = operationFilter(text);
      assert.deepEqual([isWanted(state), isWanted(done)], [wantsQueued, wantsDone]);
    });
  }

  it('finds a target that was cut by its whole name', () => {
    const target = `//${'x'.repeat(1_000)}`;
    const cut = { ...state, ids: { ...state.ids, target: `${target.slice(0, 256)}…` } };
    assert.equal(operationFilter(`target=${target}`)(cut), true);
  });

  for (const [text, expected] of [
    [
      'done=true AND colour=red',
      /position 15: there is no field "colour"; there are stage, done, name, instance, action/,
    ],
    ['constructor=x', /there is no field "constructor"/],
    [
      'stage=RUNNING',
      /position 7: "RUNNING" is no value of "stage"; there are CACHE_CHECK, QUEUED, EXECUTING, COMPLETED/,
    ],
    ['stage=toString', /is no value of "stage"/],
    ['done=yes', /"yes" is no value of "done"; there are true, false/],
    ['done:t', /"t" is no value/],
    ['stage:QUEUED', /"stage" can be compared with = and != only/],
  ] as const) {
    it(`refuses ${text}, naming what there is`, () => {
      assert.throws(
        () => operationFilter(text),
        (error) => isKind(error, 'invalid-argument') && expected.test(error.message),
      );
    });
  }
});
