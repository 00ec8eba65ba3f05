import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { DEFAULT_PROFILE, parseProfile } from './profile.ts';

describe('parseProfile', () => {
  it('fills in what is left out', () => assert.deepEqual(parseProfile('{}'), DEFAULT_PROFILE));

  it('reads every key', () => {
    const json = {
      name: 'n',
      instance: 'a/b',
      features: ['health'],
      platform: [{ name: 'OSFamily', value: 'linux' }],
      unknownInstance: 'other',
      callTimeoutMs: 5,
    };
    assert.deepEqual(parseProfile(JSON.stringify(json)), { ...json, features: new Set(['health']) });
  });

  for (const [what, text, message] of [
    ['a key it does not know', '{"instanc": ""}', /unknown key of a profile: instanc/],
    ['a feature it does not know', '{"features": ["helth"]}', /unknown feature: helth; known: actionCacheUpdate/],
    ['a platform without values', '{"platform": [{"name": "a"}]}', /platform\.value must be a string/],
    ['features that are no list', '{"features": {}}', /features must be a list/],
    ['a time limit of nothing', '{"callTimeoutMs": 0}', /callTimeoutMs must be a positive whole number/],
    ['something that is no object', '[]', /profile must be an object/],
  ] as const) {
    it(`refuses ${what}`, () => assert.throws(() => parseProfile(text), message));
  }

  for (const name of readdirSync(new URL('profiles/', import.meta.url))) {
    it(`reads profiles/${name}`, () => {
      const profile = parseProfile(readFileSync(new URL(`profiles/${name}`, import.meta.url), 'utf8'));
      assert.equal(`${profile.name}.json`, name);
    });
  }
});
