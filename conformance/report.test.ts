import assert from 'node:assert/strict';
import { conformanceCase, type Level } from './case.ts';
import { NO_DEVIATIONS } from './known-deviations.ts';
import { exitCodeOf, formatJson, formatText, judge, makeReport, type Outcome } from './report.ts';

const LISTED = { server: 'a peer', reasons: new Map([['a.listed', 'It never did this.']]) };
const PASS: Outcome = { kind: 'pass' };
const FAIL: Outcome = { kind: 'fail', message: 'expected A,\ngot B' };

function subject(id: string, level: Level = 'MUST') {
  return conformanceCase({ id, level, requirements: 'R-1 R-2', rule: 'A rule.' }, async () => undefined);
}

describe('judge', () => {
  const table: readonly (readonly [string, string, Outcome, string, string])[] = [
    ['a pass', 'a.other', PASS, 'pass', ''],
    ['a failure', 'a.other', FAIL, 'fail', 'expected A,\ngot B'],
    ['a failure that is listed', 'a.listed', FAIL, 'known', 'It never did this.'],
    ['a pass that is listed as a failure', 'a.listed', PASS, 'unexpected-pass', 'It never did this.'],
    [
      'a case the profile leaves out',
      'a.listed',
      { kind: 'skip', lacks: ['health'] },
      'skip',
      'the profile lacks health',
    ],
  ];
  for (const [what, id, outcome, verdict, note] of table) {
    it(`calls ${what} ${verdict}`, () => {
      const line = judge(subject(id), outcome, LISTED);
      assert.deepEqual([line.verdict, line.note, line.requirements], [verdict, note, ['R-1', 'R-2']]);
    });
  }
});

describe('exitCodeOf', () => {
  const codeFor = (level: Level, outcome: Outcome) =>
    exitCodeOf(makeReport('p', [judge(subject('a.listed', level), outcome, NO_DEVIATIONS)]));

  it('is 1 for a rule that must be kept and is not', () => assert.equal(codeFor('MUST', FAIL), 1));
  it('is 0 when everything passes', () => assert.equal(codeFor('MUST', PASS), 0));
  it('is 0 for a rule that should be kept and is not', () => assert.equal(codeFor('SHOULD', FAIL), 0));
  it('is 0 for a failure that is listed', () => {
    assert.equal(exitCodeOf(makeReport('p', [judge(subject('a.listed'), FAIL, LISTED)])), 0);
  });
});

describe('the formats of a report', () => {
  const lines = [judge(subject('a.b'), PASS, NO_DEVIATIONS), judge(subject('long.id'), FAIL, NO_DEVIATIONS)];
  const report = makeReport('p', lines);

  it('counts verdicts and shows why something failed, for people', () => {
    const text = formatText(report);
    assert.match(text, /2 cases with profile p: 1 pass, 1 fail, 0 known, 0 unexpected-pass, 0 skip/);
    assert.match(text, /fail\s+MUST\s+long\.id\s+A rule\.\n\s+expected A,\n\s+got B\n/);
  });

  it('is the report itself, for programs', () => assert.deepEqual(JSON.parse(formatJson(report)), report));
});
