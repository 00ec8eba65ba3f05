import assert from 'node:assert/strict';
import { instructionsOf, unitSectionsOf } from './deploy-files.ts';

describe('instructionsOf', () => {
  it('joins continued lines and leaves comments out', () => {
    const dockerfile = '# a\nARG B=c\nFROM b AS d\n\nRUN a \\\n    # why\n    && b\nCMD ["x"]\n';
    assert.deepEqual(instructionsOf(dockerfile), [
      { name: 'ARG', argument: 'B=c' },
      { name: 'FROM', argument: 'b AS d' },
      { name: 'RUN', argument: 'a && b' },
      { name: 'CMD', argument: '["x"]' },
    ]);
  });

  for (const dockerfile of ['FROM a\nRUM b\n', 'FROM a\nRUN\n', 'RUN a\n', '', 'FROM a\n&& b\n']) {
    it(`refuses ${JSON.stringify(dockerfile)}`, () => assert.throws(() => instructionsOf(dockerfile)));
  }
});

describe('unitSectionsOf', () => {
  it('reads sections and keys, also empty and repeated ones', () => {
    const sections = unitSectionsOf('# a\n[Unit]\nA=b=c\n\n[Service]\nD=\nE=1\nE=2\n');
    assert.deepEqual(
      [...sections],
      [
        ['Unit', [['A', 'b=c']]],
        [
          'Service',
          [
            ['D', ''],
            ['E', '1'],
            ['E', '2'],
          ],
        ],
      ],
    );
  });

  for (const unit of ['A=b\n', '[Unit]\nnonsense\n', '[Unit]\n[Unit]\n', '[unit\n']) {
    it(`refuses ${JSON.stringify(unit)}`, () => assert.throws(() => unitSectionsOf(unit)));
  }
});
