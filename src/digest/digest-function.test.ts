import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { ofKind } from '../../test/support/expectations.ts';
import { DigestFunction_Value } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  DIGEST_FUNCTIONS,
  digestFunctionNamed,
  digestFunctionToWire,
  emptyHash,
  hexLength,
  needsFunctionSegment,
  resolveDigestFunction,
} from './digest-function.ts';

describe('DIGEST_FUNCTIONS', () => {
  it('starts with SHA-256, which every client speaks (R-CAP-04)', () => {
    assert.equal(DIGEST_FUNCTIONS[0], 'sha256');
  });

  for (const fn of DIGEST_FUNCTIONS) {
    it(`finds ${fn} again by its name and by its wire value`, () => {
      assert.equal(digestFunctionNamed(fn), fn);
      assert.equal(resolveDigestFunction(digestFunctionToWire(fn), undefined), fn);
    });
  }
});

describe('emptyHash', () => {
  it('is what hashing no bytes gives (R-CAS-01)', () => {
    assert.equal(emptyHash('sha256'), createHash('sha256').digest('hex'));
    assert.equal(emptyHash('sha256').length, hexLength('sha256'));
  });
});

describe('digestFunctionNamed', () => {
  it('is undefined for names in other spellings and for properties of every object', () => {
    for (const name of ['SHA256', 'sha-256', '', 'md5', 'constructor', '__proto__']) {
      assert.equal(digestFunctionNamed(name), undefined);
    }
  });
});

describe('needsFunctionSegment', () => {
  it('leaves SHA-256 out of resource names', () => {
    assert.equal(needsFunctionSegment('sha256'), false);
  });
});

describe('resolveDigestFunction', () => {
  it('takes the field if it is set, whatever the length of the hash (R-DIG-03)', () => {
    assert.equal(resolveDigestFunction(DigestFunction_Value.SHA256, 40), 'sha256');
  });

  it('infers the function from the length of a hash if the field is not set (R-DIG-03)', () => {
    assert.equal(resolveDigestFunction(DigestFunction_Value.UNKNOWN, 64), 'sha256');
  });

  it('means SHA-256 in a request without field and without hashes', () => {
    assert.equal(resolveDigestFunction(DigestFunction_Value.UNKNOWN, undefined), 'sha256');
  });

  for (const wire of [DigestFunction_Value.MD5, DigestFunction_Value.VSO, 4711, -1]) {
    it(`refuses function ${wire}, which is not offered (R-DIG-03)`, () => {
      assert.throws(() => resolveDigestFunction(wire, 64), ofKind('invalid-argument'));
    });
  }

  for (const hexChars of [0, 1, 32, 63, 65]) {
    it(`refuses to guess from ${hexChars} hex characters (R-DIG-03)`, () => {
      assert.throws(() => resolveDigestFunction(DigestFunction_Value.UNKNOWN, hexChars), ofKind('invalid-argument'));
    });
  }
});
