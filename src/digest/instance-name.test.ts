import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ofKind } from '../../test/support/expectations.ts';
import { InstanceNames, MAX_INSTANCE_NAME_LENGTH, parseInstanceName, RESERVED_SEGMENTS } from './instance-name.ts';

const goodSegment = fc
  .stringMatching(/^[A-Za-z0-9._-]{1,12}$/)
  .filter((segment) => segment !== '.' && segment !== '..' && !RESERVED_SEGMENTS.has(segment));
const goodName = fc.array(goodSegment, { maxLength: 5 }).map((segments) => segments.join('/'));

describe('parseInstanceName', () => {
  for (const name of ['', 'main', 'acme/ci', 'a/b/c/d', 'blobs2', 'Blobs', 'größe', 'with space', '...']) {
    it(`accepts "${name}" (R-XC-03)`, () => assert.equal(parseInstanceName(name), name));
  }

  for (const name of ['/', '/main', 'main/', 'a//b', '.', '..', 'a/../b', './a', 'a\nb', 'a\0', 'a\x7f']) {
    it(`refuses ${JSON.stringify(name)} (R-XC-03)`, () => {
      assert.throws(() => parseInstanceName(name), ofKind('invalid-argument'));
    });
  }

  for (const reserved of [
    'blobs',
    'uploads',
    'actions',
    'actionResults',
    'operations',
    'capabilities',
    'compressed-blobs',
  ]) {
    it(`refuses "${reserved}" as a segment, for it ends the name in a resource name (R-XC-03)`, () => {
      for (const name of [reserved, `${reserved}/a`, `a/${reserved}`, `a/${reserved}/b`]) {
        assert.throws(() => parseInstanceName(name), ofKind('invalid-argument'));
      }
    });
  }

  it('refuses a name above the limit, and accepts the longest', () => {
    const longest = 'x'.repeat(MAX_INSTANCE_NAME_LENGTH);
    assert.equal(parseInstanceName(longest), longest);
    assert.throws(() => parseInstanceName(`${longest}x`), ofKind('invalid-argument'));
  });

  it('law: accepts segments joined by slashes and returns them unchanged', () => {
    fc.assert(fc.property(goodName, (name) => assert.equal(parseInstanceName(name), name)));
  });

  it('law: one empty or reserved segment anywhere makes a name invalid', () => {
    const bad = fc.constantFrom('', '.', '..', ...RESERVED_SEGMENTS);
    fc.assert(
      fc.property(
        fc.array(goodSegment, { maxLength: 3 }),
        bad,
        fc.array(goodSegment, { maxLength: 3 }),
        (before, segment, after) => {
          const name = [...before, segment, ...after].join('/');
          fc.pre(name !== '');
          assert.throws(() => parseInstanceName(name), ofKind('invalid-argument'));
        },
      ),
    );
  });

  it('law: an arbitrary string is accepted unchanged or refused as an invalid argument', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
        try {
          assert.equal(parseInstanceName(text), text);
        } catch (error) {
          assert.ok(ofKind('invalid-argument')(error), String(error));
        }
      }),
    );
  });
});

describe('InstanceNames', () => {
  it('serves every well-formed name unless told otherwise', () => {
    assert.equal(new InstanceNames().resolve('any/thing'), 'any/thing');
    assert.throws(() => new InstanceNames().resolve('a//b'), ofKind('invalid-argument'));
  });

  it('serves listed names and those below them, by whole segments (R-CAP-13)', () => {
    const names = new InstanceNames([parseInstanceName('acme'), parseInstanceName('beta/ci')]);
    for (const served of ['acme', 'acme/x', 'acme/x/y', 'beta/ci', 'beta/ci/1'])
      assert.equal(names.resolve(served), served);
    for (const other of ['', 'acm', 'acme2', 'beta', 'beta/ci2', 'x/acme']) {
      assert.throws(() => names.resolve(other), ofKind('invalid-argument'), other);
    }
  });

  it('serves all names below the empty one, and none if none is listed', () => {
    assert.equal(new InstanceNames([parseInstanceName('')]).resolve('a/b'), 'a/b');
    assert.throws(() => new InstanceNames([]).resolve(''), ofKind('invalid-argument'));
  });
});
