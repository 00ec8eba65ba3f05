import assert from 'node:assert/strict';
import fc from 'fast-check';
import { inPieces, sha256, someBytes } from '../../test/support/blob-store-contract.ts';
import { isKind, ReapiError } from '../errors.ts';
import { type ByteStream, collect } from '../system/byte-stream.ts';
import { verified, verifyBytes } from './verified-stream.ts';

describe('verified', () => {
  it('law: passes the blob in any chunking, and never all bytes of anything else', async () => {
    const bytes = someBytes(500);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 600 }), fc.nat(499), async (piece, flipAt) => {
        const digest = sha256(bytes);
        assert.deepEqual(sha256(await collect(verified(digest, inPieces(bytes, piece)), 500)), digest);
        const changed = bytes.with(flipAt, (bytes[flipAt] ?? 0) ^ 1);
        let passedBytes = 0;
        const reading = async (): Promise<void> => {
          for await (const chunk of verified(digest, inPieces(changed, piece))) passedBytes += chunk.length;
        };
        await assert.rejects(reading, (error) => isKind(error, 'digest-mismatch'));
        assert.ok(passedBytes < 500);
      }),
    );
  });

  it('names both digests', async () => {
    const expected = sha256(someBytes(10, 1));
    const actual = sha256(someBytes(10, 2));
    await assert.rejects(collect(verified(expected, inPieces(someBytes(10, 2), 4)), 10), (error) => {
      assert.ok(error instanceof ReapiError);
      assert.deepEqual([error.facts.expected, error.facts.actual], [expected, actual]);
      return true;
    });
  });

  it('stops an endless stream at the first byte too many', async () => {
    let chunks = 0;
    const endless = async function* (): ByteStream {
      for (;;) {
        chunks++;
        yield new Uint8Array(10);
      }
    };
    await assert.rejects(collect(verified(sha256(new Uint8Array(25)), endless()), 100), (error) =>
      isKind(error, 'digest-mismatch'),
    );
    assert.equal(chunks, 3);
  });
});

describe('verifyBytes', () => {
  it('accepts the blob and nothing else', () => {
    const bytes = someBytes(100);
    verifyBytes(sha256(bytes), bytes);
    for (const wrong of [someBytes(100, 2), bytes.subarray(1), new Uint8Array()]) {
      assert.throws(
        () => verifyBytes(sha256(bytes), wrong),
        (error) => isKind(error, 'digest-mismatch'),
      );
    }
  });
});
