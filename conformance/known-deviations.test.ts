import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { parseKnownDeviations } from './known-deviations.ts';
import { SUITE } from './suite.ts';

const IDS = new Set(SUITE.map(({ id }) => id));
const PEERS = new URL('peers/', import.meta.url);

describe('parseKnownDeviations', () => {
  const parse = (deviations: unknown) =>
    parseKnownDeviations(JSON.stringify({ server: 's', deviations }), new Set(['a.b']));

  it('reads ids and reasons', () => {
    assert.deepEqual([...parse({ 'a.b': 'It answers nothing.' }).reasons], [['a.b', 'It answers nothing.']]);
  });
  it('refuses an id that no case has', () => {
    assert.throws(() => parse({ 'a.c': 'It answers nothing.' }), /no case has the id a\.c/);
  });
  it('refuses a line without a reason', () => assert.throws(() => parse({ 'a.b': ' ' }), /a\.b needs a reason/));
  it('refuses a file without deviations', () => assert.throws(() => parse(undefined), /deviations must be an object/));
});

describe('the files in peers/', () => {
  for (const name of readdirSync(PEERS)) {
    it(`name cases that exist: ${name}`, () => {
      const known = parseKnownDeviations(readFileSync(new URL(name, PEERS), 'utf8'), IDS);
      assert.ok(known.reasons.size > 0);
    });
  }
});
