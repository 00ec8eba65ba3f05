import assert from 'node:assert/strict';
import { callServerStreaming, callUnary } from '../../test/support/call-method.ts';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { fakeCall } from '../../test/support/fake-call.ts';
import { OpenAuthorizer, ReadOnlyAuthorizer } from '../auth/authorizer.ts';
import { type Digest, digestToWire, emptyDigest } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { InstanceNames, parseInstanceName } from '../digest/instance-name.ts';
import { ReapiError } from '../errors.ts';
import {
  ContentAddressableStorageDefinition,
  Digest as WireDigest,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { Code } from '../gen/google/rpc/code.ts';
import type { Method } from '../rpc/methods.ts';
import { WireReader } from '../system/protobuf-wire.ts';
import { casMethods } from './cas-service.ts';
import { MemoryBlobStore } from './memory-blob-store.ts';

const { findMissingBlobs, batchUpdateBlobs, batchReadBlobs, getTree } = ContentAddressableStorageDefinition.methods;

const LIMITS = {
  maxBatchTotalSizeBytes: 1000,
  maxBlobSizeBytes: 500,
  maxDigestsPerRequest: 6000,
  maxMessageBytes: 2000,
  maxTreeDirectories: 100,
  maxTreeDepth: 10,
  maxDirectoriesPerPage: 50,
};
const OPEN = { authorizer: new OpenAuthorizer(), instances: new InstanceNames() };

function blob(text: string): { readonly digest: Digest; readonly wire: WireDigest; readonly data: Buffer } {
  const data = Buffer.from(text);
  const digest = digestOf('sha256', data);
  return { digest, wire: digestToWire(digest), data };
}

const ONE = blob('one');
const TWO = blob('two');
const EMPTY = digestToWire(emptyDigest('sha256'));
const BAD_HASHES: readonly (readonly [string, WireDigest])[] = [
  ['upper case', { ...ONE.wire, hash: ONE.wire.hash.toUpperCase() }],
  ['a negative size', { ...ONE.wire, sizeBytes: -1n }],
  ['an absurd size', { ...ONE.wire, sizeBytes: 2n ** 62n }],
  ['a short hash', { ...ONE.wire, hash: 'abc' }],
];

describe('casMethods', () => {
  let store: MemoryBlobStore;
  let methods: readonly Method[];

  beforeEach(() => {
    store = new MemoryBlobStore({ maxBytes: 1_000_000 });
    methods = casMethods(store, OPEN, LIMITS);
  });

  const put = (...blobs: readonly (typeof ONE)[]): Promise<unknown> =>
    Promise.all(blobs.map(({ digest, data }) => store.putBytes(digest, data, noAbort())));

  it('serves four methods and leaves the chunk calls to the transport, which answers UNIMPLEMENTED', () => {
    const names = methods.map(({ path }) => path.slice(path.lastIndexOf('/') + 1));
    assert.deepEqual(names, ['FindMissingBlobs', 'BatchUpdateBlobs', 'BatchReadBlobs', 'GetTree']);
  });

  describe('access', () => {
    it('refuses writing without the right (R-BS-43), and still reads', async () => {
      methods = casMethods(store, { ...OPEN, authorizer: new ReadOnlyAuthorizer(new OpenAuthorizer()) }, LIMITS);
      const update = { requests: [{ digest: ONE.wire, data: ONE.data }] };
      await assert.rejects(callUnary(methods, batchUpdateBlobs, update), ofKind('denied'));
      await callUnary(methods, findMissingBlobs, { blobDigests: [ONE.wire] });
    });

    it('refuses instance names that are malformed or not served (R-XC-03, R-CAP-13)', async () => {
      const instances = new InstanceNames([parseInstanceName('main')]);
      methods = casMethods(store, { ...OPEN, instances }, LIMITS);
      for (const instanceName of ['', '/main', 'main/', 'main//x', 'main/blobs', 'other']) {
        const calls = [
          callUnary(methods, findMissingBlobs, { instanceName }),
          callUnary(methods, batchUpdateBlobs, { instanceName }),
          callUnary(methods, batchReadBlobs, { instanceName }),
          callServerStreaming(methods, getTree, { instanceName, rootDigest: EMPTY }),
        ];
        for (const call of calls) await assert.rejects(call, ofKind('invalid-argument'), instanceName);
      }
      await callUnary(methods, findMissingBlobs, { instanceName: 'main/below' });
    });

    it('shares blobs between instance names', async () => {
      await callUnary(methods, batchUpdateBlobs, {
        instanceName: 'a',
        requests: [{ digest: ONE.wire, data: ONE.data }],
      });
      const answer = await callUnary(methods, findMissingBlobs, { instanceName: 'b', blobDigests: [ONE.wire] });
      assert.deepEqual(answer.missingBlobDigests, []);
    });
  });

  describe('FindMissingBlobs', () => {
    it('answers what is absent, takes repeats, and never the empty blob (R-CAS-01, R-CAS-02)', async () => {
      await put(ONE);
      const blobDigests = [TWO.wire, ONE.wire, EMPTY, TWO.wire];
      const answer = await callUnary(methods, findMissingBlobs, { blobDigests });
      assert.deepEqual(answer.missingBlobDigests, [TWO.wire]);
    });

    it('answers nothing to nothing (R-CAS-02)', async () => {
      assert.deepEqual((await callUnary(methods, findMissingBlobs, {})).missingBlobDigests, []);
    });

    it('takes the right hash with another size for another blob (R-DIG-02)', async () => {
      await put(ONE);
      const other = { ...ONE.wire, sizeBytes: 4n };
      assert.deepEqual((await callUnary(methods, findMissingBlobs, { blobDigests: [other] })).missingBlobDigests, [
        other,
      ]);
    });

    it('answers over several slices in order', async () => {
      const blobDigests = Array.from({ length: LIMITS.maxDigestsPerRequest }, (_, index) => blob(`${index}`).wire);
      const answer = await callUnary(methods, findMissingBlobs, { blobDigests });
      assert.deepEqual(answer.missingBlobDigests, blobDigests);
    });

    it('copies missing digests as they came, unknown fields included', async () => {
      const method = methods[0];
      assert.ok(method?.kind === 'unary');
      const raw = Buffer.concat([WireDigest.encode(ONE.wire).finish(), Buffer.of(0x78, 0x01)]);
      const request = Buffer.concat([Buffer.of(0x12, raw.length), raw]);
      const answer = Buffer.from(await method.handle(request, fakeCall()));
      const reader = new WireReader(answer);
      assert.ok(reader.next());
      assert.deepEqual(reader.bytes(), raw);
    });

    for (const [what, digest] of BAD_HASHES) {
      it(`refuses a digest with ${what} (R-DIG-01, R-DIG-02)`, async () => {
        await assert.rejects(
          callUnary(methods, findMissingBlobs, { blobDigests: [TWO.wire, digest] }),
          ofKind('invalid-argument'),
        );
      });
    }

    it('refuses a function that is not offered (R-DIG-03)', async () => {
      const request = { blobDigests: [ONE.wire], digestFunction: 9 };
      await assert.rejects(callUnary(methods, findMissingBlobs, request), ofKind('invalid-argument'));
    });

    it('refuses more digests than the limit', async () => {
      const blobDigests = new Array(LIMITS.maxDigestsPerRequest + 1).fill(EMPTY);
      await assert.rejects(callUnary(methods, findMissingBlobs, { blobDigests }), ofKind('too-large'));
    });

    it('refuses bytes that are no message as undecodable (R-XC-13)', async () => {
      const method = methods[0];
      assert.ok(method?.kind === 'unary');
      await assert.rejects(method.handle(Buffer.of(0x12, 0x05), fakeCall()), ofKind('undecodable'));
    });
  });

  describe('BatchUpdateBlobs', () => {
    it('stores each entry by itself and echoes its digest (R-CAS-06, R-CAS-07, R-CAS-09)', async () => {
      const requests = [
        { digest: ONE.wire, data: ONE.data },
        { digest: TWO.wire, data: Buffer.from('tow') },
        { digest: { ...TWO.wire, sizeBytes: 4n }, data: TWO.data },
        { digest: EMPTY, data: Buffer.alloc(0) },
        { digest: EMPTY, data: Buffer.from('x') },
        { digest: blob('x').wire, data: Buffer.from('x'), compressor: 1 },
        { data: ONE.data },
        ...BAD_HASHES.map(([, digest]) => ({ digest, data: ONE.data })),
      ];
      const answer = await callUnary(methods, batchUpdateBlobs, { requests });
      const wrong = Code.INVALID_ARGUMENT;
      assert.deepEqual(
        answer.responses.map(({ status }) => status?.code),
        [0, wrong, wrong, 0, wrong, wrong, wrong, ...BAD_HASHES.map(() => wrong)],
      );
      assert.deepEqual(
        answer.responses.map(({ digest }) => digest),
        requests.map((request) => ('digest' in request ? request.digest : undefined)),
      );
      assert.deepEqual(Buffer.from(await store.getBytes(ONE.digest, noAbort())), ONE.data);
      assert.deepEqual(await store.findMissing([TWO.digest], noAbort()), [TWO.digest]);
    });

    it('refuses a blob above the size limit in its entry (R-CAS-13)', async () => {
      const large = blob('x'.repeat(LIMITS.maxBlobSizeBytes + 1));
      const answer = await callUnary(methods, batchUpdateBlobs, {
        requests: [{ digest: large.wire, data: large.data }],
      });
      assert.equal(answer.responses[0]?.status?.code, Code.INVALID_ARGUMENT);
    });

    it('refuses a batch above the total limit as a whole, and stores nothing of it (R-CAS-05)', async () => {
      const parts = ['a', 'b', 'c'].map((letter) => blob(letter.repeat(400)));
      const requests = parts.map(({ wire, data }) => ({ digest: wire, data }));
      await assert.rejects(callUnary(methods, batchUpdateBlobs, { requests }), ofKind('too-large'));
      assert.equal(
        (
          await store.findMissing(
            parts.map(({ digest }) => digest),
            noAbort(),
          )
        ).length,
        3,
      );
    });

    it('reports a full store in the entry, and other entries succeed (R-CAS-06)', async () => {
      const inner = store;
      const full = Object.assign(new MemoryBlobStore({ maxBytes: 1000 }), {
        putBytes: (digest: Digest, data: Uint8Array, signal: AbortSignal) =>
          digest.hash === ONE.digest.hash
            ? Promise.reject(new ReapiError('quota-exceeded', 'the store is full'))
            : inner.putBytes(digest, data, signal),
      });
      methods = casMethods(full, OPEN, LIMITS);
      const requests = [ONE, TWO].map(({ wire, data }) => ({ digest: wire, data }));
      const answer = await callUnary(methods, batchUpdateBlobs, { requests });
      assert.deepEqual(
        answer.responses.map(({ status }) => status?.code),
        [Code.RESOURCE_EXHAUSTED, 0],
      );
    });

    it('ends with cancelled when the caller goes', async () => {
      const request = { requests: [{ digest: ONE.wire, data: ONE.data }] };
      const call = fakeCall({ signal: AbortSignal.abort() });
      await assert.rejects(callUnary(methods, batchUpdateBlobs, request, call), ofKind('cancelled'));
    });

    it('lets concurrent uploads of one digest all succeed (R-CAS-20)', async () => {
      const request = { requests: [ONE, ONE].map(({ wire, data }) => ({ digest: wire, data })) };
      const answers = await Promise.all([1, 2, 3].map(() => callUnary(methods, batchUpdateBlobs, request)));
      for (const { responses } of answers)
        assert.deepEqual(
          responses.map(({ status }) => status?.code),
          [0, 0],
        );
    });
  });

  describe('BatchReadBlobs', () => {
    it('answers every digest in order, repeats included, each with its own status (R-CAS-01, R-CAS-10)', async () => {
      await put(ONE);
      const digests = [ONE.wire, TWO.wire, EMPTY, ONE.wire, ...BAD_HASHES.map(([, digest]) => digest).slice(0, 2)];
      const answer = await callUnary(methods, batchReadBlobs, { digests });
      assert.deepEqual(
        answer.responses.map(({ status, data }) => [status?.code, Buffer.from(data).toString()]),
        [
          [0, 'one'],
          [Code.NOT_FOUND, ''],
          [0, ''],
          [0, 'one'],
          [Code.INVALID_ARGUMENT, ''],
          [Code.INVALID_ARGUMENT, ''],
        ],
      );
      assert.deepEqual(
        answer.responses.map(({ digest }) => digest),
        digests,
      );
    });

    it('answers identity whatever is acceptable (R-CAS-11)', async () => {
      await put(ONE);
      for (const acceptableCompressors of [[], [0], [1], [0, 1, 2]]) {
        const answer = await callUnary(methods, batchReadBlobs, { digests: [ONE.wire], acceptableCompressors });
        assert.deepEqual([answer.responses[0]?.compressor, answer.responses[0]?.status?.code], [0, 0]);
      }
    });

    it('refuses a total above the limit as a whole (R-CAS-10)', async () => {
      const digests = [
        { ...ONE.wire, sizeBytes: 600n },
        { ...TWO.wire, sizeBytes: 600n },
      ];
      await assert.rejects(callUnary(methods, batchReadBlobs, { digests }), ofKind('too-large'));
    });

    it('refuses rather than sends an answer that no client receives (R-CAS-12, R-XC-05)', async () => {
      await put(ONE);
      const digests = new Array(30).fill(ONE.wire);
      await assert.rejects(callUnary(methods, batchReadBlobs, { digests }), ofKind('too-large'));
    });
  });
});
