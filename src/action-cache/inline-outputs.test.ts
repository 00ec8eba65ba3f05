import assert from 'node:assert/strict';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { MemoryBlobStore } from '../cas/memory-blob-store.ts';
import { digestToWire, emptyDigest } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { ReapiError } from '../errors.ts';
import { ActionResult } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { resultFromBytes, type StoredResult } from './action-store.ts';
import { type InlineHints, inlineOutputs } from './inline-outputs.ts';

const wire = (text: string) => digestToWire(digestOf('sha256', Buffer.from(text)));
const RESULT = ActionResult.fromPartial({
  outputFiles: [
    { path: 'a.d', digest: wire('deps'), isExecutable: true },
    { path: 'b', digest: wire('binary') },
    { path: 'empty', digest: digestToWire(emptyDigest('sha256')) },
    { path: 'none' },
  ],
  stdoutDigest: wire('out'),
  stderrDigest: wire('err'),
  exitCode: 4,
});
const UNKNOWN_FIELD = Buffer.of(0xa0, 0x06, 0x07);
const NOTHING: InlineHints = { stdout: false, stderr: false, files: [] };

describe('inlineOutputs', () => {
  let store: MemoryBlobStore;
  let result: StoredResult;

  beforeEach(async () => {
    store = new MemoryBlobStore({ maxBytes: 100_000 });
    for (const text of ['deps', 'binary', 'out', 'err']) {
      await store.putBytes(digestOf('sha256', Buffer.from(text)), Buffer.from(text), noAbort());
    }
    result = resultFromBytes(Buffer.concat([ActionResult.encode(RESULT).finish(), UNKNOWN_FIELD]));
  });

  const inline = (hints: Partial<InlineHints>, maxBytes = 10_000): Promise<StoredResult> =>
    inlineOutputs(result, { ...NOTHING, ...hints }, { store, digestFunction: 'sha256', maxBytes }, noAbort());
  const contents = ({ message }: StoredResult): string[] =>
    [message.stdoutRaw, message.stderrRaw, ...message.outputFiles.map((file) => file.contents)].map((bytes) =>
      Buffer.from(bytes).toString(),
    );

  it('changes nothing unless asked (R-AC-04)', async () => {
    assert.equal(await inline({}), result);
  });

  it('inlines what is asked for, keeps digests, and everything else as it was (R-AC-04)', async () => {
    const inlined = await inline({ stdout: true, stderr: true, files: ['a.d'] });
    assert.deepEqual(contents(inlined), ['out', 'err', 'deps', '', '', '']);
    const { message } = inlined;
    const plain = {
      ...message,
      stdoutRaw: RESULT.stdoutRaw,
      stderrRaw: RESULT.stderrRaw,
      outputFiles: message.outputFiles.map((file) => ({ ...file, contents: new Uint8Array() })),
    };
    assert.deepEqual(plain, ActionResult.decode(ActionResult.encode(RESULT).finish()));
    assert.ok(Buffer.from(inlined.bytes).includes(UNKNOWN_FIELD));
  });

  it('takes stdout and stderr apart', async () => {
    assert.deepEqual(contents(await inline({ stdout: true })).slice(0, 2), ['out', '']);
    assert.deepEqual(contents(await inline({ stderr: true })).slice(0, 2), ['', 'err']);
  });

  it('matches paths exactly, and ignores unknown ones and empty files (R-AC-05)', async () => {
    assert.equal(await inline({ files: ['./a.d', 'A.D', 'unknown', 'empty', 'none'] }), result);
  });

  it('leaves out what would make the message too large (R-AC-04, R-AC-06, R-XC-05)', async () => {
    for (let room = 0; room < 200; room++) {
      const maxBytes = result.bytes.length + room;
      const inlined = await inline({ stdout: true, stderr: true, files: ['a.d', 'b'] }, maxBytes);
      assert.ok(inlined.bytes.length <= maxBytes, `room for ${room}`);
    }
    assert.equal(await inline({ stdout: true }, result.bytes.length), result);
  });

  it('leaves out a blob that is gone meanwhile, and passes other failures on', async () => {
    store = new MemoryBlobStore({ maxBytes: 1000 });
    assert.equal(await inline({ stdout: true, files: ['a.d'] }), result);
    store.getBytes = () => Promise.reject(new ReapiError('unavailable', 'no answer'));
    await assert.rejects(inline({ stdout: true }), ofKind('unavailable'));
  });
});
