import assert from 'node:assert/strict';
import { digestKey } from '../../digest/digest.ts';
import { parseDigestArgument } from './digest-argument.ts';
import { UsageError } from './usage-error.ts';

const HASH = 'a'.repeat(63).concat('0');
const KEY = `sha256/${HASH}/12`;

describe('parseDigestArgument', () => {
  for (const [text, instance] of [
    [`${HASH}/12`, undefined],
    [`${HASH}-12`, undefined],
    [`${HASH}-12-sha256`, undefined],
    [KEY, undefined],
    [`blobs/${HASH}/12`, ''],
    [`/blobs/${HASH}/12`, ''],
    [`main/blobs/${HASH}/12`, 'main'],
    [`a/b/blobs/${HASH}/12`, 'a/b'],
    [`a/compressed-blobs/zstd/${HASH}/12`, 'a'],
    [`bytestream://build:8980/blobs/${HASH}/12`, ''],
    [`bytestream://build/main/blobs/${HASH}/12`, 'main'],
    [`bytestream:///main/blobs/${HASH}/12`, 'main'],
  ] as const) {
    it(`reads ${text.replace(HASH, 'HASH')}`, () => {
      const name = parseDigestArgument(text, {});
      assert.equal(digestKey(name.digest), KEY);
      assert.equal(name.instance, instance ?? '');
      assert.equal(name.isInstanceGiven, instance !== undefined);
    });
  }

  for (const [text, why] of [
    ['', /is not a digest/],
    ['hello', /is not a digest/],
    ['abc/12', /no supported digest function has hashes of 3 hex characters/],
    [`${HASH.toUpperCase()}/12`, /is not a sha256 hash in lower-case hex/],
    [`${HASH}/-1`, /is not a digest/],
    [`${HASH}/012`, /is not a digest/],
    [`${HASH}/1e3`, /is not a digest/],
    [`${HASH}/9999999999999999`, /is not a blob size/],
    [HASH, /is not a digest/],
    [`md5/${HASH}/12`, /is not a digest/],
    [`${HASH}-12-md5`, /"md5" is not a digest function; there is sha256/],
    [`main/blobs/${HASH}/12/name`, /goes on after the size/],
    [`main/blobs/blake3/${HASH}/12`, /blake3, which is not supported/],
    [`main/uploads/1/blobs/${HASH}/12`, /is a name for writing/],
    [`operations/blobs/${HASH}/12`, /reserved segment/],
    [`bytestream://build/${HASH}`, /is not a digest/],
  ] as const) {
    it(`refuses ${JSON.stringify(text.replace(HASH, 'HASH').replace(HASH.toUpperCase(), 'UPPER'))}`, () => {
      assert.throws(
        () => parseDigestArgument(text, {}),
        (error) => {
          assert.ok(error instanceof UsageError);
          assert.match(error.message, why);
          return true;
        },
      );
    });
  }

  it('says what is expected', () => {
    assert.throws(() => parseDigestArgument('x', {}), {
      message:
        '"x" does not name a blob: "x" is not a digest; write HASH/SIZE, HASH-SIZE or a resource name like main/blobs/HASH/SIZE',
    });
  });

  it('takes instance name and function from flags', () => {
    const name = parseDigestArgument(`${HASH}/12`, { instance: 'main', function: 'SHA256' });
    assert.deepEqual([name.instance, name.isInstanceGiven, name.digest.function], ['main', true, 'sha256']);
  });

  it('refuses flags that contradict the name, and those that are wrong themselves', () => {
    assert.throws(() => parseDigestArgument(`a/blobs/${HASH}/1`, { instance: 'b' }), /its instance name is not "b"/);
    assert.throws(() => parseDigestArgument(`${HASH}/1`, { instance: 'a//b' }), /has an empty segment/);
    assert.throws(() => parseDigestArgument(`${HASH}/1`, { function: 'md5' }), UsageError);
  });

  it('shows only the beginning of what is very long', () => {
    assert.throws(
      () => parseDigestArgument('x'.repeat(5_000), {}),
      (error) => error instanceof UsageError && error.message.length < 500,
    );
  });
});
