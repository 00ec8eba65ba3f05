import assert from 'node:assert/strict';
import fc from 'fast-check';
import { callClientStreaming, callServerStreaming, callUnary } from '../../test/support/call-method.ts';
import { turns } from '../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { fakeCall } from '../../test/support/fake-call.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { OpenAuthorizer, ReadOnlyAuthorizer } from '../auth/authorizer.ts';
import { type Digest, digestPath, emptyDigest } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { InstanceNames, parseInstanceName } from '../digest/instance-name.ts';
import { ReapiError } from '../errors.ts';
import { ByteStreamDefinition } from '../gen/google/bytestream/bytestream.ts';
import { byteStreamMethods } from '../rpc/byte-stream-service.ts';
import type { Method } from '../rpc/methods.ts';
import { BlobBytes } from './blob-bytes.ts';
import { MemoryBlobStore } from './memory-blob-store.ts';
import { Uploads } from './uploads.ts';

const { read, write, queryWriteStatus } = ByteStreamDefinition.methods;

const DATA = Buffer.from('0123456789');
const DIGEST = digestOf('sha256', DATA);
const NAME = uploadName(DIGEST);

function uploadName(digest: Digest, instance = ''): string {
  return `${instance}uploads/7a1b/blobs/${digestPath(digest)}`;
}

/** Messages of an upload: each piece at its place, the name on the first, the last one finishing. */
function messages(name: string, pieces: readonly Buffer[], startAt = 0): object[] {
  let writeOffset = BigInt(startAt);
  return pieces.map((data, index) => {
    const message = {
      resourceName: index === 0 ? name : '',
      writeOffset,
      data,
      finishWrite: index === pieces.length - 1,
    };
    writeOffset += BigInt(data.length);
    return message;
  });
}

/** Sends these messages, then breaks off as a client does that vanishes. */
async function* broken(list: readonly object[]): AsyncGenerator<object> {
  yield* list;
  throw new ReapiError('cancelled', 'the caller broke the call off');
}

const half = { resourceName: NAME, writeOffset: 0n, data: DATA.subarray(0, 4), finishWrite: false };

describe('BlobBytes', () => {
  let store: MemoryBlobStore;
  let methods: readonly Method[];

  const serve = (overrides: Partial<ConstructorParameters<typeof BlobBytes>[2]> = {}): void => {
    const uploads = new Uploads(store, new FakeClock(), { suspendedTtlMs: 60_000, maxSuspended: 4 });
    const options = { authorizer: new OpenAuthorizer(), instances: new InstanceNames(), maxBlobSizeBytes: 0 };
    methods = byteStreamMethods([new BlobBytes(store, uploads, { ...options, ...overrides })]);
  };
  beforeEach(() => {
    store = new MemoryBlobStore({ maxBytes: 10_000_000 });
    serve();
  });

  const put = (data: Uint8Array): Promise<void> => store.putBytes(digestOf('sha256', data), data, noAbort());
  const send = (requests: Iterable<object> | AsyncIterable<object>): Promise<bigint> =>
    callClientStreaming(methods, write, requests).then(({ committedSize }) => committedSize);
  const status = (resourceName: string): Promise<{ committedSize: bigint; complete: boolean }> =>
    callUnary(methods, queryWriteStatus, { resourceName });
  const get = async (request: object): Promise<string> =>
    Buffer.concat((await callServerStreaming(methods, read, request)).map(({ data }) => data)).toString();
  const isStored = async (): Promise<boolean> => (await store.findMissing([DIGEST], noAbort())).length === 0;

  describe('Read', () => {
    const name = `blobs/${digestPath(DIGEST)}`;

    it('reads the part that was asked for (R-BS-12, R-BS-13, T-07)', async () => {
      await put(DATA);
      const parts: readonly (readonly [bigint, bigint, string])[] = [
        [0n, 0n, '0123456789'],
        [3n, 0n, '3456789'],
        [3n, 4n, '3456'],
        [0n, 3n, '012'],
        [8n, 100n, '89'],
        [10n, 0n, ''],
        [0n, 2n ** 62n, '0123456789'],
      ];
      for (const [readOffset, readLimit, expected] of parts) {
        assert.equal(await get({ resourceName: name, readOffset, readLimit }), expected);
      }
    });

    it('refuses offsets outside the blob and a negative limit (R-BS-11, R-BS-13)', async () => {
      await put(DATA);
      for (const readOffset of [-1n, 11n]) {
        await assert.rejects(get({ resourceName: name, readOffset }), ofKind('out-of-range'));
      }
      await assert.rejects(get({ resourceName: name, readLimit: -1n }), ofKind('invalid-argument'));
    });

    it('answers an absent blob before any data (R-BS-10)', async () => {
      await assert.rejects(get({ resourceName: name }), ofKind('blob-not-found'));
    });

    it('reads the empty blob as nothing, without storage (R-BS-15, R-CAS-01)', async () => {
      const resourceName = `blobs/${digestPath(emptyDigest('sha256'))}`;
      assert.deepEqual(await callServerStreaming(methods, read, { resourceName }), []);
    });

    it('sends messages of at most 64 KiB (R-BS-17)', async () => {
      const large = Buffer.alloc(200_000, 'x');
      await put(large);
      const resourceName = `blobs/${digestPath(digestOf('sha256', large))}`;
      const sizes = (await callServerStreaming(methods, read, { resourceName })).map(({ data }) => data.length);
      assert.deepEqual(sizes, [65536, 65536, 65536, 3392]);
    });

    it('refuses other names, and compressed ones while none is announced (R-BS-04, R-BS-05)', async () => {
      await put(DATA);
      const path = digestPath(DIGEST);
      for (const resourceName of [NAME, 'x', '', `blobs/${path}/more`, `compressed-blobs/zstd/${path}`]) {
        await assert.rejects(get({ resourceName }), ofKind('invalid-argument'), resourceName);
      }
    });

    it('reads under any instance name, with a leading slash too (R-BS-01, R-BS-02, T-34)', async () => {
      await put(DATA);
      for (const prefix of ['', '/', 'main/', 'a/b/c/']) {
        assert.equal(await get({ resourceName: `${prefix}${name}` }), '0123456789');
      }
      await assert.rejects(get({ resourceName: `a//${name}` }), ofKind('invalid-argument'));
      serve({ instances: new InstanceNames([parseInstanceName('main')]) });
      await assert.rejects(get({ resourceName: name }), ofKind('invalid-argument'));
    });

    it('compares the routing header with the name (R-BS-06)', async () => {
      await put(DATA);
      const headed = (value: string) =>
        fakeCall({ header: (header) => (header.endsWith('resource-name') ? value : undefined) });
      await callServerStreaming(methods, read, { resourceName: name }, headed(name));
      await assert.rejects(
        callServerStreaming(methods, read, { resourceName: name }, headed('other')),
        ofKind('invalid-argument'),
      );
    });

    it('law: any offset and limit give the same bytes as slicing', async () => {
      await put(DATA);
      await fc.assert(
        fc.asyncProperty(fc.nat({ max: 10 }), fc.nat({ max: 12 }), async (offset, limit) => {
          const expected = DATA.subarray(offset, limit === 0 ? undefined : offset + limit).toString();
          assert.equal(
            await get({ resourceName: name, readOffset: BigInt(offset), readLimit: BigInt(limit) }),
            expected,
          );
        }),
      );
    });
  });

  describe('Write', () => {
    it('law: any cut into messages stores the blob (R-BS-31, R-BS-35, R-BS-37)', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(fc.nat({ max: 10 }), { maxLength: 5 }), async (cuts) => {
          store = new MemoryBlobStore({ maxBytes: 100_000 });
          serve();
          const bounds = [0, ...cuts.toSorted((a, b) => a - b), 10];
          const pieces = bounds.slice(1).map((end, index) => DATA.subarray(bounds[index], end));
          assert.equal(await send(messages(NAME, pieces)), 10n);
          assert.ok(await isStored());
        }),
      );
    });

    it('takes finish_write alone on an empty message (R-BS-35)', async () => {
      assert.equal(await send(messages(NAME, [DATA, Buffer.alloc(0)])), 10n);
      assert.ok(await isStored());
    });

    it('takes the name again on later messages, but no other (R-BS-30)', async () => {
      const [first, second] = messages(NAME, [DATA.subarray(0, 4), DATA.subarray(4)]);
      await assert.rejects(send([first ?? {}, { ...second, resourceName: 'other' }]), ofKind('invalid-argument'));
      assert.equal(await send([first ?? {}, { ...second, resourceName: NAME }]), 10n);
    });

    it('refuses a call without a message, and one without a name (R-BS-30)', async () => {
      await assert.rejects(send([]), ofKind('invalid-argument'));
      await assert.rejects(send([{ data: DATA }]), ofKind('invalid-argument'));
    });

    it('refuses gaps, overlaps and negative offsets (R-BS-31)', async () => {
      for (const writeOffset of [0n, 3n, 5n, -1n]) {
        const second = { writeOffset, data: DATA.subarray(4), finishWrite: true };
        await assert.rejects(send([half, second]), ofKind('invalid-argument'));
      }
      await assert.rejects(send([{ ...half, writeOffset: -1n }]), ofKind('invalid-argument'));
      await assert.rejects(send([{ ...half, writeOffset: 4n }]), ofKind('out-of-range'));
    });

    it('refuses a message after finish_write, and stores nothing (R-BS-34)', async () => {
      const after = { writeOffset: 10n };
      await assert.rejects(send([...messages(NAME, [DATA]), after]), ofKind('invalid-argument'));
      assert.equal(await isStored(), false);
    });

    for (const [what, data] of [
      ['more bytes', Buffer.from('0123456789x')],
      ['fewer bytes', Buffer.from('012345678')],
      ['other bytes', Buffer.from('012345678x')],
    ] as const) {
      it(`refuses ${what} than the name says, and keeps nothing to resume (R-BS-36)`, async () => {
        await assert.rejects(send(messages(NAME, [data.subarray(0, 4), data.subarray(4)])), ofKind('digest-mismatch'));
        assert.equal(await isStored(), false);
        assert.deepEqual(await status(NAME), { committedSize: 0n, complete: false });
        assert.equal(await send(messages(NAME, [DATA])), 10n);
      });
    }

    it('fails at the first byte too many without waiting for the rest (R-BS-36)', async () => {
      async function* endless(): AsyncGenerator<object> {
        yield { resourceName: NAME, data: Buffer.alloc(11) };
        await new Promise(() => undefined);
      }
      await assert.rejects(send(endless()), ofKind('digest-mismatch'));
    });

    it('answers at once when the blob is there, without waiting for the client (R-BS-38, T-02)', async () => {
      await put(DATA);
      async function* endless(): AsyncGenerator<object> {
        yield half;
        await new Promise(() => undefined);
      }
      assert.equal(await send(endless()), 10n);
      assert.equal(await send([{ ...half, writeOffset: 7n }]), 10n);
    });

    it('ends early when the store does in the middle (R-BS-38)', async () => {
      const lazy = Object.assign(new MemoryBlobStore({ maxBytes: 1000 }), {
        put: async (_: Digest, bytes: AsyncIterable<Uint8Array>) => {
          for await (const _chunk of bytes) break;
        },
      });
      store = lazy;
      serve();
      async function* slow(): AsyncGenerator<object> {
        yield half;
        await turns(3);
        yield { writeOffset: 4n, data: DATA.subarray(4, 6) };
        await new Promise(() => undefined);
      }
      assert.equal(await send(slow()), 10n);
    });

    it('takes the empty blob as there already (R-CAS-01)', async () => {
      assert.equal(await send(messages(uploadName(emptyDigest('sha256')), [Buffer.alloc(0)])), 0n);
    });

    it('refuses a blob above the limit before reading data (R-CAS-13)', async () => {
      serve({ maxBlobSizeBytes: 9 });
      await assert.rejects(send([half]), ofKind('too-large'));
      serve({ maxBlobSizeBytes: 10 });
      assert.equal(await send(messages(NAME, [DATA])), 10n);
    });

    it('refuses writing without the right (R-BS-43), and reading names (R-BS-54)', async () => {
      await assert.rejects(
        send([{ ...half, resourceName: `blobs/${digestPath(DIGEST)}` }]),
        ofKind('invalid-argument'),
      );
      const compressed = `uploads/u/compressed-blobs/zstd/${digestPath(DIGEST)}`;
      await assert.rejects(send([{ ...half, resourceName: compressed }]), ofKind('invalid-argument'));
      serve({ authorizer: new ReadOnlyAuthorizer(new OpenAuthorizer()) });
      await assert.rejects(send([half]), ofKind('denied'));
    });

    it('passes on that the store is full (R-BS-44)', async () => {
      const full = Object.assign(new MemoryBlobStore({ maxBytes: 1000 }), {
        put: () => Promise.reject(new ReapiError('quota-exceeded', 'the store is full')),
      });
      store = full;
      serve();
      await assert.rejects(send(messages(NAME, [DATA])), ofKind('quota-exceeded'));
    });

    it('lets concurrent uploads of one name all succeed (R-CAS-20)', async () => {
      const pieces = [DATA.subarray(0, 5), DATA.subarray(5)];
      const committed = await Promise.all([1, 2, 3].map(() => send(messages(NAME, pieces))));
      assert.deepEqual(committed, [10n, 10n, 10n]);
    });

    it('resumes after the client vanished (R-BS-31, R-BS-45, R-BS-51)', async () => {
      await assert.rejects(send(broken([half])), ofKind('cancelled'));
      assert.deepEqual(await status(NAME), { committedSize: 4n, complete: false });
      assert.deepEqual(await status(`/${NAME}/with/metadata`), { committedSize: 4n, complete: false });
      assert.equal(await send(messages(NAME, [DATA.subarray(4)], 4)), 10n);
      assert.ok(await isStored());
      assert.deepEqual(await status(NAME), { committedSize: 10n, complete: true });
    });

    it('begins again at offset 0 after the client vanished (R-BS-45)', async () => {
      await assert.rejects(send(broken([half])), ofKind('cancelled'));
      assert.equal(await send(messages(NAME, [DATA])), 10n);
      assert.ok(await isStored());
    });

    it('finishes an upload of which everything but finish_write had come', async () => {
      await assert.rejects(send(broken([{ ...half, data: DATA }])), ofKind('cancelled'));
      assert.deepEqual(await status(NAME), { committedSize: 10n, complete: false });
      assert.equal(await send(messages(NAME, [Buffer.alloc(0)], 10)), 10n);
    });

    it('keeps an upload whose call ended without finish_write, and says how far it is (R-BS-33)', async () => {
      assert.equal(await send([half]), 4n);
      assert.equal(await isStored(), false);
      assert.equal(await send(messages(NAME, [DATA.subarray(4)], 4)), 10n);
    });

    it('keeps uploads of different instances apart', async () => {
      await send([half]);
      const other = uploadName(DIGEST, 'main/');
      assert.deepEqual(await status(other), { committedSize: 0n, complete: false });
    });
  });

  describe('QueryWriteStatus', () => {
    it('answers complete for a blob that is there, under any upload id (R-BS-50)', async () => {
      await put(DATA);
      const resourceName = `main/uploads/never-seen/blobs/${digestPath(DIGEST)}`;
      assert.deepEqual(await status(resourceName), { committedSize: 10n, complete: true });
    });

    it('answers 0 for an upload nobody knows (R-BS-52, T-04)', async () => {
      assert.deepEqual(await status(NAME), { committedSize: 0n, complete: false });
    });

    it('refuses malformed names and names for reading (R-BS-54)', async () => {
      for (const name of ['', 'x', `blobs/${digestPath(DIGEST)}`, 'uploads/u/blobs/x/1']) {
        await assert.rejects(status(name), ofKind('invalid-argument'), name);
      }
    });
  });
});
