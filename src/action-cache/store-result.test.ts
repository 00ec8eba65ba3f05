import assert from 'node:assert/strict';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { MemoryBlobStore } from '../cas/memory-blob-store.ts';
import { digestToWire } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { MemoryEntryStore } from '../entries/memory-entry-store.ts';
import { ActionResult } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { resultFromBytes, type StoredResult } from './action-store.ts';
import { EntryActionStore } from './entry-action-store.ts';
import { storeResult } from './store-result.ts';

type PartialResult = Parameters<typeof ActionResult.fromPartial>[0];

const clock = new FakeClock();
const KEY = { instance: parseInstanceName(''), action: digestOf('sha256', Buffer.from('action')) };
const UNKNOWN_FIELD = Buffer.of(0xa0, 0x06, 0x07);
const digest = (text: string) => digestOf('sha256', Buffer.from(text));
const wire = (text: string) => digestToWire(digest(text));

describe('storeResult', () => {
  let blobs: MemoryBlobStore;
  let actions: EntryActionStore;

  beforeEach(() => {
    blobs = new MemoryBlobStore({ maxBytes: 100_000 });
    actions = new EntryActionStore(new MemoryEntryStore({ clock, maxBytes: 100_000, maxEntryBytes: 50_000 }), {
      clock,
      maxAgeMs: 0,
    });
  });

  const store = (result: PartialResult, maxResultBytes = 10_000): Promise<StoredResult> => {
    const bytes = Buffer.concat([ActionResult.encode(ActionResult.fromPartial(result)).finish(), UNKNOWN_FIELD]);
    const options = { maxResultBytes, worker: 'bazel', signal: noAbort() };
    return storeResult({ actions, blobs }, KEY, resultFromBytes(bytes), options);
  };

  it('files what it answers, unknown fields included (R-AC-10)', async () => {
    const stored = await store({ exitCode: 3, executionMetadata: { worker: 'w' } });
    const got = await actions.get(KEY, noAbort());
    assert.deepEqual(Buffer.from(got?.bytes ?? []), Buffer.from(stored.bytes));
    assert.equal(stored.message.exitCode, 3);
    assert.equal(stored.message.executionMetadata?.worker, 'w');
    assert.ok(Buffer.from(stored.bytes).includes(UNKNOWN_FIELD));
  });

  it('names the tool as worker where none is named (R-AC-14, T-35)', async () => {
    assert.equal((await store({})).message.executionMetadata?.worker, 'bazel');
    const { message } = await store({ executionMetadata: { queuedTimestamp: { seconds: 7n, nanos: 0 } } });
    assert.equal(message.executionMetadata?.worker, 'bazel');
    assert.equal(message.executionMetadata?.queuedTimestamp?.seconds, 7n);
  });

  it('moves inlined bytes to the CAS (R-AC-03, R-AC-11)', async () => {
    const { message, bytes } = await store({
      outputFiles: [
        { path: 'a', contents: Buffer.from('content'), isExecutable: true },
        { path: 'b', digest: wire('other') },
      ],
      stdoutRaw: Buffer.from('out'),
      stdoutDigest: wire('out'),
      stderrRaw: Buffer.from('err'),
    });
    assert.deepEqual([message.stdoutRaw.length, message.stderrRaw.length], [0, 0]);
    assert.deepEqual([message.stdoutDigest, message.stderrDigest], [wire('out'), wire('err')]);
    assert.deepEqual(
      message.outputFiles.map(({ path, digest, contents, isExecutable }) => [
        path,
        digest,
        contents.length,
        isExecutable,
      ]),
      [
        ['a', wire('content'), 0, true],
        ['b', wire('other'), 0, false],
      ],
    );
    assert.ok(Buffer.from(bytes).includes(UNKNOWN_FIELD));
    for (const text of ['content', 'out', 'err']) {
      assert.equal(Buffer.from(await blobs.getBytes(digest(text), noAbort())).toString(), text);
    }
  });

  it('refuses inlined bytes that are not what their digest says, and files nothing', async () => {
    const wrong: readonly PartialResult[] = [
      { stdoutRaw: Buffer.from('out'), stdoutDigest: wire('other') },
      { stderrRaw: Buffer.from('err'), stderrDigest: { ...wire('err'), sizeBytes: 4n } },
      { outputFiles: [{ path: 'a', contents: Buffer.from('x'), digest: wire('y') }] },
    ];
    for (const result of wrong) await assert.rejects(store(result), ofKind('digest-mismatch'));
    assert.equal(await actions.get(KEY, noAbort()), undefined);
  });

  it('refuses a result that is too large to be served, but not for what it inlines (R-AC-06, T-22)', async () => {
    await assert.rejects(store({ outputFiles: [{ path: 'x'.repeat(300) }] }, 200), ofKind('too-large'));
    assert.equal(await actions.get(KEY, noAbort()), undefined);
    await store({ stdoutRaw: Buffer.alloc(1000) }, 200);
  });

  it('refuses what is not valid (R-AC-17)', async () => {
    await assert.rejects(store({ outputFiles: [{ path: '/a' }] }), ofKind('invalid-argument'));
  });
});
