import assert from 'node:assert/strict';
import { callUnary } from '../../test/support/call-method.ts';
import { ofKind } from '../../test/support/expectations.ts';
import { OpenAuthorizer, ReadOnlyAuthorizer } from '../auth/authorizer.ts';
import { InstanceNames, parseInstanceName } from '../digest/instance-name.ts';
import {
  CapabilitiesDefinition,
  DigestFunction_Value,
  type ServerCapabilities,
  SymlinkAbsolutePathStrategy_Value,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { type CapabilitiesOptions, capabilitiesMethods } from './capabilities-service.ts';

const { getCapabilities } = CapabilitiesDefinition.methods;

const OPTIONS = {
  authorizer: new OpenAuthorizer(),
  instances: new InstanceNames([parseInstanceName('main')]),
  cache: { maxBatchTotalSizeBytes: 3_145_728, maxBlobSizeBytes: 77 },
  execution: { nodeProperties: ['mtime', 'unix_mode'] },
};

function ask(options: CapabilitiesOptions = OPTIONS, instanceName = 'main'): Promise<ServerCapabilities> {
  return callUnary(capabilitiesMethods(options), getCapabilities, { instanceName });
}

describe('capabilitiesMethods', () => {
  it('announces API 2.0 to 2.12 without a prerelease (R-CAP-02, R-CAP-03)', async () => {
    const { deprecatedApiVersion, lowApiVersion, highApiVersion } = await ask();
    assert.deepEqual(lowApiVersion, { major: 2, minor: 0, patch: 0, prerelease: '' });
    assert.deepEqual(deprecatedApiVersion, lowApiVersion);
    assert.deepEqual(highApiVersion, { major: 2, minor: 12, patch: 0, prerelease: '' });
  });

  it('announces what the cache does, and nothing it does not (R-CAP-04 to R-CAP-11)', async () => {
    const { cacheCapabilities } = await ask();
    assert.deepEqual(cacheCapabilities, {
      digestFunctions: [DigestFunction_Value.SHA256],
      actionCacheUpdateCapabilities: { updateEnabled: true },
      cachePriorityCapabilities: { priorities: [{ minPriority: -2147483648, maxPriority: 2147483647 }] },
      maxBatchTotalSizeBytes: 3_145_728n,
      symlinkAbsolutePathStrategy: SymlinkAbsolutePathStrategy_Value.ALLOWED,
      supportedCompressors: [],
      supportedBatchUpdateCompressors: [],
      maxCasBlobSizeBytes: 77n,
      splitBlobSupport: false,
      spliceBlobSupport: false,
      fastCdc2020Params: undefined,
      repMaxCdcParams: undefined,
    });
  });

  it('announces what execution does (R-CAP-05, R-CAP-10)', async () => {
    const { executionCapabilities } = await ask();
    assert.deepEqual(executionCapabilities, {
      digestFunction: DigestFunction_Value.SHA256,
      execEnabled: true,
      executionPriorityCapabilities: { priorities: [{ minPriority: -2147483648, maxPriority: 2147483647 }] },
      supportedNodeProperties: ['mtime', 'unix_mode'],
      digestFunctions: [DigestFunction_Value.SHA256],
    });
  });

  it('leaves out what is not served here (R-CAP-01)', async () => {
    const { authorizer, instances, cache, execution } = OPTIONS;
    assert.equal((await ask({ authorizer, instances, cache })).executionCapabilities, undefined);
    const executionOnly = await ask({ authorizer, instances, execution });
    assert.equal(executionOnly.cacheCapabilities, undefined);
    assert.ok(executionOnly.executionCapabilities);
  });

  it('tells each caller what it may do (R-CAP-07)', async () => {
    const answer = await ask({ ...OPTIONS, authorizer: new ReadOnlyAuthorizer(OPTIONS.authorizer) });
    assert.equal(answer.cacheCapabilities?.actionCacheUpdateCapabilities?.updateEnabled, false);
    assert.equal(answer.executionCapabilities?.execEnabled, false);
  });

  it('refuses an instance that is not served (R-CAP-13)', async () => {
    await assert.rejects(ask(OPTIONS, 'other'), ofKind('invalid-argument'));
  });
});
