import { digestFromWire, digestToWire } from '../../digest/digest.ts';
import { digestFunctionToWire, resolveDigestFunction } from '../../digest/digest-function.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { ReapiError } from '../../errors.ts';
import { RequestMetadata } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { type OperationAttempt, OperationRecord } from '../../gen/gantry/v1/operation_record.ts';
import type { Timestamp } from '../../gen/google/protobuf/timestamp.ts';
import type { OperationState } from '../operations.ts';
import type { Attempt } from './attempts.ts';
import { RequestIdReader, type RequestIds } from './request-ids.ts';
import { millisecondsOf, timestampOf } from './wire-times.ts';

/** A finished operation in the form in which it is stored. */
export function encodeOperation(state: OperationState): Uint8Array {
  const { key, startedAtMs, finishedAtMs } = state;
  const record = OperationRecord.fromPartial({
    name: state.name,
    instanceName: key.instance,
    actionDigest: digestToWire(key.action),
    digestFunction: digestFunctionToWire(key.action.function),
    createTime: timestampOf(state.createdAtMs),
    priority: state.priority,
    slot: state.slot ?? '',
    requestMetadata: requestMetadataOf(state.ids),
    attempts: state.attempts.map(attemptToWire),
    order: BigInt(state.order),
  });
  if (startedAtMs !== undefined) record.startTime = timestampOf(startedAtMs);
  if (finishedAtMs !== undefined) record.finishTime = timestampOf(finishedAtMs);
  if (state.response !== undefined) record.response = state.response;
  return OperationRecord.encode(record).finish();
}

/** The operation of a stored record. @throws undecodable, invalid-argument if it is damaged. */
export function decodeOperation(bytes: Uint8Array): OperationState {
  const record = recordOf(bytes);
  const fn = resolveDigestFunction(record.digestFunction, record.actionDigest?.hash.length);
  return {
    name: record.name,
    key: {
      instance: parseInstanceName(record.instanceName),
      action: digestFromWire(fn, record.actionDigest, 'action_digest'),
    },
    stage: 'completed',
    message: '',
    createdAtMs: required(record.createTime),
    order: Number(record.order),
    priority: record.priority,
    ids: new RequestIdReader().read(record.requestMetadata),
    ...(record.slot !== '' && { slot: record.slot }),
    ...(record.startTime && { startedAtMs: millisecondsOf(record.startTime) }),
    finishedAtMs: required(record.finishTime),
    attempts: record.attempts.map(attemptFromWire),
    // The decoder's view holds on to the whole record.
    response: Uint8Array.from(record.response),
  };
}

/** Ids as the message they came in. */
export function requestMetadataOf(ids: RequestIds): RequestMetadata {
  return RequestMetadata.fromPartial({
    ...(ids.tool !== '' && { toolDetails: { toolName: ids.tool } }),
    toolInvocationId: ids.invocation,
    correlatedInvocationsId: ids.correlated,
    actionMnemonic: ids.mnemonic,
    targetId: ids.target,
  });
}

/** An attempt as a message. */
export function attemptToWire({ attempt, slot, node, startedAtMs, end }: Attempt): OperationAttempt {
  return {
    ...{ attempt, slot, node },
    startTime: timestampOf(startedAtMs),
    endTime: end && timestampOf(end.atMs),
    end: end?.how ?? '',
    cause: end?.cause ?? '',
  };
}

function attemptFromWire({ attempt, slot, node, startTime, endTime, end, cause }: OperationAttempt): Attempt {
  return {
    ...{ attempt, slot, node },
    startedAtMs: required(startTime),
    ...(endTime && { end: { atMs: millisecondsOf(endTime), how: end, cause } }),
  };
}

function recordOf(bytes: Uint8Array): OperationRecord {
  try {
    return OperationRecord.decode(bytes);
  } catch (error) {
    throw new ReapiError('undecodable', 'a stored operation does not decode', { cause: error });
  }
}

function required(time: Timestamp | undefined): number {
  if (time === undefined) throw new ReapiError('undecodable', 'a stored operation lacks a time');
  return millisecondsOf(time);
}
