import assert from 'node:assert/strict';
import { capTimeout } from './timeout-header.ts';

const capped = (value: string): string | string[] | undefined => {
  const headers = { 'grpc-timeout': value };
  capTimeout(headers);
  return headers['grpc-timeout'];
};

describe('capTimeout', () => {
  for (const value of ['597H', '99999999H', '99999999M', '2592000S', '2145601S']) {
    it(`shortens ${value} to what 31 bits of milliseconds hold`, () => assert.equal(capped(value), '596H'));
  }

  for (const value of ['0n', '1n', '99999999n', '99999999u', '99999999m', '2145600S', '35760M', '596H']) {
    it(`leaves ${value} alone`, () => assert.equal(capped(value), value));
  }

  for (const value of ['', 'H', '123', '1x', '-1S', '999999999S', '1.5H', ' 597H']) {
    it(`leaves the malformed "${value}" to the transport`, () => assert.equal(capped(value), value));
  }

  it('does not add a deadline where there is none', () => {
    const headers = {};
    capTimeout(headers);
    assert.deepEqual(headers, {});
  });
});
