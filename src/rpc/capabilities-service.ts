import type { Authorizer } from '../auth/authorizer.ts';
import type { Principal } from '../auth/principal.ts';
import { DIGEST_FUNCTIONS, digestFunctionToWire } from '../digest/digest-function.ts';
import type { InstanceName, InstanceNames } from '../digest/instance-name.ts';
import {
  CapabilitiesDefinition,
  DigestFunction_Value,
  ServerCapabilities,
  SymlinkAbsolutePathStrategy_Value,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { type Method, unary } from './methods.ts';

/** What is served on this listener. The same values configure the services, so nothing is announced that does not work. */
export interface CapabilitiesOptions {
  readonly authorizer: Authorizer;
  readonly instances: InstanceNames;
  /** Absent: no CAS and no action cache here (R-CAP-01). */
  readonly cache?: {
    readonly maxBatchTotalSizeBytes: number;
    /** 0 means no limit. */
    readonly maxBlobSizeBytes: number;
  };
  /** Absent: no execution here (R-CAP-01). */
  readonly execution?: {
    /** Names accepted in `Command.output_node_properties`. */
    readonly nodeProperties: readonly string[];
  };
}

/** 2.0, since outputs in the form of 2.0 work as well. */
const LOW_VERSION = { major: 2, minor: 0 };

/** 2.13 follows with the chunk calls. */
const HIGH_VERSION = { major: 2, minor: 12 };

/** Every priority is accepted (R-CAP-10, R-EX-24). */
const ALL_PRIORITIES = { priorities: [{ minPriority: -(2 ** 31), maxPriority: 2 ** 31 - 1 }] };

/** GetCapabilities: no storage is asked, since it is the first call on every connection (R-CAP-12). */
export function capabilitiesMethods(options: CapabilitiesOptions): Method[] {
  return [
    unary(CapabilitiesDefinition, CapabilitiesDefinition.methods.getCapabilities, async (request, call) => {
      const instance = options.instances.resolve(request.instanceName);
      return ServerCapabilities.fromPartial({
        deprecatedApiVersion: LOW_VERSION,
        lowApiVersion: LOW_VERSION,
        highApiVersion: HIGH_VERSION,
        ...(await cacheCapabilities(options, call.principal, instance)),
        ...(await executionCapabilities(options, call.principal, instance)),
      });
    }),
  ];
}

type Answer = Parameters<typeof ServerCapabilities.fromPartial>[0];

async function cacheCapabilities(options: CapabilitiesOptions, who: Principal, where: InstanceName): Promise<Answer> {
  const { cache, authorizer } = options;
  if (cache === undefined) return {};
  return {
    cacheCapabilities: {
      digestFunctions: DIGEST_FUNCTIONS.map(digestFunctionToWire),
      actionCacheUpdateCapabilities: { updateEnabled: await authorizer.allows(who, 'ac:write', where) },
      cachePriorityCapabilities: ALL_PRIORITIES,
      maxBatchTotalSizeBytes: BigInt(cache.maxBatchTotalSizeBytes),
      symlinkAbsolutePathStrategy: SymlinkAbsolutePathStrategy_Value.ALLOWED,
      maxCasBlobSizeBytes: BigInt(cache.maxBlobSizeBytes),
    },
  };
}

async function executionCapabilities(
  options: CapabilitiesOptions,
  who: Principal,
  where: InstanceName,
): Promise<Answer> {
  const { execution, authorizer } = options;
  if (execution === undefined) return {};
  return {
    executionCapabilities: {
      digestFunction: DigestFunction_Value.SHA256,
      execEnabled: await authorizer.allows(who, 'execute', where),
      executionPriorityCapabilities: ALL_PRIORITIES,
      supportedNodeProperties: [...execution.nodeProperties],
      digestFunctions: DIGEST_FUNCTIONS.map(digestFunctionToWire),
    },
  };
}
