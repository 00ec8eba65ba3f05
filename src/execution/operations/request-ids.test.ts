import assert from 'node:assert/strict';
import { RequestMetadata } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { cutId, NO_IDS, RequestIdReader } from './request-ids.ts';

describe('RequestIdReader', () => {
  it('takes out what the build tool said (R-XC-01)', () => {
    const metadata = RequestMetadata.fromPartial({
      toolDetails: { toolName: 'bazel', toolVersion: '9' },
      actionId: 'not kept',
      toolInvocationId: 'i',
      correlatedInvocationsId: 'c',
      actionMnemonic: 'm',
      targetId: 't',
    });
    const ids = new RequestIdReader().read(metadata);
    assert.deepEqual(ids, { tool: 'bazel', invocation: 'i', correlated: 'c', mnemonic: 'm', target: 't' });
  });

  it('makes nothing of nothing', () => {
    const reader = new RequestIdReader();
    assert.equal(reader.read(undefined), NO_IDS);
    assert.equal(reader.read(RequestMetadata.fromPartial({ actionId: 'not kept' })), NO_IDS);
  });

  it('cuts ids that are too long, so that they equal what is cut alike', () => {
    const long = `//${'x'.repeat(10_000)}`;
    const { target } = new RequestIdReader().read(RequestMetadata.fromPartial({ targetId: long }));
    assert.equal(target.length, 257);
    assert.equal(target, cutId(long));
    assert.equal(cutId('short'), 'short');
  });

  it('goes on when it has seen more different texts than it shares', () => {
    const reader = new RequestIdReader();
    for (let count = 0; count < 10_000; count++) {
      const metadata = RequestMetadata.fromPartial({ targetId: `//t:${count}`, toolInvocationId: 'one' });
      assert.deepEqual(reader.read(metadata), { ...NO_IDS, target: `//t:${count}`, invocation: 'one' });
    }
  });
});
