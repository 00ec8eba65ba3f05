import assert from 'node:assert/strict';
import { isAny, packAny } from './any.ts';

describe('packAny', () => {
  it('puts the usual prefix before the full name', () => {
    const value = new Uint8Array([8, 1]);
    assert.deepEqual(packAny('google.rpc.Help', value), { typeUrl: 'type.googleapis.com/google.rpc.Help', value });
  });
});

describe('isAny', () => {
  it('looks only behind the last slash of the type URL', () => {
    const value = new Uint8Array();
    for (const prefix of ['type.googleapis.com/', 'example.com/a/b/', '/', '']) {
      assert.equal(isAny({ typeUrl: `${prefix}a.B`, value }, 'a.B'), true, prefix);
    }
    for (const typeUrl of ['', 'x/a.BB', 'x/x.a.B', 'x/a.B/', 'a.B/x'])
      assert.equal(isAny({ typeUrl, value }, 'a.B'), false);
  });
});
