import assert from 'node:assert/strict';
import fc from 'fast-check';
import { compareVersions } from './entry-version.ts';

const LOW = '00'.repeat(8);
const HIGH = 'ff'.repeat(8);
const version = fc.record({ sequence: fc.nat({ max: 3 }), writer: fc.constantFrom(LOW, HIGH) });

describe('compareVersions', () => {
  it('looks at the sequence number first, and at the writer only among equal ones', () => {
    assert.ok(compareVersions({ sequence: 2, writer: LOW }, { sequence: 1, writer: HIGH }) > 0);
    assert.ok(compareVersions({ sequence: 1, writer: HIGH }, { sequence: 2, writer: LOW }) < 0);
    assert.ok(compareVersions({ sequence: 1, writer: HIGH }, { sequence: 1, writer: LOW }) > 0);
    assert.equal(compareVersions({ sequence: 1, writer: LOW }, { sequence: 1, writer: LOW }), 0);
  });

  it('law: it is a total order, and only the same version is equal', () => {
    fc.assert(
      fc.property(version, version, version, (a, b, c) => {
        assert.equal(Math.sign(compareVersions(a, b)), -Math.sign(compareVersions(b, a)) + 0);
        assert.equal(compareVersions(a, b) === 0, a.sequence === b.sequence && a.writer === b.writer);
        if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0) assert.ok(compareVersions(a, c) <= 0);
      }),
    );
  });
});
